"""All vectors of a published table, object by object: what a query is compared with, without holding them in memory."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass

import numpy as np
import polars as pl
from lancedb.table import Table

from storage import batches
from storage.faults import told
from storage.replace import scan

NAMED = ("uri", "segment", "medium", "content_hash")
_MOVED = 8192  # rows put into their order at once


@dataclass(frozen=True)
class Candidates:
    """The objects of a table.

    Parameters
    ----------
    objects : uri, medium, content_hash, first (row of `vectors`) and rows, one line an object, sorted by medium and uri.
    vectors : float16 (rows, dimension), the rows of each object side by side; mapped from a file that is gone when they are.
    """

    objects: pl.DataFrame
    vectors: np.ndarray

    def of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of some objects and the owner of each: its place in `chosen`, int64 (rows,).

        `chosen` are ascending places in `objects`; where they follow one another, nothing is copied.
        """
        firsts = self.objects.get_column("first").to_numpy()[chosen]
        counts = self.objects.get_column("rows").to_numpy()[chosen]
        owner = np.repeat(np.arange(len(chosen)), counts)
        if len(chosen) and firsts[-1] + counts[-1] - firsts[0] == counts.sum():
            return self.vectors[firsts[0] : firsts[0] + counts.sum()], owner
        starts = np.cumsum(counts) - counts
        rows = np.repeat(firsts - starts, counts) + np.arange(counts.sum())
        return self.vectors[rows], owner

    def rows_of(self, place: int) -> np.ndarray:
        """Vectors of one object, float32 (segments, dimension)."""
        first, rows = self.objects.select("first", "rows").row(place)
        vectors: np.ndarray = self.vectors[first : first + rows].astype(np.float32)
        return vectors


def read(table: Table, condition: str = "") -> Candidates:
    """Every row of the version at which `table` stands, or those for which an SQL condition holds, such as `retrieval.filters` gives.

    Takes about 1 kB of memory a row, and twice the vectors' size on disk.
    """
    with told(f"reading table {table.name!r}"):
        dataset = table.to_lance()
        dimension = dataset.schema.field("vector").type.list_size
        vectors = _mapped(dataset.count_rows(condition or None), dimension)
        parts, at = [], 0
        for batch in scan(dataset, [*NAMED, "vector"], condition or None).to_batches():
            vectors[at : at + len(batch)] = batches.vectors(batch)
            parts.append(pl.DataFrame(batch.select(list(NAMED))))
            at += len(batch)
    empty = pl.DataFrame(schema={"uri": pl.String, "segment": pl.Int32, "medium": pl.String, "content_hash": pl.String})
    names = pl.concat([empty, *parts]).with_row_index("row").sort("medium", "uri", "segment")
    return Candidates(_objects(names), _ordered(vectors, names.get_column("row").to_numpy()))


def _objects(names: pl.DataFrame) -> pl.DataFrame:
    objects = names.group_by("medium", "uri", maintain_order=True).agg(pl.col("content_hash").first(), rows=pl.len().cast(pl.Int64))
    return objects.with_columns(first=pl.col("rows").cum_sum() - pl.col("rows"))


def _ordered(vectors: np.ndarray, order: np.ndarray) -> np.ndarray:
    if (order[1:] > order[:-1]).all():
        return vectors
    moved = _mapped(*vectors.shape)
    for low in range(0, len(order), _MOVED):
        moved[low : low + _MOVED] = vectors[order[low : low + _MOVED]]
    return moved


def _mapped(rows: int, dimension: int) -> np.ndarray:
    """An array in a nameless file, of which the system keeps in memory what fits."""
    if not rows:
        return np.empty((0, dimension), np.float16)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float16, "w+", shape=(rows, dimension))
