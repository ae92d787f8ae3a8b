"""Show one object as its encoders are given it: every segment, with the medium it was made from and the inputs that were made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from encoders import registry
from encoders.errors import LimitError, UnreadableError
from encoders.media.containers import medium_of
from encoders.media.frames import FrameChoice
from encoders.media.kinds import Limits
from encoders.spec import Encoder, Modality, Space
from tasks.prepare_object import segments
from tasks.row_names import kind_of
from tasks.segments import Segment


@dataclass(frozen=True)
class Seen:
    """One segment.

    Parameters
    ----------
    number : of the segment within the object, as it stands in a table.
    modality : as what it is encoded.
    encoder : that reads it; has no weights loaded.
    segment : its inputs and place.
    medium : what `encoder.prepare` was given: pixels, samples, or words.
    """

    number: int
    modality: Modality
    encoder: Encoder
    segment: Segment
    medium: Any


class _Inputs(dict[str, np.ndarray]):
    """Inputs that remember what they were made from."""

    medium: Any


class _Watched:
    """An encoder whose inputs remember their medium."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.spec = encoder.spec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def prepare(self, medium: Any) -> dict[str, np.ndarray]:
        inputs = _Inputs(self._encoder.prepare(medium))
        inputs.medium = medium
        return inputs

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return self._encoder.encode(inputs)


def show(space: Space, path: Path, limits: Limits | None = None, choice: FrameChoice | None = None) -> Iterator[Seen]:
    """Yield the segments of a file as a run would embed them, one at a time.

    Raises
    ------
    MediumError : the file cannot be read, or is nothing that this space can embed.
    """
    limits = limits or Limits()
    if (size := path.stat().st_size) > limits.bytes:
        raise LimitError("too many bytes", f"{size:,} bytes; at most {limits.bytes:,}")
    if kind := kind_of(path.name):
        raise UnreadableError(
            "other content", f"{path.name} is a table ({kind}), whose rows are texts of their own; show one as a text file"
        )
    medium = medium_of(path.name, path)
    encoders = {modality: registry.build(space.encoders[modality]) for modality in space.modalities_of(medium)}
    if not encoders:
        raise UnreadableError("other content", f"its content is {medium}, which this space cannot embed: {', '.join(space.media)}")
    watched: dict[Modality, Encoder] = {modality: _Watched(encoder) for modality, encoder in encoders.items()}
    made = segments(medium, watched, path, path.name, limits, choice or FrameChoice(), lambda: None)
    for number, (modality, segment) in enumerate(made):
        yield Seen(number, modality, encoders[modality], segment, cast("_Inputs", segment.inputs).medium)
