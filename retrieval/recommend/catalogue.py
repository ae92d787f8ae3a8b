"""A table as a recommender sees it: contents, so that a copy is what it is a copy of, and what of them may be offered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from lancedb.table import Table

from retrieval import candidates
from retrieval.candidates import Candidates
from retrieval.filters import EVERYTHING, Filter
from retrieval.means import means
from storage.faults import told
from storage.replace import scan


@dataclass(frozen=True)
class Catalogue:
    """Contents, numbered from 0, and what is offered.

    Parameters
    ----------
    held : all objects of the table.
    numbers : int64 (objects held,), the content of each.
    offered : of each content that may be offered one object, with the segments that may be.
    contents : int64 (objects offered,), the content of each, every one once.
    """

    held: Candidates
    numbers: np.ndarray
    offered: Candidates
    contents: np.ndarray

    @property
    def items(self) -> pl.DataFrame:
        """item (a URI) and content of each object of the table, as `retrieval.recommend.interactions.match` takes them."""
        return self.held.objects.select(item="uri", content=pl.Series(self.numbers))

    @cached_property
    def places(self) -> np.ndarray:
        """Place among the offered objects of each content, -1 for one that is not offered: int64 (contents,)."""
        found = np.full(int(self.numbers.max(initial=-1)) + 1, -1)
        found[self.contents] = np.arange(len(self.contents))
        return found

    def vectors_of(self, contents: np.ndarray) -> np.ndarray:
        """One unit vector for each of some contents, ascending: float32 (contents, d), the mean of an object's segments."""
        first = np.full(int(self.numbers.max(initial=-1)) + 1, -1)
        first[self.numbers[::-1]] = np.arange(len(self.numbers))[::-1]
        places = first[contents]
        order = np.argsort(places)
        found = np.empty((len(contents), self.held.vectors.shape[1]), np.float32)
        found[order] = means(*self.held.of(places[order])) if len(contents) else found
        return found


def read(table: Table, keep: Filter = EVERYTHING) -> Catalogue:
    """The published objects of a table, and of them what `keep` leaves to be offered."""
    held = candidates.read(table)
    return of(held, None if keep == EVERYTHING else _passing(table, keep))


def of(held: Candidates, passing: pl.DataFrame | None = None) -> Catalogue:
    """A catalogue of some objects; `passing` names the segments that may be offered by uri and segment, all if it is `None`."""
    numbers = (held.objects.get_column("content_hash").rank("dense").cast(pl.Int64) - 1).to_numpy()
    firsts, counts = (held.objects.get_column(name).to_numpy() for name in ("first", "rows"))
    allowed = np.ones(len(held.vectors), bool) if passing is None else _allowed(held, passing)
    left = np.add.reduceat(allowed, firsts, dtype=np.int64) if len(firsts) else np.empty(0, np.int64)
    places = np.flatnonzero(left)
    places = np.sort(places[np.unique(numbers[places], return_index=True)[1]])  # the first object of each content
    chosen = np.zeros(len(held.vectors), bool)
    chosen[np.repeat(np.isin(np.arange(len(firsts)), places), counts)] = True
    rows = np.flatnonzero(chosen & allowed)
    objects = held.objects[places].with_columns(rows=pl.Series(left[places]))
    objects = objects.with_columns(first=pl.col("rows").cum_sum() - pl.col("rows"))
    vectors = held.vectors if len(rows) == len(held.vectors) else held.vectors[rows]
    return Catalogue(held, numbers, Candidates(objects, vectors), numbers[places])


def _passing(table: Table, keep: Filter) -> pl.DataFrame:
    with told(f"reading table {table.name!r}"):
        rows = pl.DataFrame(scan(table.to_lance(), ["uri", "segment"], keep.rest.sql() or None).to_table())
    return rows.filter(keep.held(rows.get_column("uri")))


def _allowed(held: Candidates, passing: pl.DataFrame) -> np.ndarray:
    """Which rows of the vectors pass; segments of an object are numbered from 0 and lie in this order."""
    rows = passing.join(held.objects.select("uri", "first"), on="uri").select(pl.col("first") + pl.col("segment")).to_series().to_numpy()
    allowed = np.zeros(len(held.vectors), bool)
    allowed[rows] = True
    return allowed
