"""A run's folder for files between tasks: locked while the run lives, so that the next run can tell and sweep what a dead one left."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "sensorium-run-"
LOCK = ".lock"


@contextmanager
def scratch_folder(parent: str = "") -> Iterator[Path]:
    """Yield a new private folder under `parent` (the system's temporary folder if empty), and remove it in the end."""
    root = Path(parent or tempfile.gettempdir())
    root.mkdir(parents=True, exist_ok=True)
    sweep(root)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    with (folder / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> int:
    """Remove the folders of runs that are no more; how many there were."""
    swept = 0
    for lock_file in root.glob(f"{PREFIX}*/{LOCK}"):
        try:
            with lock_file.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock_file.parent, ignore_errors=True)
                swept += 1
        except OSError:
            continue  # its run lives, or it belongs to somebody else
    return swept
