"""A list of labels on this machine."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from retrieval.classify import labelled
from storage import row_files
from storage.objects import open_source


def read(path: Path, source: str | None = None) -> pl.DataFrame:
    """uri and label of a Parquet, CSV, TSV or JSONL file; relative URIs begin at `source`, by default at the folder of the file.

    Raises RowFileError if it cannot be read, QueryError if it lacks a column.
    """
    return labelled.read(row_files.read(path.expanduser(), "list of labels"), open_source(source or str(path.expanduser().parent)).root)
