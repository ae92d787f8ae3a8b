"""A table of interactions on this machine, and recommendations written beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from retrieval.errors import QueryError
from retrieval.recommend.interactions import Interactions, read
from storage.objects import open_source
from tasks.pairs import read_rows, resolver

WRITERS: Mapping[str, Callable[[pl.DataFrame, Path], object]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".csv": lambda frame, path: frame.write_csv(path),
    ".jsonl": lambda frame, path: frame.write_ndjson(path),
}


def open_interactions(path: Path, source: str = "", neutral: float = 0.0) -> Interactions:
    """The interactions of a Parquet, CSV, TSV or JSONL file.

    Parameters
    ----------
    source : where relative URIs begin; "" is the folder of the file.
    neutral : see `retrieval.recommend.interactions.read`.

    Raises PairsError, SourceError or QueryError.
    """
    table = read_rows(path, "table of interactions")
    return read(table, resolver(open_source(source or str(path.parent)).root), neutral)


def writer(path: Path) -> Callable[[pl.DataFrame], None]:
    """What writes a table to a file that appears when it is whole; QueryError, before any work, if it cannot."""
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise QueryError(f"recommendations cannot be written as {path.name!r}; its name must end with {', '.join(WRITERS)}")
    if not path.parent.is_dir():
        raise QueryError(f"there is no folder {str(path.parent)!r} for {path.name!r}; make it first")

    def whole(frame: pl.DataFrame) -> None:
        part = path.with_name(path.name + ".part")
        try:
            write(frame, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    return whole
