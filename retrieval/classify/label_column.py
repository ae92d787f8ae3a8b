"""Labels as columns of the table they are of, where any query or join can use them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pyarrow as pa
from lancedb.table import Table

from retrieval.errors import QueryError
from storage import columns
from storage.lock import sole_writer
from storage.table import connect, open_table

MAKER = "classify"


def refuse(table: Table, column: str) -> None:
    """TableError if labels cannot be written into this column: to be asked before any work."""
    columns.refuse_names(table.schema, _fields(column), MAKER)


def write(database: str, name: str, labels: pl.DataFrame, column: str) -> dict[str, Any]:
    """Write labels and probabilities into columns `column` and `column`_probability of a table, as its one writer.

    Parameters
    ----------
    labels : uri, content_hash, label, probability; objects that are not among them keep what they have.

    Returns
    -------
    JSON values: the column's name, and what `storage.columns.Written` tells.

    Raises
    ------
    TableError : another run is writing the table, or the column is not for us to write.
    """
    label, probability = (field.name for field in _fields(column))
    values = labels.select("uri", "content_hash", pl.col("label").alias(label), pl.col("probability").alias(probability))
    with sole_writer(database, name):
        table = open_table(connect(database, must_exist=True), name)
        if table is None:
            raise QueryError(f"table {name!r} of {database} has vanished meanwhile; embed it again")
        return {"name": column, **columns.write(table, values, MAKER)._asdict()}


def _fields(column: str) -> list[pa.Field]:
    return [pa.field(column, pa.string()), pa.field(f"{column}_probability", pa.float32())]
