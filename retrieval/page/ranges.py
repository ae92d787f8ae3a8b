"""Parts of an object over HTTP: which bytes are asked for, and the answer (RFC 9110, section 14)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from starlette.datastructures import Headers
from starlette.responses import Response, StreamingResponse

_ONE_RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*", re.IGNORECASE)

Part = Callable[[int, int], Iterator[bytes]]
"""Gives bytes start to stop (exclusive) of an object, piece by piece."""


def wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """Bytes start to stop (exclusive) that a Range header asks for; None for all of them.

    A header that is malformed, of another unit or of several ranges asks for all, as section 14.2 allows. A range that begins behind the
    end, or that is empty, is (size, size).
    """
    found = _ONE_RANGE.fullmatch(header or "")
    if not found or found[1] == found[2] == "":
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    start, stop = int(found[1]), int(found[2]) + 1 if found[2] else size
    if start >= stop and found[2]:
        return None  # its end lies before its beginning: malformed
    return (start, min(stop, size)) if start < size else (size, size)


def answer(headers: Headers, method: str, size: int, etag: str, part: Part, told: dict[str, str]) -> Response:
    """All of an object (200), some of it (206), nothing new (304), or that there is no such part (416).

    Parameters
    ----------
    etag : of the content, in its quotes.
    told : further headers of the answer.
    """
    told = told | {"ETag": etag, "Accept-Ranges": "bytes"}
    if etag in [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=told)
    asked = wanted(headers.get("range"), size) if headers.get("if-range", etag) == etag else None
    start, stop = asked or (0, size)
    if asked and start == stop:
        return Response(status_code=416, headers=told | {"Content-Range": f"bytes */{size}"})
    told |= {"Content-Length": str(stop - start)} | ({"Content-Range": f"bytes {start}-{stop - 1}/{size}"} if asked else {})
    status = 206 if asked else 200
    return Response(status_code=status, headers=told) if method == "HEAD" else StreamingResponse(part(start, stop), status, told)
