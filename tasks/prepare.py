"""Prepare a shard: fetch its objects, hash them, and let a worker process cut them into segments."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import Protocol, TypeVar

from encoders.media.frames import FrameChoice
from encoders.media.kinds import Limits, medium_by_name
from encoders.media.texts import text_format
from encoders.spec import Space
from storage.errors import ObjectError
from tasks.isolate import Lost, Workers
from tasks.kept_rows import KeptRows
from tasks.plan import Shard
from tasks.prepare_object import PrepareObject, discard
from tasks.row_names import is_row
from tasks.segments import Failure, Item, Ready

T = TypeVar("T")
R = TypeVar("R")

# What may be otherwise tomorrow although the object is the same: the next run tries such an object again by itself.
PASSING = frozenset({"vanished", "denied"})
FETCHES = 16  # threads that fetch a shard's objects …
TOGETHER = 8  # … each so many small ones at a time …
BYTES_TOGETHER = 1 << 20  # … of fewer bytes than this together


class Source(Protocol):
    """The part of an object source that preparing needs."""

    root: str

    def fetch(self, uri: str, folder: Path, limit: int) -> Path:
        """A local file with the object's bytes."""
        ...


@dataclass(frozen=True)
class PreparedShard:
    """Where a shard's segments are, and what became of each object.

    Parameters
    ----------
    ready : objects whose segments stand in prepared files.
    twins : rows of objects whose content the table holds already or this run embeds elsewhere: their vectors are copied, not made.
    failures : objects that could not be fetched or decoded.
    hashes : hex SHA-256 of each object that was fetched, by row.
    seconds : time this took, waiting for a worker included.
    """

    ready: list[Ready]
    twins: list[int]
    failures: list[Failure]
    hashes: dict[int, str]
    seconds: float


@dataclass
class Contents:
    """Which contents have vectors, in the table or on their way: identical content is encoded once.

    Parameters
    ----------
    known : keys as `content_key` makes them, about 100 bytes each in memory.
    """

    known: set[bytes]
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def claim(self, uri: str, content_hash: str) -> bool:
        """Whether the caller is the first to hold this content, and so the one to encode it."""
        key = content_key(uri, content_hash)
        with self._lock:
            if key in self.known:
                return False
            self.known.add(key)
            return True


def content_key(uri: str, content_hash: str) -> bytes:
    """What makes two contents one: their hash (half of it tells them apart), and how their names have them read."""
    return bytes.fromhex(content_hash[:32]) + reading(uri).encode()


def reading(uri: str) -> str:
    """How the name has the content read: the same bytes as .html, as .txt and as a row are different texts; all else is read alike."""
    if is_row(uri):
        return "row"
    return text_format(uri) if medium_by_name(uri) == "text" else ""


@dataclass(frozen=True)
class Preparation:
    """What all shards of a run are prepared with.

    Parameters
    ----------
    source : where objects are fetched from.
    space : whose encoders prepare them.
    limits : what is refused before decoding.
    workers : the processes that decode.
    contents : which contents need no encoding; None to encode every object.
    scratch : the run's folder for prepared and downloaded files.
    rows : of the table files that this run has read.
    frames : which frames of a video are taken.
    """

    source: Source
    space: Space
    limits: Limits
    workers: Workers
    contents: Contents | None
    scratch: Path
    rows: KeptRows = field(default_factory=KeptRows)
    frames: FrameChoice = field(default_factory=FrameChoice)


def prepare(shard: Shard, preparation: Preparation) -> PreparedShard:
    """Fetch, hash, decode and cut one shard into segments.

    Every object of the shard is accounted for exactly once: in `ready`, `twins` or `failures`.
    """
    began = monotonic()
    hashes: dict[int, str] = {}
    twins: list[int] = []
    failures: list[Failure] = []

    def items() -> Iterator[_Fetched]:
        with ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch") as pool:
            for found in chain.from_iterable(_ahead(pool, lambda few: [_fetch(*row, preparation) for row in few], _few(shard), FETCHES)):
                if isinstance(found, Failure):
                    failures.append(found)
                    continue
                hashes[found.index] = found.content_hash
                if preparation.contents is not None and not preparation.contents.claim(found.name, found.content_hash):
                    twins.append(found.index)
                    found.discard()
                else:
                    yield found

    job = PrepareObject(preparation.space.to_json(), preparation.limits, preparation.scratch, shard.name, preparation.frames)
    ready: list[Ready] = []
    for item, result in preparation.workers.each(job, items()):
        outcome = _outcome(item, result)
        item.discard()
        (ready if isinstance(outcome, Ready) else failures).append(outcome)  # type: ignore[arg-type]
    return PreparedShard(ready, twins, failures, hashes, monotonic() - began)


@dataclass(frozen=True, kw_only=True)
class _Fetched(Item):
    """An item that remembers what it was when it was hashed."""

    content_hash: str
    stamp: tuple[int, int] = (0, 0)
    ours: bool = False

    def discard(self) -> None:
        if self.ours:
            discard(self.path)


def _few(shard: Shard) -> Iterator[list[tuple[int, tuple[str, str, int | None]]]]:
    """A shard's objects, small ones a few at a time: handing one to a thread costs as much as reading it."""
    few: list[tuple[int, tuple[str, str, int | None]]] = []
    held = 0
    about = shard.objects.select("uri", "etag", "place").iter_rows()
    for row, size in zip(enumerate(about), shard.objects.get_column("size"), strict=True):
        few.append(row)
        held += size
        if len(few) == TOGETHER or held >= BYTES_TOGETHER:
            yield few
            few, held = [], 0
    if few:
        yield few


def _fetch(index: int, about: tuple[str, str, int | None], preparation: Preparation) -> _Fetched | Failure:
    uri, etag, place = about
    if (failed := preparation.rows.failed.get(uri)) is not None:
        return replace(failed, index=index)
    if place is not None:
        row = preparation.rows.row(place)
        if row.reason:
            return Failure(index, "decode", row.reason, row.error)
        return _Fetched(index, uri, Path(), row.content, content_hash=etag)
    try:
        path = preparation.source.fetch(uri, preparation.scratch, preparation.limits.bytes)
        then = stamp(path)
        with path.open("rb") as file:
            content_hash = hashlib.file_digest(file, "sha256").hexdigest()
    except (ObjectError, OSError) as problem:
        return fetch_failure(index, problem)
    return _Fetched(index, uri, path, content_hash=content_hash, stamp=then, ours=path.is_relative_to(preparation.scratch))


def fetch_failure(index: int, problem: ObjectError | OSError) -> Failure:
    """What is told of an object whose bytes could not be had."""
    if isinstance(problem, ObjectError):
        return Failure(index, "fetch", problem.reason, problem.message, problem.retryable or problem.reason in PASSING)
    return Failure(index, "fetch", "unavailable", f"{type(problem).__name__}: {problem}", retryable=True)


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file is written to."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _outcome(item: _Fetched, result: Ready | Failure | Lost) -> Ready | Failure:
    if isinstance(result, Lost):
        return Failure(item.index, "decode", result.reason, result.error)
    try:
        moved = item.row is None and stamp(item.path) != item.stamp
    except OSError:
        moved = True
    if moved:
        return Failure(
            item.index, "fetch", "changed while read", "it changed or went while it was read; the next run tries again", retryable=True
        )
    return result


def _ahead(pool: Executor, function: Callable[[T], R], items: Iterable[T], most: int) -> Iterator[R]:
    """Results in order, with at most `most` calls under way."""
    under_way: deque[Future[R]] = deque()
    for item in items:
        under_way.append(pool.submit(function, item))
        if len(under_way) >= most:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()
