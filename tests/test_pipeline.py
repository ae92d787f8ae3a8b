"""The overlapped loop, with hand-checkable steps: order, window, errors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from flows.pipeline import Clock, Steps, run
from tasks.encode import Staged
from tasks.plan import Shard
from tasks.prepare import PreparedShard


def shard(number):
    return Shard(f"image-{number:04d}", "image", pl.DataFrame({"uri": [f"u{number}"], "known": [False]}))


class Recorder:
    """Steps that write down what happened, in order."""

    def __init__(self, pool, *, fail_encode_at=None, commit_every=2):
        self.pool = pool
        self.events = []
        self.ahead_now = 0
        self.most_ahead = 0
        self.waiting = 0
        self.fail_encode_at = fail_encode_at
        self.commit_every = commit_every
        self.lock = threading.Lock()
        self.finished = 0

    def steps(self):
        return Steps(self.submit, self.encode, self.add, self.commit, lambda figures: self.events.append(("note", figures.name)))

    def submit(self, item):
        self.ahead_now += 1
        self.most_ahead = max(self.most_ahead, self.ahead_now)
        return self.pool.submit(self.prepare, item)

    def prepare(self, item):
        with self.lock:
            self.finished += 1
        return PreparedShard([], [], [], {}, 0.1)

    def encode(self, item, prepared):
        if item.name == self.fail_encode_at:
            raise OSError("no space left")
        self.ahead_now -= 1
        self.events.append(("encode", item.name))
        return Staged(item, Path("x"), {0: 3}, [], [], {}, 3, 0.2)

    def add(self, staged):
        self.waiting += 1
        return self.waiting >= self.commit_every

    def commit(self):
        self.events.append(("commit", self.waiting))
        self.waiting = 0
        return 1


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as threads:
        yield threads


def test_every_shard_is_encoded_once_in_order_and_committed(pool):
    recorder, clock = Recorder(pool), Clock()
    run([shard(i) for i in range(5)], 2, recorder.steps(), clock)
    assert [name for kind, name in recorder.events if kind == "encode"] == [f"image-{i:04d}" for i in range(5)]
    assert [n for kind, n in recorder.events if kind == "commit"] == [2, 2, 1]
    assert [s.name for s in clock.shards] == [f"image-{i:04d}" for i in range(5)]
    assert clock.prepare == pytest.approx(0.5)


def test_no_more_shards_are_prepared_than_the_window_allows(pool):
    recorder = Recorder(pool)
    run([shard(i) for i in range(20)], 3, recorder.steps(), Clock())
    # The one being encoded has left the window, which is then filled up again.
    assert recorder.most_ahead <= 3 + 1


def test_an_error_ends_the_run_after_the_shards_under_way_are_done(pool):
    recorder = Recorder(pool, fail_encode_at="image-0002")
    with pytest.raises(OSError, match="no space left"):
        run([shard(i) for i in range(20)], 3, recorder.steps(), Clock())
    assert [name for kind, name in recorder.events if kind == "encode"] == ["image-0000", "image-0001"]
    assert recorder.finished == 3 + 3  # three were taken, and the window was full


def test_nothing_to_do_still_settles_what_waits(pool):
    recorder = Recorder(pool)
    run([], 3, recorder.steps(), Clock())
    assert recorder.events == [("commit", 0)]
