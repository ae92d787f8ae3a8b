"""One maintenance of one table, from a look at its index to a report, whoever drives it: Prefect or a plain call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from secrets import token_hex
from time import monotonic
from typing import Any

import lancedb
from lancedb.table import Table

from encoders.spec import Space
from flows.settings import MaintainSettings, SettingsError
from storage import index, recall, runs, table, upkeep
from storage.errors import StorageError, TableError
from storage.index import IndexRules, IndexState
from storage.lock import sole_writer
from storage.upkeep import Tidied
from tasks import maintain
from tasks.maintain import Attempt, Exam, Wanted

Step = Callable[[str, Callable[[], Any]], Any]
"""Does a named step of a run: calls it, and may show or record that it does."""
REFUSALS = (SettingsError, StorageError, OSError)
MOST_STEPS = 11


@dataclass
class MaintainRun:
    """The state of one maintenance: what was asked, the table, what was found and done. Made by `open_maintain`."""

    settings: MaintainSettings
    wanted: Wanted
    db: lancedb.DBConnection
    table: Table
    name: str = field(default_factory=lambda: f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(3)}")
    before: IndexState | None = None
    live: int | None = None  # the version that readers saw when it began
    current: bool = False  # whether the latest version held the rows of that one
    reason: str = ""
    settled: tuple[int, int] = (0, 0)  # rows newly indexed, fragments merged away
    exam: Exam | None = None
    build_seconds: float | None = None  # of the last build; None before there was one
    attempts: list[Attempt] = field(default_factory=list)
    began: float = field(default_factory=monotonic)

    @property
    def dimension(self) -> int:
        """Of the table's vectors."""
        return int(self.table.schema.field(index.COLUMN).type.list_size)

    @property
    def reached(self) -> bool:
        """Whether the latest version has what was asked for: an index that reaches the target, or none where none is worth it."""
        return self.attempts[-1].reached if self.attempts else True

    @property
    def met(self) -> bool:
        """Whether readers have it, too: by this maintenance, or, where it could not move them, by an earlier one."""
        if not self.reached or self.live is None:
            return False
        return self.current or maintain.served(index.state(table.published(self.db, self.settings.table)), self.dimension, self.wanted)

    def look(self) -> None:
        """See how the table stands, and decide."""
        self.table.checkout_latest()  # type: ignore[no-untyped-call]
        self.before = index.state(self.table)
        self.live = table.published_version(self.table)
        self.current = self.live is not None and table.same_rows(self.table, self.live)
        self.reason = maintain.why_build(self.before, self.dimension, self.wanted.rules)
        space = Space.from_json(table.space_json(self.table))
        asked = self.settings
        runs.start(self.db, asked.table, self.name, asked.database, space=space.name, generation=space.generation, kind=runs.MAINTAIN)

    def merge(self) -> None:
        """Follow up indices and merge fragments, before rows are drawn and an index is built over them."""
        self.settled = upkeep.settle(self.table)
        self._note()
        if self.reason:
            index.index_filters(self.table)

    def examine(self) -> None:
        """Draw questions and answer them exactly."""
        self.exam = maintain.examine(self.table, self.wanted)

    def build(self, kind: str) -> None:
        """Build an index of a kind in the place of any other."""
        self.build_seconds = maintain.build(self.table, kind, self.wanted.rules)

    def measure(self) -> bool:
        """Raise the settings of the index that is there until it reaches the target; returns whether it does."""
        assert self.exam is not None  # noqa: S101 - `examine` made it; this tells the type checker
        self.attempts.append(maintain.measure(self.table, self.exam, self.wanted, self.build_seconds))
        return self.reached

    def publish(self) -> None:
        """Move readers to what was measured; or, if it misses, take the index away and leave readers where they are."""
        if not self.reached:
            index.drop(self.table)
        elif self.current and self.live != self.table.version:
            table.publish(self.table, int(self.table.version))

    def clean(self) -> dict[str, Tidied]:
        """Drop old versions and leftovers, also of the tables beside."""
        tidied = upkeep.tidy_all(self.db, self.settings.table, timedelta(days=self.settings.keep_days))
        self._note()
        self.table.checkout_latest()  # type: ignore[no-untyped-call]
        return tidied

    def finish(self, tidied: dict[str, Tidied]) -> dict[str, Any]:
        """The report, as plain JSON values; it is written into the table of runs."""
        assert self.before is not None  # noqa: S101 - `look` made it
        asked, after = self.settings, index.state(self.table)
        report: dict[str, Any] = {
            "run": self.name,
            "source": asked.database,
            "table": asked.table,
            "space": Space.from_json(table.space_json(self.table)).name,
            "generation": table.generation(self.table),
            "dimension": self.dimension,
            "version": int(self.table.version),
            "published": table.published_version(self.table),
            "published_before": self.live,
            "target": self.wanted.target,
            "reason": self.reason,
            "before": asdict(self.before),
            "after": asdict(after),
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "flat_milliseconds": self.exam.flat_milliseconds if self.exam else None,
            "indexed": self.settled[0],
            "merged": self.settled[1] + sum(each.merged for each in tidied.values()),
            "freed": sum(each.freed for each in tidied.values()),
            "met": self.met,
            "verdict": self._verdict(after),
            "seconds": round(monotonic() - self.began, 3),
        }
        runs.finish(self.db, asked.table, report, kind=runs.MAINTAIN)
        return report

    def _note(self) -> None:
        """Keep it known that the latest version holds what readers see, also if this maintenance misses or is killed."""
        live = table.published_version(self.table)
        if self.current and live is not None:
            table.note_same_rows(self.table, live)

    def _verdict(self, after: IndexState) -> str:
        told = self._found(after)
        if not self.reached or self.current:
            return told
        if self.live is None:
            return f"{told}; nothing is published: no embed has passed its checks yet"
        return f"{told}; readers stay at version {self.live}: the latest holds other rows, which no embed has published"

    def _found(self, after: IndexState) -> str:
        if not self.attempts:
            return f"No index: {after.rows:,} rows of {self.dimension} dimensions are searched one by one, exactly"
        if not self.reached:
            told = ", ".join(f"{attempt.kind} {attempt.best.least:.3f}" for attempt in self.attempts)
            where = f"readers stay at version {self.live}" if self.live else "nothing is published"
            return f"Recall {self.wanted.target:g} missed ({told}): the index was taken away, {where}"
        last = self.attempts[-1]
        done = "built" if last.built else "kept"
        setting = f"nprobes {last.best.settings.nprobes}, refine {last.best.settings.refine}"
        return f"{last.kind} {done}: it surely finds {last.best.least:.1%} of the ten nearest with {setting}; {after.rows:,} rows"


def open_maintain(settings: MaintainSettings) -> MaintainRun:
    """Do everything that can refuse a maintenance before any work. Writes nothing."""
    db = table.connect(settings.database, must_exist=True)
    held = table.open_table(db, settings.table)
    if held is None:
        raise TableError(
            "no table", f"{settings.database} has no table {settings.table!r}; make it: sensorium embed SOURCE {settings.database}"
        )
    table.space_json(held)  # refuses a table that is not ours
    _refuse_few_questions(settings, held.count_rows())
    rules = IndexRules()
    if settings.index_from:
        rules = replace(rules, values=settings.index_from * int(held.schema.field(index.COLUMN).type.list_size))
    wanted = Wanted(settings.recall, rules, questions=settings.questions, seed=settings.seed)
    return MaintainRun(settings, wanted, db, held)


def _refuse_few_questions(settings: MaintainSettings, rows: int) -> None:
    """Before an index is built that no answers could show to be good; where all rows are asked, there is nothing to show."""
    needed = recall.least_questions(settings.recall)
    if settings.questions >= rows or (needed is not None and settings.questions >= needed):
        return
    if needed is None:
        raise SettingsError(
            f"{settings.questions:,} questions are drawn of {rows:,} rows, and no draw shows that a recall of 1 is surely reached; "
            "ask all rows (questions) or ask for less (recall), such as 0.98"
        )
    raise SettingsError(
        f"{settings.questions:,} questions cannot show that a recall of {settings.recall:g} is surely reached, even if each finds all; "
        f"ask at least {needed:,}, or all {rows:,} rows (questions), or ask for less (recall)"
    )


def maintain_table(run: MaintainRun, step: Step = lambda _, call: call()) -> dict[str, Any]:
    """The report of a maintenance, from a look at the table to the table of runs. No other run may write meanwhile."""
    with sole_writer(run.settings.database, run.settings.table):
        step("look", run.look)
        step("merge", run.merge)
        if run.reason or (run.before is not None and run.before.kind != index.NONE):
            step("search exactly", run.examine)
            _find_index(run, step)
        step("publish", run.publish)
        tidied = step("clean", run.clean)
        report: dict[str, Any] = step("report", lambda: run.finish(tidied))
    return report


def _find_index(run: MaintainRun, step: Step) -> None:
    """The index that is there, if it is good; else one kind after another is built, until one reaches the target."""
    if not run.reason:
        if step("measure", run.measure):
            return
        run.reason = f"its recall is surely only {run.attempts[-1].best.least:.3f}"
    for kind in run.wanted.kinds:
        step(f"build {kind}", partial(run.build, kind))
        if step(f"measure {kind}", run.measure):
            return
