"""Patch a picture: decode, resize, crop, cut into patches."""

from __future__ import annotations

from collections.abc import Iterator

from encoders.media import pictures
from encoders.media.kinds import Limits, Source
from encoders.spec import Encoder
from tasks.segments import Segment


def patch(encoder: Encoder, source: Source, limits: Limits) -> Iterator[Segment]:
    """Yield the one segment of a picture: its inputs as the encoder's spec says, for example patches uint8 (n, p * p * 3)."""
    yield Segment(encoder.prepare(pictures.decode(source, limits)))
