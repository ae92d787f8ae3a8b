"""What is clustered, put on a map, compared and exported: the objects of a table, each by one vector, or their segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from lancedb.table import Table

from retrieval import candidates
from retrieval.errors import QueryError
from retrieval.filters import EVERYTHING, Filter
from retrieval.means import means
from storage.faults import told
from storage.replace import scan

COLUMNS = ("uri", "segment", "medium", "modality", "start", "end", "text", "content_hash", "size")


@dataclass(frozen=True)
class Units:
    """Objects or segments, one line each, in order of medium, uri and segment.

    Parameters
    ----------
    told : uri, segment, medium, modality, start, end, text, content_hash, size. Of objects: segment counts the segments that were read,
        modality names all of theirs ("audio+image"), start is their first and end their last, text joins theirs by line ends.
    vectors : float32 (n, dimension), of unit length; of an object the mean of its segments.
    segments : whether these are segments.
    """

    told: pl.DataFrame
    vectors: np.ndarray
    segments: bool = False

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def noun(self) -> str:
        """What they are called."""
        return "segments" if self.segments else "objects"

    @property
    def contents(self) -> list[str]:
        """The content of each: of a segment its object's, with its number."""
        hashes = self.column("content_hash")
        if not self.segments:
            return hashes
        return [f"{content}/{segment}" for content, segment in zip(hashes, self.told.get_column("segment").to_list(), strict=True)]

    def column(self, name: str) -> list[str]:
        """One column of texts; "" where it is null."""
        values: list[str] = self.told.get_column(name).fill_null("").to_list()
        return values


def read(table: Table, keep: Filter = EVERYTHING, *, segments: bool = False) -> Units:
    """The objects of a table, or their segments, for which conditions hold. Takes 4 bytes of memory for each number of their vectors.

    Raises
    ------
    QueryError : there are none.
    """
    held = candidates.read(table, keep.rest.sql())
    rows = _rows(table, keep.rest.sql())
    left = np.flatnonzero(keep.held(rows.get_column("uri")).to_numpy())
    if not len(left):
        raise QueryError(f"table {table.name!r} holds no objects for which these conditions hold; ask with fewer")
    rows = rows[left]
    vectors = held.vectors if len(left) == len(held.vectors) else held.vectors[left]
    if segments:
        return Units(rows, means(vectors, np.arange(len(rows))), segments=True)  # float16 has moved their lengths a little
    owner = rows.select(pl.struct("medium", "uri").rle_id()).to_series().to_numpy()
    return Units(_objects(rows), means(vectors, owner))


def _rows(table: Table, condition: str) -> pl.DataFrame:
    """In the order of `candidates.read`."""
    with told(f"reading table {table.name!r}"):
        read = scan(table.to_lance(), COLUMNS, condition or None).to_table()
    return pl.DataFrame(read).sort("medium", "uri", "segment")


def _objects(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.group_by("medium", "uri", maintain_order=True)
        .agg(
            pl.len().cast(pl.Int32).alias("segment"),
            pl.col("modality").unique().sort().str.join("+"),
            pl.col("start").min(),
            pl.col("end").max(),
            pl.when(pl.col("text").is_not_null().any()).then(pl.col("text").drop_nulls().str.join("\n")),
            pl.col("content_hash").first(),
            pl.col("size").first(),
        )
        .select(COLUMNS)
    )
