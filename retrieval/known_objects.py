"""Objects of a table that are named by URI: what is in them, one vector for each, and under which other names the same content stands."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from lancedb.table import Table

from retrieval.filters import LISTED
from retrieval.means import means
from storage import batches
from storage.faults import told
from storage.replace import scan
from storage.table import literal


@dataclass(frozen=True)
class Known:
    """Those of some objects that a table holds.

    Parameters
    ----------
    objects : uri and content_hash, sorted by uri.
    vectors : float32 (objects, dimension), of unit length: the mean of each object's segments.
    """

    objects: pl.DataFrame
    vectors: np.ndarray

    @property
    def uris(self) -> list[str]:
        """In the order of `vectors`."""
        found: list[str] = self.objects.get_column("uri").to_list()
        return found

    @property
    def contents(self) -> list[str]:
        """The content of each, in the order of `vectors`."""
        found: list[str] = self.objects.get_column("content_hash").to_list()
        return found


def read(table: Table, uris: Collection[str]) -> Known:
    """What the table holds of some objects; others are left out."""
    frames, vectors = [pl.DataFrame(schema={"uri": pl.String, "content_hash": pl.String})], []
    with told(f"reading table {table.name!r}"):
        dataset = table.to_lance()
        dimension = dataset.schema.field("vector").type.list_size
        for condition in _among("uri", uris):
            for batch in scan(dataset, ["uri", "content_hash", "vector"], condition).to_batches():
                frames.append(pl.DataFrame(batch.select(["uri", "content_hash"])))
                vectors.append(batches.vectors(batch))
    rows = pl.concat(frames).with_row_index("row").sort("uri", "row")
    ordered = np.concatenate([np.empty((0, dimension), np.float16), *vectors])[rows.get_column("row").to_numpy()]
    owner = (rows.get_column("uri").rank("dense").cast(pl.Int64) - 1).to_numpy()
    return Known(rows.group_by("uri", maintain_order=True).agg(pl.col("content_hash").first()), means(ordered, owner))


def with_contents(table: Table, hashes: Collection[str]) -> list[str]:
    """URIs of all objects whose content is one of some, sorted."""
    found: set[str] = set()
    with told(f"reading table {table.name!r}"):
        dataset = table.to_lance()
        for condition in _among("content_hash", hashes):
            for batch in scan(dataset, ["uri"], f"segment = 0 AND {condition}").to_batches():
                found.update(batch.column("uri").to_pylist())
    return sorted(found)


def contents(table: Table) -> pl.DataFrame:
    """uri and content_hash of every object, in order of uri."""
    with told(f"reading table {table.name!r}"):
        held = pl.DataFrame(scan(table.to_lance(), ["uri", "content_hash"], "segment = 0").to_table())
    return held.sort("uri")


def _among(column: str, values: Iterable[str]) -> Iterator[str]:
    """Conditions that together hold for some values of a column, none of them too long for the engine."""
    ordered = sorted(set(values))
    for first in range(0, len(ordered), LISTED):
        yield f"{column} IN ({', '.join(map(literal, ordered[first : first + LISTED]))})"
