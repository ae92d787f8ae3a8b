"""Lists of labels: read from a person's file, and written for the next program."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import polars as pl

from retrieval.classify import labelled
from retrieval.errors import QueryError
from storage.objects import open_source
from tasks.pairs import read_rows

WRITERS: dict[str, Callable[[pl.DataFrame, Path], None]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".csv": lambda frame, path: frame.write_csv(path),
    ".jsonl": lambda frame, path: frame.write_ndjson(path),
}


def read(path: Path, source: str | None = None) -> pl.DataFrame:
    """uri and label of a Parquet, CSV, TSV or JSONL file; relative URIs begin at `source`, by default at the folder of the file.

    Raises PairsError if it cannot be read, QueryError if it lacks a column.
    """
    return labelled.read(read_rows(path.expanduser(), "list of labels"), open_source(source or str(path.expanduser().parent)).root)


def writer(path: Path) -> Callable[[pl.DataFrame], None]:
    """Writes labels to a file, in the format that its name says; QueryError for any other, before there is work to lose."""
    write = WRITERS.get(path.suffix.lower())
    if write is None or not path.expanduser().absolute().parent.is_dir():
        raise QueryError(
            f"labels cannot be written to {str(path)!r}; name a file in a folder that exists, with {', '.join(WRITERS)} at its end"
        )
    return partial(_write, write=write, path=path.expanduser())


def _write(frame: pl.DataFrame, write: Callable[[pl.DataFrame, Path], None], path: Path) -> None:
    beside = path.with_name(f".{path.name}.new")
    write(frame.drop("content_hash"), beside)
    beside.replace(path)
