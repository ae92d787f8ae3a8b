"""A table of interactions on this machine."""

from __future__ import annotations

from pathlib import Path

from retrieval.recommend.interactions import Interactions, read
from storage import row_files
from storage.objects import open_source
from tasks.pairs import resolver


def open_interactions(path: Path, source: str = "", neutral: float = 0.0) -> Interactions:
    """The interactions of a Parquet, CSV, TSV or JSONL file.

    Parameters
    ----------
    source : where relative URIs begin; "" is the folder of the file.
    neutral : see `retrieval.recommend.interactions.read`.

    Raises RowFileError, SourceError or QueryError.
    """
    table = row_files.read(path, "table of interactions")
    return read(table, resolver(open_source(source or str(path.parent)).root), neutral)
