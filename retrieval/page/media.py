"""Bytes of objects for the browser: by id, as what the pipeline found them to be, never as anything that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.responses import Response

from retrieval.page import ranges
from retrieval.page.items import Item
from retrieval.page.library import Library

# Beginnings of what a browser shows or plays, of each medium: (offset, bytes, type). What begins otherwise is only downloaded.
_TYPES: dict[str, tuple[tuple[int, bytes, str], ...]] = {
    "image": (
        (0, b"\xff\xd8\xff", "image/jpeg"),
        (0, b"\x89PNG\r\n", "image/png"),
        (0, b"GIF8", "image/gif"),
        (8, b"WEBP", "image/webp"),
        (4, b"ftypavif", "image/avif"),
        (0, b"BM", "image/bmp"),
    ),
    "audio": (
        (8, b"WAVE", "audio/wav"),
        (0, b"fLaC", "audio/flac"),
        (0, b"OggS", "audio/ogg"),
        (0, b"ID3", "audio/mpeg"),
        (4, b"ftyp", "audio/mp4"),
        (0, b"\xff", "audio/mpeg"),
    ),
    "video": (
        (4, b"ftyp", "video/mp4"),
        (0, b"\x1aE\xdf\xa3", "video/webm"),
        (0, b"OggS", "video/ogg"),
    ),
}
_UNKNOWN = "application/octet-stream"


def answer(library: Library, item: Item, headers: Headers, method: str) -> Response:
    """An object's bytes, or the part of them that is asked for; of a text none, since the page shows what the table holds of it.

    Raises
    ------
    ObjectError : it is not what was embedded any more, or cannot be read.
    """
    source, uri = library.place(item)
    kind = _type(item.medium, b"".join(source.part(uri, 0, min(16, item.size))))
    told = {"Content-Type": kind, "Content-Disposition": disposition(item.name, kind), "Cache-Control": "private, no-cache"}

    def part(start: int, stop: int) -> Iterator[bytes]:
        pieces = source.part(uri, start, stop)
        first = next(pieces, b"")  # what goes wrong is told while there still is a status to tell it with
        return chain([first], pieces)

    return ranges.answer(headers, method, item.size, f'"{item.content_hash}"', part, told)


def disposition(name: str, kind: str) -> str:
    """A Content-Disposition that survives any name (RFC 6266 with RFC 8187): ASCII as far as it goes, and the whole in UTF-8."""
    plain = re.sub(r"[^A-Za-z0-9 ._-]", "_", name)[:100]
    shown = "attachment" if kind == _UNKNOWN else "inline"
    return f"{shown}; filename=\"{plain}\"; filename*=UTF-8''{quote(name[:200], safe='', errors='replace')}"


def _type(medium: str, head: bytes) -> str:
    return next((kind for offset, start, kind in _TYPES.get(medium, ()) if head.startswith(start, offset)), _UNKNOWN)
