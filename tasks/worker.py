"""A worker process: opens a job, handles its items one by one, and answers through a socket.

It is started by `tasks.isolate`, which watches it. It imports as little as its job needs, so that it starts fast and stays small.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

TICK_SECONDS = 0.2

# Messages between the two ends: singletons survive pickling, so `is` tells them apart from any item or result.
END = None  # to the worker: no more items
ALIVE = None  # from the worker: still at it
DONE = True  # from the worker: opened, or closed


class Job(Protocol):
    """What a worker runs: opened once per worker, then called for each item. It is sent to the worker by value, so it must be small."""

    def open(self) -> None:
        """Import and build what all items need; its time is not charged to an item."""
        ...

    def __call__(self, item: Any, alive: Callable[[], None]) -> Any:
        """Handle one item; call `alive` whenever there was progress, for long items. What it raises is raised by `Workers.each`."""
        ...

    def close(self) -> None:
        """Finish: no more items come."""
        ...


def serve(descriptor: int, parent: int, memory: int) -> None:
    """A worker's life: receive a job, then its items, until the parent closes the socket."""
    _die_with(parent)
    _yield_to_the_encoder()
    pipe = Connection(descriptor)
    limited = False
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            job: Job = pipe.recv()
            try:
                job.open()
            except Exception as problem:  # noqa: BLE001 - handed to the parent, which raises it
                pipe.send(problem)
                continue
            if not limited:
                _limit_memory(memory)
                limited = True
            pipe.send(DONE)
            _serve_items(pipe, job)
            job.close()
            pipe.send(DONE)


def _serve_items(pipe: Connection, job: Job) -> None:
    last = 0.0

    def alive() -> None:
        nonlocal last
        if monotonic() - last > TICK_SECONDS:
            last = monotonic()
            pipe.send(ALIVE)

    while (item := pipe.recv()) is not END:
        try:
            result = job(item, alive)
        except Exception as problem:  # noqa: BLE001 - handed to the parent, which raises it
            result = problem
        pipe.send(result)


def _limit_memory(extra: int) -> None:
    """Let this process allocate `extra` bytes more than it holds now; then `malloc` fails and Python raises MemoryError."""
    status = Path("/proc/self/status")
    if not status.exists():
        return  # only Linux counts allocations this way; elsewhere the limits on size and time must do
    import resource

    held = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (held + extra, held + extra))


def _yield_to_the_encoder() -> None:
    """Run behind the encoder's threads and in long slices: cores that change between the two all the time lose a twentieth of it."""
    os.nice(10)
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):  # a container may forbid it
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _die_with(parent: int) -> None:
    """Ask Linux to end this process with its parent; elsewhere the closed socket ends it at its next receive."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
