"""What a worker process does with one object: read, detect, cut into segments, write their model inputs.

Imports neither torch nor Prefect nor LanceDB, so that a worker starts fast and stays small.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from encoders import registry
from encoders.errors import EmptyError, LimitError, MediumError, UnreadableError
from encoders.media.containers import medium_of
from encoders.media.frames import FrameChoice
from encoders.media.kinds import Limits, Source
from encoders.spec import Encoder, Modality, Space
from tasks.frames import frames
from tasks.patch import patch
from tasks.prepared import PreparedWriter
from tasks.segments import Failure, Item, Part, Ready, Segment
from tasks.stft import stft
from tasks.tokenise import tokenise, tokenise_row

IN_MEMORY = 8 << 20  # objects up to this many bytes are read once; larger ones are streamed from their file
AT_ONCE = 32  # segments per Arrow batch …
BYTES_AT_ONCE = 16 << 20  # … or fewer, of large ones

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
    frames : which frames of a video are taken.
    """

    space: str
    limits: Limits
    folder: Path
    shard: str
    frames: FrameChoice = field(default_factory=FrameChoice)
    _space: Space = field(init=False)
    _encoders: dict[Modality, Encoder] = field(default_factory=dict)
    _writers: dict[Modality, PreparedWriter] = field(default_factory=dict)

    def open(self) -> None:
        """Build the encoders' preprocessing halves."""
        self._space = Space.from_json(self.space)
        self._encoders = {m: registry.build(spec) for m, spec in self._space.encoders.items()}

    def __call__(self, item: Item, alive: Callable[[], None]) -> Ready | Failure:
        """Prepare one object; whatever its bytes do in Python ends in a `Failure`."""
        try:
            return self._prepare(item, alive)
        except MediumError as problem:
            return Failure(item.index, "decode", problem.reason, problem.message, problem.retryable)
        except MemoryError:
            return _too_large(item)
        except OSError as problem:
            if problem.errno == errno.ENOMEM:
                return _too_large(item)
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
            return self._write(item.index, "text", _all("text", tokenise_row(self._encoders["text"], item.row)), alive)
        size = item.path.stat().st_size
        if size > self.limits.bytes:
            raise LimitError("too many bytes", f"{size:,} bytes; at most {self.limits.bytes:,} (limits.bytes)")
        source: Source = item.path.read_bytes() if size <= IN_MEMORY else item.path
        medium = medium_of(item.name, source)
        encoders = {modality: self._encoders[modality] for modality in self._space.modalities_of(medium)}
        if not encoders:
            raise UnreadableError(
                "other content", f"its content is {medium}, which this space cannot embed: {', '.join(self._space.media)}"
            )
        return self._write(item.index, medium, segments(medium, encoders, source, item.name, self.limits, self.frames, alive), alive)

    def _write(self, index: int, medium: Modality, made: Iterator[tuple[Modality, Segment]], alive: Callable[[], None]) -> Ready:
        """Number the segments as they come, and write those of each modality into a file of its own."""
        held: dict[Modality, list[tuple[int, Segment]]] = {}
        written: Counter[Modality] = Counter()

        def flush(modality: Modality) -> None:
            numbers, segments = zip(*held.pop(modality), strict=True)
            self._writer(modality).write(index, numbers, segments)
            written[modality] += len(numbers)
            alive()

        for number, (modality, segment) in enumerate(made):
            batch = held.setdefault(modality, [])
            batch.append((number, segment))
            if len(batch) == AT_ONCE or len(batch) * segment.nbytes >= BYTES_AT_ONCE:
                flush(modality)
        for modality in list(held):
            flush(modality)
        if not written:
            raise EmptyError("empty", "nothing in it could be embedded")
        return Ready(index, medium, tuple(Part(modality, n, self._writer(modality).path) for modality, n in sorted(written.items())))

    def _writer(self, modality: Modality) -> PreparedWriter:
        if modality not in self._writers:
            name = f"{self.shard}.{modality}.{os.getpid()}-{next(_serial)}.arrow"
            self._writers[modality] = PreparedWriter(self.folder / name)
        return self._writers[modality]


def segments(
    medium: Modality,
    encoders: Mapping[Modality, Encoder],
    source: Source,
    name: str,
    limits: Limits,
    choice: FrameChoice,
    alive: Callable[[], None],
) -> Iterator[tuple[Modality, Segment]]:
    """What an object is embedded as, in order: each segment, and the modality whose encoder reads it.

    Parameters
    ----------
    medium : what the object is.
    encoders : those that its segments may go to, by modality.
    name : its URI, which tells HTML from plain text.
    choice : which frames of a video are taken.
    alive : called whenever something was read.
    """
    match medium:
        case "image":
            return _all(medium, patch(encoders[medium], source, limits))
        case "audio":
            return _all(medium, stft(encoders[medium], source, limits))
        case "text":
            return _all(medium, tokenise(encoders[medium], source, name, limits))
        case "video":
            return frames(encoders, source, choice, limits, alive)


def _all(modality: Modality, segments: Iterator[Segment]) -> Iterator[tuple[Modality, Segment]]:
    return ((modality, segment) for segment in segments)


def discard(path: Path) -> None:
    """Remove a scratch file that may be gone already."""
    with suppress(FileNotFoundError):
        path.unlink()


def _too_large(item: Item) -> Failure:
    return Failure(item.index, "decode", "out of memory", "preparing it took more than limits.memory; raise the limit if it is meant")
