"""The scheduled run: embed what a source holds and the table does not yet, shard by shard, visible in Prefect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

import polars as pl
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, create_table_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from encoders.spec import Modality
from flows.bucket_run import REFUSALS, BucketRun, MakeSteps
from flows.embed_opening import open_run
from flows.pipeline import ShardFigures, Steps, told
from flows.settings import EmbedSettings
from tasks.commit import Committer
from tasks.encode import Encoding, Staged
from tasks.encode import encode as encode_shard
from tasks.plan import Plan, Shard
from tasks.prepare import Preparation, PreparedShard, prepare
from tasks.report import Account, markdown

VERBS: dict[Modality, str] = {"image": "patch", "audio": "stft", "text": "tokenise", "video": "frames"}
RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(
    max_workers=16
)  # tasks in flight are bounded by `ahead`; idle threads cost nothing

# A run's state is what can be read back from the table: nothing is cached, and no result is kept beyond its use.
PLAIN: dict[str, Any] = {"persist_result": False, "cache_policy": NO_CACHE}


@flow(
    name="embed",
    flow_run_name="embed {settings.source} into {settings.table}",
    persist_result=False,
    task_runner=RUNNER,  # type: ignore[arg-type]  # its futures are a subclass of what the flow is typed to take
)
def embed(settings: EmbedSettings) -> State[Any]:
    """Embed what a source holds and the table does not yet; fail if too much of it could not be embedded.

    Returns a state rather than raising, so that a refusal is one clear line in the log and not a traceback; its data is the account, or the
    exception that refused the run.
    """
    try:
        bucket_run = open_run(settings)
        account = run_as_tasks(bucket_run)
    except REFUSALS as problem:
        get_run_logger().error("%s", problem)
        return Failed(message=str(problem), data=problem)
    good = bucket_run.good_enough(account)
    verdict = bucket_run.verdict(account)
    _publish_report(bucket_run, account, verdict)
    return Completed(message=verdict, data=account) if good else Failed(message=verdict, data=account)


def run_as_tasks(bucket_run: BucketRun) -> Account:
    """A run from listing to account, its steps as tasks of the flow that calls this."""

    @task(name="discover", task_run_name="discover", **PLAIN)
    def discover() -> pl.DataFrame:
        """List the source."""
        return bucket_run.discover()

    @task(name="plan", task_run_name="plan", **PLAIN)
    def plan(listing: pl.DataFrame) -> Plan:
        """Compare the listing with the table: one diff."""
        return bucket_run.plan(listing)

    @task(name="report", task_run_name="report", **PLAIN)
    def report(plan: Plan, listing: pl.DataFrame) -> Account:
        """Read the table back, publish it, account for every object."""
        return bucket_run.finish(plan, listing)

    listing = discover()
    planned = plan(listing)
    bucket_run.begin()
    bucket_run.work(planned, _as_tasks(bucket_run))
    account = report(planned, listing)
    return account


def _as_tasks(bucket_run: BucketRun) -> MakeSteps:
    """The loop's steps as Prefect tasks.

    They close over what is common to all shards, because Prefect walks through every parameter in search of futures.
    """
    bar = create_progress_artifact(0.0, key="embed-progress", description=f"{bucket_run.source.root}: no shard yet")
    assert isinstance(bar, UUID)  # noqa: S101 - a coroutine only inside an async flow

    @contextmanager
    def steps(preparation: Preparation, encoding: Callable[[], Encoding], committer: Committer, count: int) -> Iterator[Steps]:
        verbs = {medium: _preparing(verb, preparation) for medium, verb in VERBS.items()}

        @task(name="encode", task_run_name="encode {shard}", **PLAIN)
        def encode(shard: Shard, ready: PreparedShard) -> Staged:
            """Vectors from model inputs, checked, into a staged file."""
            return encode_shard(shard, ready, encoding())

        @task(name="commit", task_run_name="commit {number}", **PLAIN)
        def commit(number: int) -> int:
            """Make what is staged one version of the table, and read it back."""
            return committer.commit()

        yield Steps(
            submit=lambda shard: verbs[shard.medium].submit(shard),
            encode=encode,
            add=committer.add,
            commit=lambda: commit(committer.commits + 1),
            note=_progress(bar, bucket_run, count),
        )

    return steps


def _preparing(verb: str, preparation: Preparation) -> Any:
    @task(name=verb, task_run_name=f"{verb} {{shard}}", **PLAIN)
    def step(shard: Shard) -> PreparedShard:
        """Fetch, decode and cut a shard's objects into model inputs, in a worker process."""
        return prepare(shard, preparation)

    return step


def _progress(bar: UUID, bucket_run: BucketRun, count: int) -> Callable[[ShardFigures], None]:
    def note(figures: ShardFigures) -> None:
        shards = bucket_run.clock.shards
        done, rows, failed = len(shards), sum(s.segments for s in shards), sum(s.failed for s in shards)
        words = f"{done} of {count} shards, {rows} rows encoded, {failed} objects failed; last: {figures.name}"
        update_progress_artifact(bar, progress=min(100.0, 100 * done / count), description=words)
        told(figures, count)

    return note


def _publish_report(bucket_run: BucketRun, account: Account, verdict: str) -> None:
    shards = [{k: round(v, 2) if isinstance(v, float) else v for k, v in asdict(s).items()} for s in bucket_run.clock.shards]
    if shards:
        create_table_artifact(key="embed-shards", table=shards, description="What each shard cost, seconds")
    rate = account.encoded / bucket_run.clock.encode if bucket_run.clock.encode else 0.0
    create_markdown_artifact(key="embed-report", markdown=markdown(account, verdict, rate), description="The account of the run")
    get_run_logger().info("%s; limited by %s", verdict, account.bottleneck)
