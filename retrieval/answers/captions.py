"""Words for what has none: captions of pictures, sounds and videos from a column of a metadata file."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from retrieval.errors import QueryError
from retrieval.search.metadata import URI, scan

Captions = Callable[[Collection[str]], Mapping[str, str]]
"""Words by URI, of some objects; those without a caption are not in it."""


def none(uris: Collection[str]) -> Mapping[str, str]:
    """No captions at all."""
    return {}


def captions(path: Path, column: str) -> Captions:
    """The captions in a column of a metadata file (`retrieval.search.metadata.scan`), read for the objects that are asked for.

    Where a URI stands in several lines, the first that is not empty counts.

    Raises
    ------
    QueryError : the file cannot be read, or has no such column.
    """
    lines = scan(path)
    if column not in (names := lines.collect_schema().names()):
        raise QueryError(f"{path} has no column {column!r} to take captions from; it has {', '.join(names)}")

    def of(uris: Collection[str]) -> Mapping[str, str]:
        wanted = pl.Series(sorted(uris), dtype=pl.String).implode()
        told = lines.select(pl.col(URI).cast(pl.String).alias(URI), pl.col(column).cast(pl.String).str.strip_chars().alias("caption"))
        try:
            found = told.filter(pl.col(URI).is_in(wanted), pl.col("caption").str.len_chars() > 0).unique(
                URI, keep="first", maintain_order=True
            )
            return dict(found.collect().iter_rows())
        except PolarsError as problem:
            raise QueryError(f"the captions of {path} cannot be read: {str(problem).strip().splitlines()[0][:200]}") from problem

    return of
