"""The overlapped loop: shards are prepared ahead while one is encoded, and one committer writes. Knows no Prefect."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Protocol

from tasks.encode import Staged
from tasks.plan import Shard
from tasks.prepare import PreparedShard


class Future(Protocol):
    """What Prefect's futures and the standard library's have in common."""

    def result(self) -> Any:
        """Wait for the result, or raise what the call raised."""
        ...


@dataclass(frozen=True)
class Steps:
    """How the loop does its work: plain functions, or the same functions as Prefect tasks.

    Parameters
    ----------
    submit : start preparing a shard elsewhere.
    encode : encode a prepared shard here.
    add : hand a staged shard to the committer; True when it wants to commit.
    commit : write what the committer holds.
    note : told after each shard, for progress.
    """

    submit: Callable[[Shard], Future]
    encode: Callable[[Shard, PreparedShard], Staged]
    add: Callable[[Staged], bool]
    commit: Callable[[], int]
    note: Callable[[ShardFigures], None]


@dataclass(frozen=True)
class ShardFigures:
    """What one shard cost: shown as a row of the run's table by shard.

    Parameters
    ----------
    waited : seconds that the encoder stood still because the shard was not prepared yet.
    prepare, encode : seconds each took.
    """

    name: str
    objects: int
    segments: int
    failed: int
    copied: int
    waited: float
    prepare: float
    encode: float


@dataclass
class Clock:
    """Where the loop's own time went, in seconds."""

    waited: float = 0.0
    encode: float = 0.0
    commit: float = 0.0
    prepare: float = 0.0
    shards: list[ShardFigures] = field(default_factory=list)


Listener = Callable[[ShardFigures, int], None]

# Whoever started the run in this process may listen, for a progress line; a run on a worker has no listener.
listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def told(figures: ShardFigures, count: int) -> None:
    """Tell the listener, if there is one, of a finished shard out of `count`."""
    if (listen := listener.get()) is not None:
        listen(figures, count)


def run(shards: Iterable[Shard], ahead: int, steps: Steps, clock: Clock) -> None:
    """Take every shard from `prepare` over `encode` to `commit`, keeping `ahead` shards prepared.

    What is wrong with one object stands in the shard's outcome. Whatever is raised here (a full disk, a broken encoder, a table that
    does not read back) would be raised for every shard alike, so it ends the run; what was committed stays.
    """
    todo = iter(shards)
    under_way: deque[tuple[Shard, Future]] = deque()
    _top_up(under_way, todo, ahead, steps)
    try:
        while under_way:
            shard, future = under_way.popleft()
            began = monotonic()
            prepared = future.result()
            waited = monotonic() - began
            _top_up(under_way, todo, ahead, steps)
            staged = steps.encode(shard, prepared)
            _count(clock, shard, prepared, staged, waited)
            if steps.add(staged):
                _commit(steps, clock)
            steps.note(clock.shards[-1])
        _commit(steps, clock)
    finally:
        # Shards still under way hold worker processes and scratch files: wait for them before anybody removes those.
        for _, future in under_way:
            _settle(future)


def _top_up(under_way: deque[tuple[Shard, Future]], todo: Iterator[Shard], ahead: int, steps: Steps) -> None:
    while len(under_way) < ahead and (shard := next(todo, None)) is not None:
        under_way.append((shard, steps.submit(shard)))


def _commit(steps: Steps, clock: Clock) -> None:
    began = monotonic()
    steps.commit()
    clock.commit += monotonic() - began


def _count(clock: Clock, shard: Shard, prepared: PreparedShard, staged: Staged, waited: float) -> None:
    clock.waited += waited
    clock.prepare += prepared.seconds
    clock.encode += staged.seconds
    segments = sum(staged.segments.values())
    clock.shards.append(
        ShardFigures(shard.name, len(shard), segments, len(staged.failures), len(staged.twins), waited, prepared.seconds, staged.seconds)
    )


def _settle(future: Future) -> None:
    with suppress(Exception):  # the first error is already on its way up; this one is its echo
        future.result()
