"""The steps of maintaining a table's vector index: decide, build, measure, raise the settings, let readers have it or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

import numpy as np
from lancedb.table import Table

from storage import index, recall
from storage.index import IndexRules, IndexState, SearchSettings
from storage.recall import Questions, Recall

MORE = 4
FLAT = 5  # searches of every row that are timed, to tell what the index gains


@dataclass(frozen=True)
class Wanted:
    """What a table's index must do.

    Parameters
    ----------
    target : the share of the ten nearest that every kind of question must surely find (`Recall.sure`).
    rules : when an index is made, and how.
    kinds : types of index that are tried, in this order.
    questions : of each kind.
    widest : no setting is raised beyond this.
    """

    target: float = 0.98
    rules: IndexRules = field(default_factory=IndexRules)
    kinds: tuple[str, ...] = (index.RQ, index.SQ)
    questions: int = recall.QUESTIONS
    widest: SearchSettings = index.WIDEST
    seed: int = 1


@dataclass(frozen=True)
class Exam:
    """Questions to a table and the scores of their exact answers; see `storage.recall`."""

    questions: Sequence[Questions]
    truth: Sequence[np.ndarray]
    flat_milliseconds: float


@dataclass(frozen=True)
class Attempt:
    """One index that was measured.

    Parameters
    ----------
    built : whether it was built now, or was there.
    build_seconds : how long that took.
    measured : recall by setting, the one to keep last.
    reached : whether that one reaches the target.
    """

    kind: str
    built: bool
    build_seconds: float
    measured: tuple[Recall, ...]
    reached: bool

    @property
    def best(self) -> Recall:
        """What the setting to keep finds."""
        return self.measured[-1]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "kind": self.kind,
            "built": self.built,
            "build_seconds": self.build_seconds,
            "measured": [
                {
                    **asdict(each.settings),
                    "recall": each.by_kind,
                    "sure": each.sure,
                    "least": each.least,
                    "milliseconds": each.milliseconds,
                }
                for each in self.measured
            ],
            "reached": self.reached,
        }


def why_build(held: IndexState, dimension: int, rules: IndexRules) -> str:
    """Why an index must be built, in words; "" if one that is there is good, or none is worth it."""
    built_at = held.kept.get("rows", held.rows)
    if held.kind == index.NONE:
        return "there was none" if rules.worth_it(held.rows, dimension) else ""
    if held.kept.get("pending"):
        return "the last build was cut off before it was measured"
    if held.parts > rules.parts:
        return f"it consists of {held.parts} parts"
    if built_at and held.rows >= rules.growth * built_at:
        return f"the table grew from {built_at:,} to {held.rows:,} rows"
    return ""


def served(held: IndexState, dimension: int, wanted: Wanted) -> bool:
    """Whether readers of a version have what is wanted, as far as is known without measuring: an index that once reached the target, or
    none where none is worth it."""
    return not why_build(held, dimension, wanted.rules) and (held.kind == index.NONE or held.kept.get("target", 0) >= wanted.target)


def examine(table: Table, wanted: Wanted) -> Exam:
    """Draw questions from the table's rows and answer them exactly."""
    questions = recall.draw(table, wanted.questions, wanted.seed)
    truth = recall.exact(table, questions)
    return Exam(questions, truth, recall.flat_milliseconds(table, questions, FLAT))


def build(table: Table, kind: str, rules: IndexRules) -> float:
    """Build an index of a kind; returns the seconds that it took."""
    began = monotonic()
    index.build(table, kind, rules)
    return round(monotonic() - began, 3)


def measure(table: Table, exam: Exam, wanted: Wanted, build_seconds: float | None) -> Attempt:
    """Raise the settings of the table's index until it reaches the target, and write them down if it does.

    Parameters
    ----------
    build_seconds : of an index that was just built, which is begun with the default settings; `None` for one that was there, whose own
        settings are begun with.
    """
    held = index.state(table)
    start = SearchSettings() if build_seconds is not None else index.search_settings(table)
    partitions = wanted.rules.partitions(held.rows)
    most = partitions if build_seconds is not None else MORE * partitions  # follow-ups may have split some, or somebody else built it
    widest = SearchSettings(min(wanted.widest.nprobes, most), wanted.widest.refine)
    ask = lambda settings: recall.measure(table, exam.questions, exam.truth, settings)  # noqa: E731 - one line says it best
    measured = tuple(recall.raised(ask, wanted.target, start, widest))
    attempt = Attempt(held.kind, build_seconds is not None, build_seconds or 0.0, measured, measured[-1].least >= wanted.target)
    if attempt.reached:
        best = attempt.best
        index.keep(
            table,
            best.settings,
            kind=held.kind,
            rows=held.rows if attempt.built else held.kept.get("rows", held.rows),
            recall={name: round(value, 4) for name, value in best.by_kind.items()},
            target=wanted.target,
        )
    return attempt
