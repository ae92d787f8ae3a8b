"""The exact nearest rows of many queries in one pass over a table, in flat memory.

What the engine answers one query at a time: thousands of queries cost one reading of the table and one matrix product, and objects may be
chosen from lists of any length, which the engine reads slowly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.table import Table

from retrieval.filters import EVERYTHING, Filter
from storage import batches
from storage.faults import told

ROWS = 8_192  # read at once
SCORES = 1 << 22  # held at once: 16 MB
FIRST = 64  # rows in the first block; each following one is as long as all before it, so that few of its rows are better than what is held


def nearest(
    table: Table,
    queries: np.ndarray,
    query_of: np.ndarray,
    limit: int,
    columns: Sequence[str],
    *,
    keep: Filter = EVERYTHING,
    per_object: bool = False,
    only: np.ndarray | None = None,
) -> pl.DataFrame:
    """The rows nearest to each query, of all that a filter leaves.

    Parameters
    ----------
    queries : float32 (windows, d), of unit length.
    query_of : int64 (windows,), the query each belongs to: 0, 0, 1, 2, … that never fall and leave none out. A query of several windows
        scores each row by its best.
    limit : most rows of a query.
    columns : of the table, that are told of each row.
    keep : which rows are found at all.
    per_object : only the best row of each object.
    only : ids of rows, of which alone the answers are taken.

    Returns
    -------
    query, score (cosine similarity) and `columns`; sorted by query, the best first, then by uri and segment.
    """
    firsts = np.searchsorted(query_of, np.arange(query_of[-1] + 1)) if len(query_of) else np.zeros(0, np.int64)
    best = _Best(len(firsts), limit, per_object)
    with told(f"reading table {table.name!r}"):
        for uris, rows, vectors in _blocks(_batches(table, keep, only), keep, len(queries)) if len(firsts) else ():
            best.add(np.maximum.reduceat(queries @ vectors.T, firsts, axis=0), rows, uris)
        return _told(table, best, columns)


class _Best:
    """The best rows of each query so far, side by side."""

    def __init__(self, queries: int, limit: int, per_object: bool) -> None:
        self.limit, self.per_object = limit, per_object
        self.query, self.row, self.code = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.score = np.zeros(0, np.float32)
        self.floor = np.full(queries, -np.inf, np.float32)  # what a row must exceed to be among them
        self._codes: dict[str, int] = {}

    def add(self, scores: np.ndarray, rows: np.ndarray, uris: pl.Series) -> None:
        """Consider some rows: scores (queries, n), their ids int64 (n,) and their objects."""
        query, place = np.nonzero(scores > self.floor[:, None])
        if not len(query):
            return
        self.query, self.row = np.append(self.query, query), np.append(self.row, rows[place])
        self.code = np.append(self.code, self._coded(uris, place))
        self.score = np.append(self.score, scores[query, place])
        if self.per_object:
            order = np.lexsort((self.row, -self.score, self.code, self.query))
            self._take(order[_new(self.query[order]) | _new(self.code[order])])
        self._take(np.lexsort((self.row, -self.score, self.query)))
        firsts = np.searchsorted(self.query, np.arange(len(self.floor)))
        self._take(np.flatnonzero(np.arange(len(self.query)) - firsts[self.query] < self.limit))
        ends = np.searchsorted(self.query, np.arange(len(self.floor)), side="right")
        full = np.bincount(self.query, minlength=len(self.floor)) == self.limit
        self.floor[full] = self.score[ends[full] - 1]

    def _take(self, chosen: np.ndarray) -> None:
        self.query, self.row, self.code, self.score = self.query[chosen], self.row[chosen], self.code[chosen], self.score[chosen]

    def _coded(self, uris: pl.Series, places: np.ndarray) -> np.ndarray:
        """A number of each place's object, the same in every block."""
        unique, inverse = np.unique(places, return_inverse=True)
        return np.array([self._codes.setdefault(uris[int(place)], len(self._codes)) for place in unique], np.int64)[inverse]


def _new(values: np.ndarray) -> np.ndarray:
    """Where a sorted array's value differs from the one before."""
    return np.append([True], values[1:] != values[:-1])


def _batches(table: Table, keep: Filter, only: np.ndarray | None) -> Iterator[pa.RecordBatch]:
    """uri, vector and _rowid of the rows that the filter leaves, but for its long lists."""
    condition = (keep.rest if keep.long else keep).sql() or None
    dataset = table.to_lance()
    batches_read = dataset.scanner(
        columns=["uri", "vector"], filter=condition, with_row_id=True, batch_size=ROWS, batch_readahead=4, fragment_readahead=4
    ).to_batches()
    chosen = None if only is None else pa.array(only, pa.uint64())
    for batch in batches_read:
        yield batch if chosen is None else batch.filter(pc.is_in(batch["_rowid"], value_set=chosen))


def _blocks(read: Iterable[pa.RecordBatch], keep: Filter, queries: int) -> Iterator[tuple[pl.Series, np.ndarray, np.ndarray]]:
    """URIs, row ids int64 (n,) and unit vectors float32 (n, d) of the rows that the filter's lists leave, too."""
    seen, most = 0, max(1, SCORES // queries)
    for batch in read:
        uris = pl.Series("uri", batch["uri"], dtype=pl.String)
        left = keep.held(uris).to_numpy() if keep.long else np.ones(len(batch), bool)
        uris, rows, vectors = uris.filter(pl.Series(left)), batch["_rowid"].to_numpy().astype(np.int64)[left], batches.vectors(batch)[left]
        at = 0
        while at < len(rows):
            end = at + min(most, max(FIRST, seen))
            block = vectors[at:end].astype(np.float32)
            yield uris[at:end], rows[at:end], block / np.linalg.norm(block, axis=1, keepdims=True)
            seen, at = seen + len(block), end


def _told(table: Table, best: _Best, columns: Sequence[str]) -> pl.DataFrame:
    found = pl.DataFrame({"query": best.query, "score": best.score, "row": best.row})
    ids = found.get_column("row").unique()
    read = table.take_row_ids(ids.to_list()).select(list(columns)).with_row_id().to_arrow()
    rows = pl.DataFrame(read).rename({"_rowid": "row"}).with_columns(pl.col("row").cast(pl.Int64))
    order = {"query": False, "score": True, "uri": False, "segment": False}
    return found.join(rows, on="row").drop("row").sort([*order], descending=[*order.values()])
