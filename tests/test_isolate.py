"""A bad object harms only itself: it may hang, crash or bloat its worker, its neighbours get their results."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from bad_jobs import CannotOpen, Misbehave

from tasks.isolate import Lost, Workers

MEMORY = 1 << 30


@pytest.fixture(scope="module")
def workers():
    with Workers(2, seconds=1.5, memory=MEMORY) as pool:
        yield pool


def outcomes(workers, items):
    return list(workers.each(Misbehave(), items))


def test_results_come_in_order_with_their_items(workers):
    assert outcomes(workers, range(50)) == [(i, 2 * i) for i in range(50)]


@pytest.mark.parametrize("bad", ["hang", "hang holding the interpreter"])
def test_an_item_that_hangs_is_lost_within_its_time_and_its_neighbours_are_not(workers, bad):
    began = time.monotonic()
    results = dict(outcomes(workers, [1, 2, bad, 3, 4, 5, 6, 7]))
    assert time.monotonic() - began < 6
    assert results[bad] == Lost("timed out", results[bad].error)
    assert {k: v for k, v in results.items() if k != bad} == {i: 2 * i for i in range(1, 8)}


@pytest.mark.parametrize(("bad", "words"), [("crash", "SIGSEGV"), ("exit", "exited with code 7")])
def test_an_item_that_ends_its_process_is_lost_with_the_cause(workers, bad, words):
    results = dict(outcomes(workers, [bad, 1, 2]))
    assert results[bad].reason == "crashed"
    assert words in results[bad].error
    assert (results[1], results[2]) == (2, 4)


def test_two_bad_items_in_a_row_are_both_found(workers):
    results = dict(outcomes(workers, ["exit", "crash", 1]))
    assert results["exit"].reason == results["crash"].reason == "crashed"
    assert results[1] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process may allocate")
def test_an_item_cannot_allocate_more_than_the_limit(workers):
    assert outcomes(workers, ["eat memory", 4]) == [("eat memory", "no memory"), (4, 8)]


def test_an_item_that_reports_progress_may_take_longer_than_the_limit(workers):
    assert outcomes(workers, ["slow but alive"]) == [("slow but alive", "slow but alive")]


def test_what_a_job_raises_is_raised_and_the_pool_goes_on(workers):
    with pytest.raises(ValueError, match="told to"):
        outcomes(workers, [1, "raise"])
    assert outcomes(workers, [1]) == [(1, 2)]


def test_a_job_that_cannot_open_is_an_error_and_not_a_lost_item(workers):
    with pytest.raises(RuntimeError, match="no such encoder"):
        list(workers.each(CannotOpen(), [1]))
    assert outcomes(workers, [1]) == [(1, 2)]


def test_an_error_in_the_items_themselves_is_raised_and_the_pool_goes_on(workers):
    def items():
        yield 1
        raise OSError("listing broke")

    with pytest.raises(OSError, match="listing broke"):
        outcomes(workers, items())
    assert outcomes(workers, [1]) == [(1, 2)]


def test_an_idle_worker_that_was_killed_is_replaced(workers):
    [(_, pid)] = outcomes(workers, ["who"])
    os.kill(pid, 9)
    assert outcomes(workers, [1]) == [(1, 2)]


def test_several_threads_share_the_pool(workers):
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda n: outcomes(workers, [n, "who"]), range(8)))
    assert [r[0] for r in results] == [(n, 2 * n) for n in range(8)]
    assert len({r[1][1] for r in results}) <= 2


def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import time\nfrom bad_jobs import Misbehave\nfrom tasks.isolate import Workers\n"
        "pool = Workers(1, seconds=60, memory=1 << 30)\n"
        "print(next(iter(pool.each(Misbehave(), ['who'])))[1], flush=True)\n"
        "next(iter(pool.each(Misbehave(), ['hang holding the interpreter'])))\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        worker = int(parent.stdout.readline())
        time.sleep(0.3)
        parent.kill()
    deadline = time.monotonic() + 5
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
