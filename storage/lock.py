"""One writer per table: a lock beside the database's tables, for databases in a folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import TableError


@contextmanager
def sole_writer(database: str, name: str) -> Iterator[None]:
    """Hold the right to write table `name`, or raise TableError at once if another process on this machine holds it.

    The system drops the lock with its process, so a killed run leaves nothing to clean up. A database on an object store has no such lock:
    there the deployment's concurrency limit keeps runs apart, and reading back after each commit finds what two writers would double.
    """
    if "://" in database:
        yield
        return
    folder = Path(database).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{name}.lock").open("w")
    except OSError as problem:
        raise TableError("no place", f"database {database!r} cannot be written: {problem.strerror or problem}") from problem
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TableError("busy", f"another run is writing table {name!r} of {database}; wait for it to end, or stop it") from None
        yield
