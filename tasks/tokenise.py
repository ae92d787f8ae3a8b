"""Tokenise a text: decode, strip tags, cut into chunks, tokens."""

from __future__ import annotations

from collections.abc import Iterator

from encoders import texts
from encoders.context import fitted
from encoders.media import Limits, Source
from encoders.spec import Encoder
from tasks.segments import Segment


def tokenise(encoder: Encoder, source: Source, name: str, limits: Limits) -> Iterator[Segment]:
    """Yield one segment per chunk, with its start and end in characters of the text without tags.

    Chunks are as large as the encoder's context allows.
    """
    for chunk in fitted(encoder, texts.blocks(source, name, limits)):
        yield Segment(encoder.prepare(chunk.text), chunk.start, chunk.end, chunk.text)
