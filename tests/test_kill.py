"""kill -9 at any instant, then the next run: the same rows as an undisturbed one."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from buckets import assert_same_rows, embed, picture, rows, small_bucket, sound, words

ROOT = Path(__file__).parent.parent
RUN = "import sys; sys.path[:0] = [{tests!r}]\nfrom buckets import embed\nembed({source!r}, {database!r}, shard_objects=4, workers=2)\n"


def start(source, database, scratch):
    code = RUN.format(tests=str(ROOT / "tests"), source=str(source), database=str(database))
    environment = os.environ | {"TMPDIR": str(scratch)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    folder = small_bucket(tmp_path_factory.mktemp("killed") / "bucket")
    for number in range(30):
        (folder / f"p{number}.png").write_bytes(picture(number))
        (folder / f"t{number}.txt").write_text(words(number, 200))
    for number in range(4):
        (folder / f"s{number}.wav").write_bytes(sound(number, seconds=20))
    (folder / "broken.png").write_bytes(picture(1)[:100])
    return folder


@pytest.fixture(scope="module")
def undisturbed(bucket):
    embed(bucket, bucket.parent / "undisturbed")
    return rows(bucket.parent / "undisturbed")


def change(folder):
    """New, changed and vanished objects, so that a killed run also had rows to replace and delete."""
    for number in range(0, 30, 3):
        (folder / f"p{number}.png").write_bytes(picture(1000 + number))
    for number in range(1, 30, 3):
        (folder / f"t{number}.txt").unlink()
    (folder / "s1.wav").write_bytes(sound(77, seconds=6))


def survivors(before):
    return [p for p in psutil.Process().children(recursive=True) if p.pid not in before]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_killed_run_is_finished_by_the_next(bucket, undisturbed, tmp_path, seed):
    process = start(bucket, tmp_path / "lance", tmp_path)
    time.sleep(random.Random(seed).uniform(1.5, 8.0))
    workers = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGKILL)
    process.wait()
    account = embed(bucket, tmp_path / "lance", scratch=str(tmp_path))
    assert account.balanced
    assert_same_rows(rows(tmp_path / "lance"), undisturbed)
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive, "workers outlived the run"
    assert not list(tmp_path.glob("sensorium-run-*")), "the dead run's scratch folder was not swept"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_killed_change_leaves_every_object_old_or_new_and_the_next_run_finishes_it(tmp_path, seed):
    folder = small_bucket(tmp_path / "bucket")
    for number in range(30):
        (folder / f"p{number}.png").write_bytes(picture(number))
        (folder / f"t{number}.txt").write_text(words(number, 200))
    for number in range(3):
        (folder / f"s{number}.wav").write_bytes(sound(number, seconds=20))
    embed(folder, tmp_path / "lance")
    old = {(row["uri"], row["content_hash"]) for row in rows(tmp_path / "lance")}
    change(folder)
    process = start(folder, tmp_path / "lance", tempfile.gettempdir())
    time.sleep(random.Random(seed).uniform(1.5, 7.0))
    process.send_signal(signal.SIGKILL)
    process.wait()
    new = {(f"file://{path}", hashlib.sha256(path.read_bytes()).hexdigest()) for path in folder.rglob("*.*")}
    assert {(row["uri"], row["content_hash"]) for row in rows(tmp_path / "lance")} in (old, new), "readers see the one or the other"
    account = embed(folder, tmp_path / "lance")
    assert account.balanced
    embed(folder, tmp_path / "fresh")
    assert_same_rows(rows(tmp_path / "lance"), rows(tmp_path / "fresh"))
