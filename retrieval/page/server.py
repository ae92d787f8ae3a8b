"""The routes of the page, as a Starlette application."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from retrieval.page import loudness, media, overview, passages, questions, thumbnails
from retrieval.page.guard import Guard
from retrieval.page.items import Item, uri_of
from retrieval.page.library import Library
from retrieval.page.map import Maps

UPLOAD = 64 << 20
"""Bytes of a file that is dropped, by default."""

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_GONE = ("vanished", "changed", "not a file", "broken link")
_log = logging.getLogger("sensorium.page")

Asked = Mapping[str, str]


def make_app(library: Library, upload: int = UPLOAD) -> Starlette:
    """The page of a library.

    Parameters
    ----------
    library : opened by the caller, before or after the first request.
    upload : bytes of a file that may be dropped.
    """
    maps = Maps(library)
    routes = [
        _page("/", "index.html"),
        *(_page(f"/static/{path.name}", path.name) for path in sorted(_static().iterdir())),
        _get("/api/outline", lambda _: overview.outline(library)),
        _get("/api/overview", lambda _: overview.overview(library)),
        _get("/api/map", lambda _: maps.told()),
        _get("/api/search", lambda request: questions.by_words(library, request.query_params)),
        _get("/api/like/{id}", lambda request: questions.by_item(library, request.query_params, _item(library, request))),
        _get("/api/text/{id}", lambda request: passages.whole(library.searcher.table, _item(library, request).uri)),
        _get("/api/object/{id}", lambda request: _item(library, request).told()),
        _get("/api/loudness/{id}", lambda request: loudness.loudness(library, _item(library, request))),
        Route("/api/drop", _dropped(library, upload), methods=["POST"]),
        Route("/media/{id}", _telling(lambda request: _bytes(library, request))),
        Route("/thumbnail/{id}", _telling(lambda request: _thumbnail(library, request))),
    ]
    handlers: dict[Any, Any] = {HTTPException: _refused}
    return Starlette(routes=routes, middleware=[Middleware(Guard)], exception_handlers=handlers)


def _static() -> Path:
    return Path(__file__).parent / "static"


def _page(address: str, name: str) -> Route:
    """A file of the page: read now, so that no request ever names a path."""
    path = _static() / name
    body, kind = path.read_bytes(), _TYPES[path.suffix]

    async def shown(_: Request) -> Response:
        return Response(body, media_type=kind, headers={"Cache-Control": "no-cache"})

    return Route(address, shown)


def _get(address: str, told: Callable[[Request], dict[str, Any]]) -> Route:
    return Route(address, _telling(lambda request: _json(told(request))))


def _telling(answer: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Answer in a thread, and tell what goes wrong as JSON with a status; what nobody expected goes to the terminal alone."""

    @wraps(answer)
    def told(request: Request) -> Response:
        try:
            return answer(request)
        except HTTPException:
            raise
        except Exception as problem:  # noqa: BLE001 - a fault of one answer must not end the others
            return _told(problem)

    return told


def _dropped(library: Library, upload: int) -> Callable[[Request], Awaitable[Response]]:
    """A file is the body of the request as it is, its name is percent-encoded in a header; its conditions stand in the address."""

    async def dropped(request: Request) -> Response:
        data = await _body(request, upload)
        name = unquote(request.headers.get("x-name", ""))
        return await run_in_threadpool(_telling(lambda asked: _json(questions.by_file(library, asked.query_params, name, data))), request)

    return dropped


async def _body(request: Request, most: int) -> bytes:
    """The body, which is not read on once it is too large."""
    stated = request.headers.get("content-length", "")
    parts, size = list[bytes](), int(stated) if stated.isascii() and stated.isdigit() else 0
    if size <= most:
        size = 0
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size > most:
                break
    if size > most:
        raise HTTPException(413, f"the file has more than {most / 2**20:,.0f} MB, which is what may be dropped; take a part of it")
    return b"".join(parts)


def _item(library: Library, request: Request) -> Item:
    uri = uri_of(request.path_params["id"])
    item = None if uri is None else library.item(uri)
    if item is None:
        raise HTTPException(404, "the table holds no such object; it may have been deleted since you searched")
    return item


def _bytes(library: Library, request: Request) -> Response:
    item = _item(library, request)
    if item.medium == "text":
        raise HTTPException(404, "a text has no bytes here; the page shows what the table holds of it")
    return media.answer(library, item, request.headers, request.method)


def _thumbnail(library: Library, request: Request) -> Response:
    size = request.query_params.get("size", "card")
    if size not in thumbnails.SIZES:
        raise HTTPException(404, f"there is no size {size!r}; allowed are {', '.join(thumbnails.SIZES)}")
    try:
        at = min(max(0.0, float(request.query_params.get("at", "0"))), 1e6)
    except ValueError:
        raise HTTPException(404, "at is a time in seconds") from None
    body = thumbnails.thumbnail(library, _item(library, request), size, at)
    return Response(body, media_type="image/webp", headers={"Cache-Control": "private, max-age=600"})


def _told(problem: Exception) -> Response:
    from encoders.errors import EncoderError, MediumError
    from retrieval.errors import QueryError
    from storage.errors import ObjectError, StorageError

    if isinstance(problem, ObjectError):
        return _json({"error": str(problem), "reason": problem.reason}, 410 if problem.reason in _GONE else 502)
    if isinstance(problem, MediumError):
        return _json({"error": str(problem), "reason": problem.reason}, 422)
    if isinstance(problem, QueryError):
        return _json({"error": str(problem)}, 422)
    if isinstance(problem, (StorageError, EncoderError, OSError)):
        return _json({"error": str(problem)}, 503)
    _log.error("the page could not answer", exc_info=problem)
    return _json({"error": "something went wrong here; the terminal that runs `sensorium view` tells what"}, 500)


async def _refused(_: Request, refusal: Exception) -> Response:
    status = refusal.status_code if isinstance(refusal, HTTPException) else 500
    return _json({"error": getattr(refusal, "detail", "")}, status)


def _json(told: Mapping[str, Any], status: int = 200) -> Response:
    body = json.dumps(told, ensure_ascii=False, default=str, allow_nan=False).encode("utf-8", "replace")
    return Response(body, status, media_type="application/json", headers={"Cache-Control": "no-store"})
