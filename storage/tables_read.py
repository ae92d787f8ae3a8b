"""Which table files were read, in a table beside the vectors: so that a file that is as it was, and whose rows are, is not fetched again.

It says what was read, never what is done: a file counts as read only while the rows that the vectors' table and its quarantine hold of it
have the digest that stands here. A run that was killed, rows that were lost and a table that was rolled back differ, and the file is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import lancedb
import polars as pl
import pyarrow as pa

from storage.faults import told
from storage.replace import replace, scan
from storage.schema import TABLES_READ
from storage.table import open_beside, open_table, under

READ = ("uri", "etag", "size", "modified", "columns", "rows", "digest")


def table_name(name: str) -> str:
    """The table of table files beside table `name`."""
    return f"{name}_tables"


def digest(rows: pl.DataFrame) -> str:
    """SHA-256 over uri and etag of a file's rows, in any order."""
    value = hashlib.sha256()
    for part in rows.select("uri", "etag").sort("uri").iter_slices(65_536):
        lines = part.select(pl.concat_str("uri", pl.col("etag").fill_null(""), separator="\t")).to_series()
        value.update(("\n".join(lines) + "\n").encode())
    return value.hexdigest()


def load(db: lancedb.DBConnection, name: str, root: str) -> pl.DataFrame:
    """The files of a source that were read, in the columns `READ`."""
    table = open_table(db, table_name(name))
    if table is None:
        return pl.DataFrame(pa.schema([TABLES_READ.field(column) for column in READ]).empty_table())
    with told(f"reading the table files of table {name!r}"):
        return pl.DataFrame(scan(table.to_lance(), READ, under(root)).to_table())


def record(db: lancedb.DBConnection, name: str, files: pl.DataFrame, gone: Sequence[str], run: str) -> None:
    """Remember files that were read (columns `READ`), and forget those in `gone`."""
    if files.is_empty() and not gone:
        return
    table = open_beside(db, table_name(name), TABLES_READ)
    keys = [*gone]
    rows = None
    if not files.is_empty():
        keys += files.get_column("uri").to_list()
        entries = files.with_columns(run=pl.lit(run), read_at=pl.lit(datetime.now(UTC)))
        arrow = entries.select(TABLES_READ.names).to_arrow().cast(TABLES_READ)
        rows = lambda: pa.RecordBatchReader.from_batches(TABLES_READ, arrow.to_batches())  # noqa: E731
    replace(table, keys, rows, identity=("uri",), also=("etag", "digest", "columns"))
