"""Columns of one's own (price, author, licence …), joined to the table's objects by URI, and a condition on them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from retrieval.errors import QueryError
from retrieval.query import Searcher
from storage import row_files
from storage.faults import told
from storage.replace import scan as scan_table

URI = "uri"


def objects_where(path: Path, condition: str) -> frozenset[str]:
    """The objects for which a condition on their metadata holds; where it is unknown (null) it does not hold.

    Parameters
    ----------
    path : Parquet, CSV, TSV or JSONL with a column "uri", one line an object, and any others. URIs are those that `search` prints.
    condition : SQL over those columns, such as "price < 20 AND colour IN ('red', 'blue')", as Polars reads it. It sees this file alone.

    Raises
    ------
    RowFileError : the file is not there or cannot be read.
    QueryError : it has no column "uri"; the condition is no condition, or names a column that there is not.
    """
    lines = scan(path)
    wanted = _condition(lines, condition, path)
    try:
        held = lines.filter(wanted).select(pl.col(URI).cast(pl.String)).drop_nulls().unique().collect()
    except PolarsError as problem:
        raise QueryError(f"the condition {condition!r} cannot be asked of {path}: {_line(problem)}") from problem
    return frozenset(held.get_column(URI).to_list())


def number_held(searcher: Searcher, uris: frozenset[str]) -> int:
    """How many of some objects the table holds."""
    found: set[str] = set()
    with told(f"reading table {searcher.name!r}"):
        for batch in scan_table(searcher.table.to_lance(), [URI]).to_batches():
            found |= uris.intersection(batch[URI].to_pylist())
    return len(found)


def scan(path: Path) -> pl.LazyFrame:
    """The file, not yet read.

    Raises
    ------
    RowFileError : it is not there, of another kind, or cannot be read.
    QueryError : it has no column "uri".
    """
    lines = row_files.scan(path, "metadata file")
    columns = lines.collect_schema().names()
    if URI not in columns:
        raise QueryError(f"{path} has the columns {', '.join(columns)}; a column {URI!r} must say whose metadata a line holds")
    return lines


def _condition(lines: pl.LazyFrame, condition: str, path: Path) -> pl.Expr:
    schema = lines.collect_schema()
    try:
        wanted = pl.sql_expr(condition)
        unknown = sorted(set(wanted.meta.root_names()) - set(schema.names()))
    except PolarsError as problem:
        raise QueryError(
            f"{condition!r} is no condition: {_line(problem)}; write one such as \"price < 20 AND colour = 'red'\""
        ) from problem
    if unknown:
        raise QueryError(f"{path} has no column {', '.join(unknown)}; it has {', '.join(schema.names())}")
    try:
        kind = lines.select(wanted.alias("held")).collect_schema()["held"]
    except PolarsError as problem:
        raise QueryError(f"the condition {condition!r} cannot be asked of {path}: {_line(problem)}") from problem
    if kind != pl.Boolean:
        raise QueryError(f"{condition!r} is {kind} and not true or false; compare it with something")
    return wanted


def _line(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0][:200]
