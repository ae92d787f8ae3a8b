"""What stands between an object's bytes and its vectors: segments, and the outcome of preparing one object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.spec import Modality


@dataclass(frozen=True)
class Segment:
    """One future vector: a whole picture, a window of a sound, a chunk of a text.

    Parameters
    ----------
    inputs : what the encoder's `prepare` made of it.
    start, end : seconds of a sound or video, characters of a text, None for a picture.
    text : the words of a chunk.
    """

    inputs: Mapping[str, np.ndarray]
    start: float | None = None
    end: float | None = None
    text: str | None = None

    @property
    def nbytes(self) -> int:
        """Of its inputs."""
        return sum(array.nbytes for array in self.inputs.values())


@dataclass(frozen=True)
class Item:
    """One object on its way to a worker.

    Parameters
    ----------
    index : row of the object in its shard.
    name : its URI, of which the extension is read.
    path : a local file with its bytes.
    row : the text itself, in UTF-8, of a row of a table file; the file is then not looked at.
    """

    index: int
    name: str
    path: Path
    row: bytes | None = None


@dataclass(frozen=True)
class Part:
    """Those segments of an object that one encoder reads: so many of `modality`, in a prepared file."""

    modality: Modality
    segments: int
    path: Path


@dataclass(frozen=True)
class Ready:
    """An object whose segments stand in prepared files.

    Parameters
    ----------
    medium : what the object is by its content.
    parts : one for each modality that its segments are encoded as; segments are numbered over all of them, without gaps.
    """

    index: int
    medium: Modality
    parts: tuple[Part, ...]

    @property
    def segments(self) -> int:
        """Of all parts."""
        return sum(part.segments for part in self.parts)


@dataclass(frozen=True)
class Failure:
    """An object that cannot be embedded, and why.

    Parameters
    ----------
    stage : "fetch", "decode", "encode" or "check".
    reason : a short fixed word to group by.
    error : what came, what was allowed, what to do.
    retryable : whether the next run may try again by itself.
    """

    index: int
    stage: str
    reason: str
    error: str
    retryable: bool = False
