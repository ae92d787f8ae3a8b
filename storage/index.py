"""The vector index of a table: whether one is worth it and which, how it is built, and how readers must ask it.

What a reader must know stands in the version itself, in the engine's configuration of the table: it survives commits, merges of fragments
and follow-ups of the index, and a rollback brings back the settings that fit the index of that version.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from lancedb.index import Bitmap, IvfRq, IvfSq
from lancedb.query import LanceVectorQueryBuilder
from lancedb.table import Table

from storage.errors import TableError
from storage.faults import told
from storage.replace import latest

SETTINGS = "sensorium.search"
COLUMN = "vector"
FILTERS = ("medium", "modality")
NONE, RQ, SQ = "none", "IVF_RQ", "IVF_SQ"
SAMPLE, ITERATIONS = 64, 20  # rows a partition that k-means is trained on, and its passes: a fourth of the engine's, and the same recall


@dataclass(frozen=True)
class SearchSettings:
    """How much of an index a search looks at; without an index neither matters.

    Parameters
    ----------
    nprobes : partitions of the index that are searched, those whose centres are nearest.
    refine : candidates for each row asked for, taken by their coarse vectors, whose true vectors are then compared. Never 0: without it
        the engine's distances of a coarse index are not cosine distances.
    """

    nprobes: int = 20
    refine: int = 10


WIDEST = SearchSettings(nprobes=1 << 16, refine=80)
"""Every partition, and 800 rows fetched for ten; beyond, a search of every row is hardly slower."""


@dataclass(frozen=True)
class IndexRules:
    """When a table gets a vector index, and when that is built anew.

    Parameters
    ----------
    values : rows times dimension from which an index is worth it. A search of every row of 100,000 x 128 takes 32 ms, through the index 7.
    partition : rows of one partition, on average. Half as many took twice the time to build, and twice the probes for the same recall.
    parts : an index that consists of more parts than this is built anew: most follow-ups add one, and each is searched on its own.
    growth : so is one of a table that has this many times the rows it had when it was built: its partitions have grown as much.
    bits : of IVF_RQ, for each number of a vector.
    """

    values: int = 10_000_000
    partition: int = 8192
    parts: int = 8
    growth: float = 2.0
    bits: int = 2

    def worth_it(self, rows: int, dimension: int) -> bool:
        """Whether a table of this size should have a vector index."""
        return rows * dimension >= self.values

    def partitions(self, rows: int) -> int:
        """How many partitions an index of so many rows gets."""
        return max(1, round(rows / self.partition))


@dataclass(frozen=True)
class IndexState:
    """The vector index of a version.

    Parameters
    ----------
    kind : "IVF_RQ", "IVF_SQ", or "none".
    rows, unindexed : rows of the table, and those that the index does not cover and a search looks at one by one.
    parts : what the index consists of; more than one after follow-ups.
    bytes : its size.
    kept : what was written beside it (`keep`): nprobes, refine, recall …; {} where nothing was.
    """

    kind: str
    rows: int
    unindexed: int
    parts: int
    bytes: int
    kept: dict[str, Any]


def state(table: Table) -> IndexState:
    """The vector index of the version at which `table` stands."""
    with told(f"reading the indices of table {table.name!r}"):
        rows, kept = table.count_rows(), _kept(table)
        index = next((each for each in table.list_indices() if each.columns == [COLUMN]), None)
        if index is None:
            return IndexState(NONE, rows, rows, 0, 0, kept)
        return IndexState(
            _KINDS.get(index.index_type, index.index_type),
            rows,
            int(index.num_unindexed_rows or 0),
            int(index.num_segments or 0),
            int(index.size_bytes or 0),
            kept,
        )


def search_settings(table: Table) -> SearchSettings:
    """The settings of the version at which `table` stands; the defaults where none were measured."""
    with told(f"reading the search settings of table {table.name!r}"):
        held = _kept(table)
    return SearchSettings(held.get("nprobes", SearchSettings.nprobes), held.get("refine", SearchSettings.refine))


def keep(table: Table, settings: SearchSettings, **known: Any) -> int:
    """Write settings into a new version of the table, with the same rows, and what else is known of its index; returns the version.

    Where exactly that stands there already, no version is made.
    """
    entry = json.dumps({"nprobes": settings.nprobes, "refine": settings.refine, **known}, sort_keys=True)
    with told(f"writing the search settings of table {table.name!r}"):
        dataset = latest(table)
        if dataset.config().get(SETTINGS) != entry:
            dataset.update_config({SETTINGS: entry})
            latest(table)
        return int(table.version)


def nearest(table: Table, vector: np.ndarray, settings: SearchSettings, where: str = "") -> LanceVectorQueryBuilder:
    """A search for the rows nearest to one vector, to be given a limit and columns (with "_distance": 1 - cosine similarity).

    Under a condition further partitions are searched until there are enough candidates: the nearest ones may hold no row that meets it.
    """
    search = cast("LanceVectorQueryBuilder", table.search(vector, vector_column_name=COLUMN)).distance_type("cosine")
    search = search.minimum_nprobes(settings.nprobes).maximum_nprobes(0 if where else settings.nprobes).refine_factor(settings.refine)
    return search.where(where) if where else search


def build(table: Table, kind: str, rules: IndexRules) -> None:
    """Build the vector index anew over all rows, as a new version; an older one is replaced. By cosine: by dot product it is no better.

    Until its settings are measured (`keep`) it is asked with the widest there are, so that a build that is cut off here harms no answer.
    """
    keep(table, WIDEST, rows=table.count_rows(), pending=True)
    with told(f"building index {kind} of table {table.name!r}"):
        table.create_index(COLUMN, config=_BUILDERS[kind](rules, table.count_rows()), replace=True)
        latest(table)


def index_filters(table: Table) -> None:
    """Bitmaps of the columns by which most searches are narrowed, once per table: half the time of such a search of 200,000 rows.

    None of the URI: a run's own diff asks by it, and must not depend on an index.
    """
    with told(f"indexing the filters of table {table.name!r}"):
        latest(table)
        there = {column for each in table.list_indices() for column in each.columns}
        for column in FILTERS:
            if column not in there:
                table.create_index(column, config=Bitmap())
        latest(table)


def drop(table: Table) -> None:
    """Take the vector index and its settings away: searches look at every row. Where there is neither, no version is made."""
    with told(f"dropping the index of table {table.name!r}"):
        dataset = latest(table)
        for index in table.list_indices():
            if index.columns == [COLUMN]:
                table.drop_index(index.name)
        if SETTINGS in dataset.config():
            latest(table).update_config({SETTINGS: None})
        latest(table)


def _rq(rules: IndexRules, rows: int) -> IvfRq:
    """RaBitQ (Gao and Long, "RaBitQ", SIGMOD 2024; of several bits: Gao et al., SIGMOD 2025)."""
    return IvfRq("cosine", rules.partitions(rows), num_bits=rules.bits, sample_rate=SAMPLE, max_iterations=ITERATIONS)


def _sq(rules: IndexRules, rows: int) -> IvfSq:
    """Eight bits for each number: half the size of the table's own vectors."""
    return IvfSq("cosine", rules.partitions(rows), sample_rate=SAMPLE, max_iterations=ITERATIONS)


_BUILDERS: dict[str, Callable[[IndexRules, int], IvfRq | IvfSq]] = {RQ: _rq, SQ: _sq}
_KINDS = {"IvfRq": RQ, "IvfSq": SQ}


def _kept(table: Table) -> dict[str, Any]:
    held = table.to_lance().config().get(SETTINGS)
    if held is None:
        return {}
    try:
        values = json.loads(held)
        return {**values, "nprobes": int(values["nprobes"]), "refine": int(values["refine"])}
    except (ValueError, KeyError, TypeError) as problem:
        raise TableError("not usable", f"table {table.name!r} says {held!r} under {SETTINGS!r}; run `sensorium maintain`") from problem
