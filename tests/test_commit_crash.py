"""A committer killed at any instant leaves a table that opens, with every object entirely old or entirely new; the next run heals it."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from table_rows import DIMENSION, Objects, contents, stream

from storage import table, upkeep

# Changes all objects over and over: another etag each time, more or fewer segments, some vanish and some come. Dies at MOMENT, if given.
COMMITTER = """
import os, signal, sys
import lance
from storage import replace, table, upkeep
from table_rows import DIMENSION
from test_commit_crash import change

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

folder, moment, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
if moment == "before creating the index": table.index_text = die
media = table.create(table.connect(folder), "media", "{}", "g1", DIMENSION)
print("ready", flush=True)
for step in range(first, first + 1000):
    if step == first + 2:
        if moment == "after writing rows": replace._refuse_misfits = die
        if moment == "after striking out": lance.Transaction = die
        if moment == "after the commit": replace._compare = die
        if moment == "after indexing": upkeep._merge_fragments = die
        if moment == "after merging": upkeep._drop_versions = die
    change(media, step)
    if step % 4 == 0:
        for name in ("SMALL_FRAGMENTS", "UNINDEXED", "DELETED"): setattr(upkeep, name, 0)
        upkeep.tidy(media)
"""

MOMENTS = [
    "before creating the index",
    "after writing rows",
    "after striking out",
    "after the commit",
    "after indexing",
    "after merging",
]


def state(step: int) -> Objects:
    return {f"s3://bucket/{k}'s.jpg": (f"v{step}", 1 + (k + step) % 4) for k in range(300) if (k + step) % 7}


def change(media: object, step: int) -> None:
    uris = sorted(set(state(step)) | set(state(step - 1)))
    table.commit(media, uris, lambda: stream(state(step)))  # type: ignore[arg-type]


def run_until_killed(folder: Path, moment: str, seconds: float | None, first: int = 1) -> None:
    """`seconds` counts from when the table is there; without it the committer must die by itself."""
    paths = f"{Path(__file__).parent}:{Path(__file__).parent.parent}"
    command = [sys.executable, "-c", COMMITTER, str(folder), moment, str(first)]
    with subprocess.Popen(command, env={"PYTHONPATH": paths, "PATH": ""}, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        if seconds is not None:
            assert child.stdout.readline() == b"ready\n", child.stderr.read().decode()
            time.sleep(seconds)
            child.kill()
        child.wait(30)
        assert child.returncode == -signal.SIGKILL, child.stderr.read().decode()


def is_whole_and_heals(folder: Path) -> int:
    """Checks what the kill left, then commits once more; returns the step that was reached."""
    db = table.connect(str(folder))
    media = table.open_table(db, "media")
    found = {} if media is None else contents(media)
    step = int(next(iter(found.values()))[0][1:]) if found else 0
    assert found == (state(step) if found else {})
    media = table.create(db, "media", "{}", "g1", DIMENSION)
    for later in (step + 1, step + 2):
        change(media, later)
    upkeep.tidy(media)
    assert contents(media) == state(step + 2)
    assert len(media.search("no such word", query_type="fts", fts_columns="text").limit(1).to_list()) == 0
    return step


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_committer_that_dies_at_a_chosen_moment_leaves_a_whole_table(tmp_path: Path, moment: str) -> None:
    run_until_killed(tmp_path, moment, None)
    reached = is_whole_and_heals(tmp_path)
    assert reached == {"before creating the index": 0, "after the commit": 3, "after indexing": 4, "after merging": 4}.get(moment, 2)


def kill_at_random(folder: Path, trials: int) -> None:
    instants = random.Random(7)
    for trial in range(trials):
        run_until_killed(folder, "", instants.uniform(0, 0.6), first=1 + trial * 2000)
        assert is_whole_and_heals(folder) >= 0


def test_a_committer_killed_at_random_instants_leaves_a_whole_table(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_committer_killed_at_many_random_instants_leaves_a_whole_table(tmp_path: Path) -> None:
    kill_at_random(tmp_path, 30)
