"""Tokenise a text: decode, strip tags, cut into chunks, tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from encoders.context import fitted
from encoders.errors import UnreadableError
from encoders.media import texts
from encoders.media.charset import is_readable
from encoders.media.kinds import Limits, Source
from encoders.spec import Encoder
from tasks.segments import Segment


def tokenise(encoder: Encoder, source: Source, name: str, limits: Limits) -> Iterator[Segment]:
    """Yield one segment per chunk, with its start and end in characters of the text without tags.

    Chunks are as large as the encoder's context allows.
    """
    yield from _chunks(encoder, texts.blocks(source, name, limits))


def tokenise_row(encoder: Encoder, row: bytes) -> Iterator[Segment]:
    """The same for a row of a table file: UTF-8, and read as it is whatever it begins with."""
    text = row.decode()
    if not is_readable(text):
        raise UnreadableError("not text", "more than one in a hundred of its characters are control characters; remove the row or clean it")
    yield from _chunks(encoder, [text])


def _chunks(encoder: Encoder, blocks: Iterable[str]) -> Iterator[Segment]:
    for chunk in fitted(encoder, blocks):
        yield Segment(encoder.prepare(chunk.text), chunk.start, chunk.end, chunk.text)
