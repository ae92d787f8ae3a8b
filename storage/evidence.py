"""What rows say of themselves in a few bytes each, to compare half a million that were sent with half a million that are there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

DIGEST = "digest"


class Evidence:
    """Reads rows of some keys as narrow frames: the identity's columns and a 64-bit digest of everything that is compared.

    Parameters
    ----------
    keys : values of the first `identity` column, each held once however many rows repeat it.
    schema : the rows'.
    identity : the columns that together identify a row, the key first.
    also : further columns that the digest covers.

    Attributes
    ----------
    strangers : keys that rows had although they were not named.
    """

    def __init__(self, keys: Sequence[str], schema: pa.Schema, identity: Sequence[str], also: Sequence[str]) -> None:
        self.columns = [*identity, *also]
        self.identity = list(identity)
        self.strangers: set[str] = set()
        self._schema = pa.schema([schema.field(name) for name in self.columns])
        self._named = pa.array(dict.fromkeys(keys), pa.string())
        self._category = pl.Enum(self._named.to_pylist())

    def named(self, batch: pa.RecordBatch) -> pa.Array:
        """Which rows of a batch belong to the keys: bool (n,)."""
        return pc.is_in(batch[self.identity[0]], value_set=self._named)

    def of(self, batches: Iterable[pa.RecordBatch]) -> pl.DataFrame:
        """The frame of some batches: key (a category; null for a stranger), the rest of the identity, digest."""
        empty = pa.RecordBatch.from_pylist([], self._schema)
        return pl.concat(self._frame(batch) for batch in (empty, *batches))

    def doubles(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Rows that share their identity with one before them."""
        # Hashes find the few candidates: a table of all identities would take a hundred bytes a row.
        hashes = frame.select(self.identity).hash_rows()
        ordered = hashes.sort()
        repeated = ordered.filter(ordered == ordered.shift()).unique()
        candidates = frame.select(self.identity).filter(hashes.is_in(repeated.implode()))
        return candidates.filter(~pl.struct(self.identity).is_first_distinct())

    def _frame(self, batch: pa.RecordBatch) -> pl.DataFrame:
        narrow = pa.Table.from_batches([batch.select(self.columns)])
        rows = pl.DataFrame(narrow.take(np.arange(narrow.num_rows)))  # a copy: a slice would keep the vectors of the batch alive
        key = self.identity[0]
        keys = rows[key].cast(self._category, strict=False)
        self.strangers.update(rows[key].filter(keys.is_null()))
        return rows.select(keys, *self.identity[1:], rows.hash_rows().alias(DIGEST))


def same(one: pl.DataFrame, other: pl.DataFrame) -> bool:
    """Whether two frames of evidence tell of the same rows, in any order."""
    return one.height == other.height and one[DIGEST].sort().equals(other[DIGEST].sort())
