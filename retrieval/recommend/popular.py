"""What most users like: what is offered to somebody of whom nothing is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from retrieval import known_objects
from retrieval.errors import QueryError
from retrieval.filters import Filter
from retrieval.query import COLUMNS, Hit, Searcher
from retrieval.recommend.interactions import Interactions, match, opinions, popularity
from storage.faults import told
from storage.replace import scan


def most_liked(
    searcher: Searcher, interactions: Interactions, keep: Filter, limit: int, half_life: float | None = None
) -> list[tuple[Hit, int]]:
    """The objects that most users like, by their first segment, and how many do; each content once, of what `keep` leaves.

    Raises
    ------
    QueryError : nobody likes anything that the table holds.
    """
    held = known_objects.contents(searcher.table)
    numbered = held.select(item="uri", content=pl.col("content_hash").rank("dense").cast(pl.Int64))
    liked = popularity(opinions(match(interactions, numbered).frame, half_life))
    if liked.is_empty():
        raise QueryError("nobody likes anything that the table holds, so nothing is popular; give items as `sensorium search` prints URIs")
    ranked = numbered.join(liked, on="content", maintain_order="right_left").select("item", "content", "likes")
    found: dict[int, tuple[Hit, int]] = {}
    for part in ranked.iter_slices(max(100, 2 * limit)):
        hits = _first_segments(searcher, replace(keep, uris=_also(keep, part.get_column("item").to_list())))
        for uri, content, likes in part.iter_rows():
            if uri in hits:
                found.setdefault(content, (hits[uri], likes))
        if len(found) >= limit:
            break
    return list(found.values())[:limit]


def _also(keep: Filter, uris: Sequence[str]) -> frozenset[str]:
    return frozenset(uris) if keep.uris is None else keep.uris.intersection(uris)


def _first_segments(searcher: Searcher, keep: Filter) -> dict[str, Hit]:
    """The first segment, of those that `keep` leaves, of each object."""
    with told(f"reading table {searcher.table.name!r}"):
        rows = pl.DataFrame(scan(searcher.table.to_lance(), COLUMNS, keep.sql()).to_table()).sort("uri", "segment")
    first = rows.unique("uri", keep="first", maintain_order=True)
    return {row["uri"]: Hit(**row, score=0.0) for row in first.iter_rows(named=True)}
