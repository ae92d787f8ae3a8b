"""From a query to its vectors: words, a file, the bytes of a file or an open picture, by the encoders of one space."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from encoders import registry
from encoders.context import fitted
from encoders.spec import Encoder, Modality, Space
from encoders.stacking import encoded
from retrieval.errors import QueryError
from retrieval.means import mean
from retrieval.query_texts import is_unicode

if TYPE_CHECKING:
    from PIL.Image import Image

FRAMES = 32  # of a video that is asked with, spread over all of it
BATCH = 32  # parts of a text encoded at once; of other media one at a time, since a batch of them takes much memory
HELD = 256 << 20  # bytes of parts that are held until it is known how many there are; what has more is decoded twice


@dataclass(frozen=True)
class Part:
    """What is encoded at once: a chunk of a text, a picture, a window of a sound, a frame or clip of a video.

    Parameters
    ----------
    encoder : of its modality.
    medium : what that encoder prepares.
    """

    encoder: Encoder
    medium: str | np.ndarray

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.medium) if isinstance(self.medium, str) else self.medium.nbytes


@dataclass(frozen=True)
class Chosen:
    """Some parts of a query, decoded and cut but not encoded yet.

    Parameters
    ----------
    parts : in their order.
    of : how many the query has in all.
    """

    parts: Sequence[Part]
    of: int


class QueryEncoder:
    """A space, ready for queries; each encoder is built at its first use and kept. Decoders are imported when a file is asked with.

    Parameters
    ----------
    space : its encoders' weights must be those of the specs, which each encoder checks when it loads them (EncoderError).
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self._encoders: dict[Modality, Encoder] = {}
        self._building = threading.Lock()

    def embed(self, query: str | Path | bytes | Image) -> np.ndarray:
        """Vectors of a query, float32 (windows, dimension), each of length one.

        Parameters
        ----------
        query : words (a string is always words: the path of a file is a Path); a Path or the bytes of a picture, sound, video or text;
            or a picture that Pillow has opened.

        Raises
        ------
        QueryError : the space has no encoder for it, or it is empty.
        MediumError : the file is broken, too large, or nothing that is read.
        """
        return _vectors(self._parts(query))

    def choose(self, query: str | Path | bytes | Image, most: int) -> Chosen:
        """At most `most` parts of a query, evenly from first to last, without encoding any; may be called from many threads.

        Raises as `embed`.
        """
        return _choose(lambda: self._parts(query), most)

    def encode(self, chosen: Chosen) -> np.ndarray:
        """Vectors of chosen parts, float32 (parts, dimension), each of length one."""
        return _vectors(chosen.parts)

    def embed_whole(self, query: str | Path | bytes | Image) -> np.ndarray:
        """One vector of a query, float32 (dimension,): the mean of its windows, of length one."""
        return mean(self.embed(query), "the query")

    def encoder(self, modality: Modality, what: str) -> Encoder:
        """The encoder of a modality; QueryError, which says that `what` cannot be embedded, where the space has none."""
        if modality not in self.space.encoders:
            raise QueryError(f"space {self.space.name!r} cannot embed {what}; it can embed {', '.join(self.space.encoders)}")
        with self._building:
            if modality not in self._encoders:
                # One float32 forward pass: the table's own number format may be coarser, which moves a score by less than its rounding.
                self._encoders[modality] = registry.build(self.space.encoders[modality], "cpu", "float32")
            return self._encoders[modality]

    def _parts(self, query: str | Path | bytes | Image) -> Iterator[Part]:
        if isinstance(query, str):
            if not is_unicode(query):
                raise QueryError(f"the query {query[:40]!r} is not UTF-8; write it in UTF-8")
            return self._text([query], self.encoder("text", "words"))
        if isinstance(query, (Path, bytes)):
            return self._file(query)
        from encoders.media.pictures import pixels

        return iter([Part(self.encoder("image", "a picture"), pixels(query))])

    def _file(self, query: Path | bytes) -> Iterator[Part]:
        from encoders.media.containers import medium_of

        name = query.name if isinstance(query, Path) else "the query"
        modality = medium_of(name, query)
        read = {"text": self._text_file, "image": self._picture_file, "audio": self._sound_file, "video": self._video_file}
        return read[modality](query, f"{name} ({modality})")

    def _text_file(self, query: Path | bytes, what: str) -> Iterator[Part]:
        from encoders.media import texts

        encoder = self.encoder("text", what)
        return self._text(texts.blocks(query, query.name if isinstance(query, Path) else ""), encoder)

    def _picture_file(self, query: Path | bytes, what: str) -> Iterator[Part]:
        from encoders.media import pictures

        encoder = self.encoder("image", what)  # refused before it is decoded
        return iter([Part(encoder, pictures.decode(query))])

    def _sound_file(self, query: Path | bytes, what: str) -> Iterator[Part]:
        from encoders.media import sounds

        encoder = self.encoder("audio", what)
        wanted = encoder.spec.preprocessing
        windows = sounds.windows(query, wanted["sampling_rate"], wanted["window_samples"])
        return (Part(encoder, window.samples) for window in windows)

    def _video_file(self, query: Path | bytes, what: str) -> Iterator[Part]:
        from encoders.media import videos
        from encoders.media.frames import FrameChoice

        read: tuple[Modality, ...] = self.space.modalities_of("video") or ("video",)
        encoders = {modality: self.encoder(modality, what) for modality in read}
        specs = {modality: encoder.spec for modality, encoder in encoders.items()}
        return (Part(encoders[part.modality], part.medium) for part in videos.parts(query, specs, FrameChoice(most=FRAMES)))

    def _text(self, words: Iterable[str], encoder: Encoder) -> Iterator[Part]:
        is_blank, chunk = True, None

        def read() -> Iterator[str]:
            nonlocal is_blank
            for block in words:
                is_blank = is_blank and not block.strip()
                yield block

        for chunk in fitted(encoder, read(), role="query"):
            yield Part(encoder, chunk.text)
        if chunk is None and is_blank:
            raise QueryError("the query is empty; give some words, or the path of a picture or sound")
        if chunk is None:
            raise QueryError(f"none of the query's words has a vector in space {self.space.name!r}; ask with others")


def spread(count: int, most: int) -> list[int]:
    """At most `most` places of `count`, evenly from the first to the last."""
    step = max(1.0, (count - 1) / max(1, most - 1))
    return [round(n * step) for n in range(min(most, count))]


def _choose(read: Callable[[], Iterator[Part]], most: int) -> Chosen:
    parts, held, size = read(), list[Part](), 0
    for part in parts:
        held.append(part)
        size += part.size
        if size > HELD and len(held) > most:
            break
    else:
        return Chosen([held[place] for place in spread(len(held), most)], len(held))
    count = len(held) + sum(1 for _ in parts)
    held.clear()
    places = set(spread(count, most))
    return Chosen([part for place, part in enumerate(read()) if place in places], count)


def _vectors(parts: Iterable[Part]) -> np.ndarray:
    batches = (batch for _, run in groupby(parts, key=lambda part: id(part.encoder)) for batch in _batches(run))
    return np.concatenate([encoded(batch[0].encoder, [_prepared(part) for part in batch], BATCH) for batch in batches])


def _batches(run: Iterator[Part]) -> Iterator[list[Part]]:
    """Parts of one encoder, some at a time."""
    for first in run:
        yield [first, *islice(run, BATCH - 1 if isinstance(first.medium, str) else 0)]


def _prepared(part: Part) -> dict[str, np.ndarray]:
    """An encoder may read the texts of queries otherwise than those that it finds."""
    is_text = isinstance(part.medium, str)
    prepare = getattr(part.encoder, "prepare_query", part.encoder.prepare) if is_text else part.encoder.prepare
    prepared: dict[str, np.ndarray] = prepare(part.medium)
    return prepared
