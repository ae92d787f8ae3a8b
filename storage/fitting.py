"""What an answer must exceed to be one, in a table beside the vectors: one line for each modality asked with and each one found."""

from __future__ import annotations

import lancedb
import polars as pl
import pyarrow as pa

from storage.faults import told
from storage.schema import STAMP
from storage.table import literal, open_beside, open_table

FITTING = pa.schema(
    [
        pa.field("asked", pa.string(), nullable=False),
        pa.field("found", pa.string(), nullable=False),
        pa.field("generation", pa.string(), nullable=False),
        pa.field("background", pa.list_(pa.float32()), nullable=False),
        pa.field("centre", pa.list_(pa.float32()), nullable=False),
        pa.field("precision", pa.binary(), nullable=False),
        pa.field("threshold", pa.float64(), nullable=False),
        pa.field("wrong", pa.float64(), nullable=False),
        pa.field("kept", pa.float64()),
        pa.field("auc", pa.float64()),
        pa.field("auc_cosine", pa.float64()),
        pa.field("queries", pa.int64(), nullable=False),
        pa.field("version", pa.int64(), nullable=False),
        pa.field("calibrated", STAMP, nullable=False),
    ]
)


def table_name(name: str) -> str:
    """The table of what answers must exceed beside table `name`."""
    return f"{name}_fitting"


def load(db: lancedb.DBConnection, name: str, generation: str) -> pl.DataFrame:
    """The lines of a generation, in the columns of `FITTING`; none where nothing was calibrated."""
    table = open_table(db, table_name(name))
    if table is None:
        return pl.DataFrame(FITTING.empty_table())
    with told(f"reading what answers of table {name!r} must exceed"):
        return pl.DataFrame(table.to_lance().scanner(filter=f"generation = {literal(generation)}").to_table())


def save(db: lancedb.DBConnection, name: str, lines: pl.DataFrame) -> None:
    """Replace the lines of the same modalities and generation."""
    table = open_beside(db, table_name(name), FITTING)
    with told(f"writing what answers of table {name!r} must exceed"):
        rows = pa.Table.from_pylist(lines.to_dicts(), schema=FITTING)
        table.merge_insert(["asked", "found", "generation"]).when_matched_update_all().when_not_matched_insert_all().execute(rows)
