"""Tokenise a text: decode, strip tags, cut into chunks, tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from encoders.chunks import chunks

from encoders import texts
from encoders.media import Limits, Source
from tasks.segments import Segment


def tokenise(encoder: Any, source: Source, name: str, limits: Limits) -> Iterator[Segment]:
    """Yield one segment per chunk, with its start and end in characters of the text without tags.

    The chunk's size and overlap in tokens stand in the spec's preprocessing under "chunk"; the encoder's `tokenizer` counts them.
    """
    cut = encoder.spec.preprocessing["chunk"]
    for chunk in chunks(texts.blocks(source, name, limits), encoder.tokenizer, cut["size"], cut["overlap"]):
        yield Segment(encoder.prepare(chunk.text), chunk.start, chunk.end, chunk.text)
