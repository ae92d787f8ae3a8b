"""Worker processes that a bad object may hang, crash or bloat without harming its neighbours.

A decoder that hangs in native code cannot be stopped from inside its own process, and one that crashes takes its process along: so
objects are decoded in small processes that are watched from outside. A worker is started as a plain interpreter (no fork: LanceDB and
torch do not survive one; no re-import of the caller's main module) and gets work through a socket.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from socket import socketpair
from typing import Any, TypeVar

from tasks.worker import ALIVE, END, Job

Item = TypeVar("Item")

START_SECONDS = 120.0  # imports of a cold worker on a busy machine
IN_FLIGHT = 4  # items a worker holds, so that it never waits for the parent between two

# One core each; and freed memory is kept for the next picture: giving it back and having it zeroed again cost a quarter of a worker's time.
# Huge pages where Linux leaves them to be asked for: a third of the page faults otherwise.
WORKER = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}


@dataclass(frozen=True)
class Lost:
    """Stands for the result of an item that took its worker along.

    Parameters
    ----------
    reason : "timed out" or "crashed".
    error : what was seen, in words.
    """

    reason: str
    error: str


class WorkerStartError(RuntimeError):
    """A worker could not start: every object would fail alike, so this ends the run."""


class Workers:
    """A fixed number of worker processes, leased one per call of `each`.

    Parameters
    ----------
    count : processes.
    seconds : an item without progress for this long is given up and its worker killed.
    memory : bytes that a worker may allocate beyond what it needs to start.
    """

    def __init__(self, count: int, *, seconds: float, memory: int) -> None:
        self.seconds = seconds
        self.memory = memory
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(count):
            self._idle.put(None)
        self._count = count
        # A worker dies with the *thread* that started it (parent-death signal): one thread, as old as the pool, starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="start-worker")

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def each(self, job: Job, items: Iterable[Item]) -> Iterator[tuple[Item, Any]]:
        """Yield (item, result) in order; the result of an item that killed its worker is a `Lost`.

        Blocks until a worker is free. May be called from several threads at once.
        """
        worker = self._idle.get()
        try:
            source = iter(items)
            waiting: deque[Item] = deque()
            again: deque[Item] = deque()
            worker = self._begin(worker, job)
            while True:
                _feed(worker, waiting, again, source)
                if not waiting:
                    worker.finish()
                    return
                result = worker.result(self.seconds)
                if isinstance(result, Exception):
                    raise result
                item = waiting.popleft()
                yield item, result
                if isinstance(result, Lost):
                    again.extendleft(reversed(waiting))
                    waiting.clear()
                    worker = self._begin(None, job)
        except BaseException:
            # Whatever ended the loop half way (an error in `items`, a caller that stopped asking), this worker still holds items.
            if worker is not None:
                worker.kill()
            worker = None
            raise
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Stop all workers; the running ones are killed."""
        for _ in range(self._count):
            try:
                worker = self._idle.get(timeout=self.seconds)
            except queue.Empty:
                break
            if worker is not None:
                worker.kill()
        self._starter.shutdown()

    def _begin(self, worker: _Worker | None, job: Job) -> _Worker:
        if worker is not None:
            try:
                worker.begin(job)
            except WorkerStartError:
                pass  # it died while it was idle; a new one takes its place
            else:
                return worker
        worker = self._starter.submit(_Worker, self.memory).result()
        worker.begin(job)
        return worker


def _feed(worker: _Worker, waiting: deque[Item], again: deque[Item], source: Iterator[Item]) -> None:
    while len(waiting) < IN_FLIGHT:
        if again:
            item = again.popleft()
        else:
            try:
                item = next(source)
            except StopIteration:
                return
        waiting.append(item)
        worker.send(item)


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, memory: int) -> None:
        ours, theirs = socketpair()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-c", f"from tasks.worker import serve; serve({theirs.fileno()}, {os.getpid()}, {memory})"],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | WORKER,
        )
        theirs.close()
        self._pipe = Connection(ours.detach())
        self._incoming = select.poll()  # made once: the connection's own `poll` makes a selector for every message
        self._incoming.register(self._pipe, select.POLLIN)

    def begin(self, job: Job) -> None:
        """Send the job and wait until the worker has opened it."""
        self.send(job)
        self._expect_done("start")

    def finish(self) -> None:
        """Tell the worker that no item follows, and wait until it has closed the job."""
        self.send(END)
        self._expect_done("finish its shard")

    def send(self, message: object) -> None:
        """Send a job, an item or END; a worker that is gone is noticed at the next receive."""
        with contextlib.suppress(OSError):
            self._pipe.send(message)

    def result(self, seconds: float) -> Any:
        """The next result, or how the worker was lost."""
        try:
            return self._receive(seconds)
        except TimeoutError:
            self.kill()
            return Lost(
                "timed out", f"no progress for {seconds:g} s (limits.seconds); raise the limit if such objects are meant to take long"
            )
        except (EOFError, OSError):
            lost = _how_it_died(self._process.wait(), self._last_words())
            self.kill()
            return lost

    def kill(self) -> None:
        """End the process, at once and for certain."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()
        self._log.close()

    def _expect_done(self, what: str) -> None:
        try:
            answer = self._receive(START_SECONDS)
        except (EOFError, OSError, TimeoutError) as problem:
            words = self._last_words()
            self.kill()
            raise WorkerStartError(f"a worker process could not {what} ({problem!r}); its last words: {words}") from problem
        if isinstance(answer, BaseException):
            self.kill()
            raise answer

    def _receive(self, seconds: float) -> Any:
        while True:
            if not self._incoming.poll(seconds * 1000):
                raise TimeoutError(f"no answer for {seconds:g} s")
            if (message := self._pipe.recv()) is not ALIVE:
                return message

    def _last_words(self) -> str:
        self._log.seek(max(0, self._log.seek(0, os.SEEK_END) - 2000))
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "none"


def _how_it_died(code: int, last_words: str) -> Lost:
    if code >= 0:
        return Lost("crashed", f"the decoder's process exited with code {code}; last words: {last_words}")
    names = {s.value: s.name for s in signal.Signals}
    hint = ", perhaps by the system for want of memory" if -code == signal.SIGKILL else ""
    return Lost("crashed", f"the decoder's process was ended by {names.get(-code, f'signal {-code}')}{hint}; last words: {last_words}")
