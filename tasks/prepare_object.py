"""What a worker process does with one object: read, detect, cut into segments, write their model inputs.

Imports neither torch nor Prefect nor LanceDB, so that a worker starts fast and stays small.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path

from encoders import registry
from encoders.errors import EmptyError, LimitError, MediumError, UnreadableError
from encoders.media import Limits, Source, settle
from encoders.spec import Encoder, Modality, Space
from tasks.patch import patch
from tasks.prepared import PreparedWriter
from tasks.segments import Failure, Item, Part, Ready, Segment
from tasks.stft import stft
from tasks.tokenise import tokenise, tokenise_row

HEAD = 4096
IN_MEMORY = 8 << 20  # objects up to this many bytes are read once; larger ones are streamed from their file
AT_ONCE = 32  # segments per Arrow batch

_serial = count()


@dataclass
class PrepareObject:
    """The job of a worker for one shard.

    Parameters
    ----------
    space : JSON of the space, from which encoders are built without weights.
    limits : what is refused before decoding.
    folder : where prepared files go; each worker that takes part writes files of its own.
    shard : the shard's name, for the files' names.
    """

    space: str
    limits: Limits
    folder: Path
    shard: str
    _encoders: dict[Modality, Encoder] = field(default_factory=dict)
    _writers: dict[Modality, PreparedWriter] = field(default_factory=dict)

    def open(self) -> None:
        """Build the encoders' preprocessing halves."""
        self._encoders = {m: registry.build(spec) for m, spec in Space.from_json(self.space).encoders.items()}

    def __call__(self, item: Item, alive: Callable[[], None]) -> Ready | Failure:
        """Prepare one object; whatever its bytes do in Python ends in a `Failure`."""
        try:
            return self._prepare(item, alive)
        except MediumError as problem:
            return Failure(item.index, "decode", problem.reason, problem.message, problem.retryable)
        except MemoryError:
            return Failure(
                item.index, "decode", "out of memory", "preparing it took more than limits.memory; raise the limit if it is meant"
            )
        except OSError as problem:
            if problem.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # the scratch folder's fault, not the object's
            return Failure(item.index, "decode", "unreadable", f"{type(problem).__name__}: {problem}"[:500])
        except Exception as problem:  # noqa: BLE001 - an unforeseen decoder error harms this object only, and is told by its name
            return Failure(item.index, "decode", "unreadable", f"{type(problem).__name__}: {problem}"[:500])

    def close(self) -> None:
        """End the prepared files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def _prepare(self, item: Item, alive: Callable[[], None]) -> Ready:
        if item.row is not None:
            return self._write(item.index, "text", tokenise_row(self._encoders["text"], item.row), alive)
        size = item.path.stat().st_size
        if size > self.limits.bytes:
            raise LimitError("too many bytes", f"{size:,} bytes; at most {self.limits.bytes:,} (limits.bytes)")
        with item.path.open("rb") as file:
            head = file.read(HEAD)
            modality = settle(item.name, head)
            source: Source = head + file.read() if size <= IN_MEMORY else item.path
        if modality not in self._encoders:
            raise UnreadableError("other content", f"its content is {modality}, which this space cannot embed: {', '.join(self._encoders)}")
        return self._write(item.index, modality, self._segments(modality, source, item.name), alive)

    def _write(self, index: int, modality: Modality, made: Iterator[Segment], alive: Callable[[], None]) -> Ready:
        writer = self._writer(modality)
        written = 0
        for segments in _in_batches(made):
            writer.write(index, range(written, written + len(segments)), segments)
            written += len(segments)
            alive()
        if not written:
            raise EmptyError("empty", "nothing in it could be embedded")
        return Ready(index, modality, (Part(modality, written, writer.path),))

    def _segments(self, modality: Modality, source: Source, name: str) -> Iterator[Segment]:
        encoder = self._encoders[modality]
        match modality:
            case "image":
                return patch(encoder, source, self.limits)
            case "audio":
                return stft(encoder, source, self.limits)
            case "text":
                return tokenise(encoder, source, name, self.limits)
            case "video":
                raise UnreadableError("other content", "it is a video")

    def _writer(self, modality: Modality) -> PreparedWriter:
        if modality not in self._writers:
            name = f"{self.shard}.{modality}.{os.getpid()}-{next(_serial)}.arrow"
            self._writers[modality] = PreparedWriter(self.folder / name)
        return self._writers[modality]


def _in_batches(segments: Iterator[Segment]) -> Iterator[list[Segment]]:
    while batch := list(islice(segments, AT_ONCE)):
        yield batch


def discard(path: Path) -> None:
    """Remove a scratch file that may be gone already."""
    with suppress(FileNotFoundError):
        path.unlink()
