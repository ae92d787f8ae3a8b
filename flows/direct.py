"""The run without Prefect: the same steps as plain calls, on a pool of threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from flows.bucket_run import BucketRun
from flows.pipeline import Steps, told
from tasks.commit import Committer
from tasks.encode import Encoding, encode
from tasks.prepare import Preparation, prepare
from tasks.report import Account


def embed_direct(bucket_run: BucketRun) -> Account:
    """Run from listing to account in this process."""

    @contextmanager
    def steps(preparation: Preparation, encoding: Callable[[], Encoding], committer: Committer, count: int) -> Iterator[Steps]:
        with ThreadPoolExecutor(bucket_run.ahead, thread_name_prefix="prepare") as pool:
            yield Steps(
                submit=lambda shard: pool.submit(prepare, shard, preparation),
                encode=lambda shard, ready: encode(shard, ready, encoding()),
                add=committer.add,
                commit=committer.commit,
                note=lambda figures: told(figures, count),
            )

    listing = bucket_run.discover()
    plan = bucket_run.plan(listing)
    bucket_run.begin()
    bucket_run.work(plan, steps)
    account = bucket_run.finish(plan, listing)
    return account
