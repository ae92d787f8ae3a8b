"""One run over one bucket, from listing to account, whoever drives it: Prefect or a plain loop."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any

import polars as pl
from lancedb.db import DBConnection
from lancedb.table import Table

from encoders import hardware, registry
from encoders.errors import EncoderError
from encoders.media.frames import FrameChoice
from encoders.spec import Encoder, Modality, Space, Spec
from flows.pipeline import Clock, Steps, run
from flows.prices import counted
from flows.row_reading import reading
from flows.settings import EmbedSettings, SettingsError
from storage import quarantine, runs, table, tables_read, upkeep
from storage.errors import StorageError
from storage.lock import sole_writer
from storage.objects import Source, list_source
from storage.schema import LISTING
from tasks.commit import Committer
from tasks.encode import Encoding, lanes, warm
from tasks.isolate import Workers, WorkerStartError
from tasks.kept_rows import KeptRows, unreadable
from tasks.list_rows import Held, list_rows, refuse_forgotten_columns
from tasks.pairs import PairsError
from tasks.plan import Plan, RefusedError, Shard, diff, refuse_mass_deletion, shards
from tasks.prepare import Contents, Preparation, content_key
from tasks.report import MOST_FAILURES, Account, bottleneck
from tasks.scratch import scratch_folder


@dataclass
class BucketRun:
    """The state of one run: what was asked, where it stands, what it cost.

    Made by `open_run`, which does everything that can refuse the run before any work.
    """

    settings: EmbedSettings
    space: Space
    source: Source
    db: DBConnection
    table: Table | None
    name: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(3)}")
    clock: Clock = field(default_factory=Clock)
    listing_seconds: float = 0.0
    began: float = field(default_factory=monotonic)
    committer: Committer | None = None
    encoders: dict[Modality, list[Encoder]] = field(default_factory=dict)
    rows: KeptRows = field(default_factory=KeptRows)
    _kept: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        weakref.finalize(self, self._kept.close)  # a run may be refused, or only planned, after it has read rows

    @property
    def workers(self) -> int:
        """Processes that decode."""
        return self.settings.workers or hardware.cores()

    @property
    def ahead(self) -> int:
        """Shards prepared ahead of the encoder: one for each worker, and one that waits."""
        return self.settings.ahead or self.workers + 1

    def discover(self) -> pl.DataFrame:
        """List the whole source, the rows of its table files in their place. A listing that fails raises; it is never partial."""
        began = monotonic()
        listing = list_source(self.source)
        if self.settings.tables.text:
            listing, self.rows = list_rows(listing, self._held(), reading(self.settings, self.source, self._kept))
        self.listing_seconds = monotonic() - began
        return listing

    def plan(self, listing: pl.DataFrame) -> Plan:
        """Compare the listing with the table, and refuse to delete what is more likely hidden than gone."""
        present, held_back = self._state()
        plan = diff(listing, present, held_back, self.space.media, self.space.generation)
        if not self.settings.allow_deletions:
            if not self.settings.tables.text:
                refuse_forgotten_columns(plan.vanished, listing)
            refuse_mass_deletion(plan, present.height, self.source.root, self.settings.most_vanished, unreadable(self.rows))
        return plan

    def begin(self) -> None:
        """Write down that the run has begun."""
        runs.start(self.db, self.settings.table, self.name, self.source.root, space=self.space.name, generation=self.space.generation)

    def estimate(self, plan: Plan) -> float | None:
        """Seconds that the plan would take at the speed of the last run that embedded anything; None if there was none."""
        for past in runs.latest(self.db, self.settings.table, 20).get_column("account").drop_nulls():
            account = json.loads(past)
            if account["embedded"] > account["reused"]:
                return float(plan.todo.height * account["seconds"]["total"] / account["embedded"])
        return None

    def work(self, plan: Plan, make_steps: MakeSteps) -> None:
        """Embed what is new or changed, copy what is known, delete what is gone."""
        if plan.idle:
            return
        with ExitStack() as stack:
            stack.callback(self._kept.close)
            stack.enter_context(sole_writer(self.settings.database, self.settings.table))
            if self.table is None:
                self.table = table.create(self.db, self.settings.table, self.space.to_json(), self.space.generation, self.space.dimension)
            upkeep.sweep(self.table)
            scratch = stack.enter_context(scratch_folder(self.settings.scratch))
            limits = self.settings.limits
            workers = stack.enter_context(Workers(self.workers, seconds=limits.seconds, memory=limits.memory))
            self._embed(plan, scratch, workers, make_steps, stack)

    def finish(self, plan: Plan, listing: pl.DataFrame) -> Account:
        """Read the table back, publish it if it deserves it, and account for every listed object."""
        committer = self.committer
        present, held_back = self._state(idle=committer is None)
        # A run that wrote nothing left everything as the plan found it: no second look at a table that may be large.
        after = diff(listing, present, held_back, self.space.media, self.space.generation) if committer else plan
        embedded = after.unchanged - plan.unchanged
        in_quarantine = pl.concat([after.todo, after.waiting]).join(held_back, on="uri", how="semi").height
        skipped = sum(after.skipped.values())
        balanced = (
            after.listed == embedded + plan.unchanged + in_quarantine + skipped
            and after.vanished.is_empty()
            and (committer is None or committer.embedded == embedded)
        )
        account = Account(
            run=self.name,
            source=self.source.root,
            database=self.settings.database,
            table=self.settings.table,
            space=self.space.name,
            generation=self.space.generation,
            listed=after.listed,
            embedded=embedded,
            unchanged=plan.unchanged,
            quarantined=in_quarantine,
            skipped=dict(after.skipped),
            deleted=committer.deleted if committer else 0,
            segments=committer.segments if committer else 0,
            encoded=committer.encoded if committer else 0,
            reused=committer.reused if committer else 0,
            version=0,
            balanced=balanced,
            seconds={},
            bottleneck="",
            failures=committer.failures[:MOST_FAILURES] if committer else [],
            **self._paid(),
        )
        account = self._publish(plan, account)
        self._kept.close()
        if balanced:
            tables_read.record(self.db, self.settings.table, self.rows.read, self.rows.gone, self.name)
        # The settings stand beside the account, so that `quarantine retry` can run the same again.
        runs.finish(self.db, self.settings.table, account.to_dict() | {"settings": self.settings.model_dump(mode="json")})
        return account

    def good_enough(self, account: Account) -> bool:
        """Whether the run did what was asked: everything accounted for, and the share of good objects at or above the floor."""
        return account.balanced and account.share_good >= self.settings.floor

    def verdict(self, account: Account) -> str:
        """The outcome in one line."""
        if not account.balanced:
            return f"The account does not balance: {account.listed} objects were listed, not all of them are in the table or in quarantine"
        share = f"{account.share_good:.1%} of the readable objects are in the table"
        if not self.good_enough(account):
            return f"Too few good objects: {share}, the floor is {self.settings.floor:.0%}; the published version was left as it was"
        done = f"Embedded {account.embedded}, unchanged {account.unchanged}, quarantined {account.quarantined}, deleted {account.deleted}"
        return f"{done}: {share}"

    def _state(self, *, idle: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
        held_back = quarantine.load(self.db, self.settings.table, self.source.root)
        if self.table is None or idle:
            return _nothing_present(), held_back
        return table.present(self.table, self.source.root), held_back

    def _held(self) -> Held:
        read = tables_read.load(self.db, self.settings.table, self.source.root)
        return Held(*self._state(), read, self.space.generation)

    def _embed(self, plan: Plan, scratch: Path, workers: Workers, make_steps: MakeSteps, stack: ExitStack) -> None:
        assert self.table is not None  # noqa: S101 - `work` made it; this tells the type checker
        present, held_back = self._state()
        start = int(self.table.version)
        known = {content_key(uri, h) for uri, h in present.select("uri", "content_hash").iter_rows()}
        limits = self.settings.limits.of_one_object()
        preparation = Preparation(self.source, self.space, limits, workers, Contents(known), scratch, self.rows, self._frames())
        media = plan.todo.get_column("medium").unique(maintain_order=True).to_list()
        # Importing torch and loading weights takes seconds, in which the first shards can be prepared.
        encoding = stack.enter_context(ThreadPoolExecutor(1)).submit(copy_context().run, self._encoding, scratch, media, stack).result
        committer = Committer(
            self.db, self.settings.table, self.table, self.source.root, self.name, self.space.generation, set(held_back.get_column("uri"))
        )
        self.committer = committer
        cut = list(shards(plan.todo, self.settings.shard_objects, self.settings.shard_bytes))
        with make_steps(preparation, encoding, committer, len(cut)) as steps:
            run(cut, self.ahead, steps, self.clock)
        again = committer.copy_vectors(start)
        if not again.is_empty():
            preparation = replace(preparation, contents=None)
            cut = [
                Shard(f"again-{s.name}", s.medium, s.objects) for s in shards(again, self.settings.shard_objects, self.settings.shard_bytes)
            ]
            with make_steps(preparation, encoding, committer, len(cut)) as steps:
                run(cut, self.ahead, steps, self.clock)
        committer.delete(plan.vanished.to_list(), plan.released.to_list())

    def _frames(self) -> FrameChoice:
        wanted = self.settings.frames
        return FrameChoice(1 / wanted.rate if wanted.rate else wanted.every, wanted.scene, wanted.most)

    def _encoding(self, scratch: Path, media: Sequence[Modality], stack: ExitStack) -> Encoding:
        """Encoders of the space; the weights for objects of `media` are loaded now, those of others if content turns out to be theirs."""
        assert self.table is not None  # noqa: S101 - as above
        encoders = self.encoders
        for modality, spec in self.space.encoders.items():
            encoders[modality] = replicas(spec, self.settings.device, self.settings.dtype)
        needed = dict.fromkeys(modality for medium in media for modality in self.space.modalities_of(medium))
        warm(encoder for modality in needed for encoder in dict.fromkeys(encoders[modality]))
        threads = stack.enter_context(lanes(encoders))
        return Encoding(encoders, self.table.schema, self.source.root, self.name, scratch, threads, self.settings.batch)

    def _paid(self) -> dict[str, Any]:
        cost = counted(encoder for replicas in self.encoders.values() for encoder in replicas[:1])
        return {"tokens": cost.tokens, "price": cost.price} if cost else {}

    def _publish(self, plan: Plan, account: Account) -> Account:
        # An idle run may still publish what an earlier one, below its floor, left unpublished.
        if self.table is not None and (not plan.idle or table.published_version(self.table) != self.table.version):
            with sole_writer(self.settings.database, self.settings.table):
                if self.good_enough(account):
                    table.publish(self.table, int(self.table.version))
                upkeep.tidy_all(self.db, self.settings.table)
        version = (table.published_version(self.table) or 0) if self.table is not None else 0
        total = monotonic() - self.began
        committing = self.committer.seconds if self.committer else 0.0
        seconds = {
            "listing": self.listing_seconds,
            "prepare": self.clock.prepare,
            "encode": self.clock.encode,
            "commit": committing,
            "total": total,
        }
        limited_by = bottleneck(total, self.listing_seconds, self.clock.waited, self.clock.encode, committing)
        return replace(account, version=version, seconds={name: round(value, 3) for name, value in seconds.items()}, bottleneck=limited_by)


# What ends a run with one clear message and exit code 2: the ask or the surroundings are wrong, not the code.
REFUSALS = (SettingsError, EncoderError, StorageError, RefusedError, PairsError, WorkerStartError, OSError)

MakeSteps = Callable[[Preparation, Callable[[], Encoding], Committer, int], AbstractContextManager[Steps]]


def _nothing_present() -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(LISTING.empty_table())).with_columns(content_hash=pl.lit(""), medium=pl.lit(""))


def replicas(spec: Spec, device: str, dtype: str) -> list[Encoder]:
    """An encoder as often as it may run at once: on each device, on each core, or as it says itself if it waits for a server."""
    if spec.service:
        encoder = registry.build(spec)
        return [encoder] * int(getattr(encoder, "lanes", 1))
    devices = hardware.chosen(device)
    each = [registry.build(spec, name, dtype) for name in devices]
    return [*each, *each[:1] * (hardware.share_cores(devices[0]) - 1)]
