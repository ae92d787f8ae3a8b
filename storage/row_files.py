"""Tables that people bring along or take away as files of their own: Parquet, CSV, TSV and JSON Lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import polars as pl

Rows = TypeVar("Rows")

_CSV = {".csv": ",", ".tsv": "\t"}
_JSON = (".jsonl", ".ndjson")
KINDS = (".parquet", *_CSV, *_JSON)

_WRITERS: Mapping[str, Callable[[pl.DataFrame, Path], object]] = {
    ".parquet": lambda frame, path: frame.write_parquet(path),
    ".csv": lambda frame, path: frame.write_csv(path),
    ".jsonl": lambda frame, path: frame.write_ndjson(path),
}


class RowFileError(ValueError):
    """A file that cannot be read or written; the message says of it what came, what is allowed, and what to do instead."""


def read(path: Path, what: str) -> pl.DataFrame:
    """All rows and columns of a file, those of CSV and TSV as texts.

    Parameters
    ----------
    what : a word or two for what the file should be, such as "list of pairs".

    Raises
    ------
    RowFileError : it is not there, of another kind by its name, or cannot be read.
    """
    return _read(path, what, lambda kind: _frame(path, kind))


def scan(path: Path, what: str) -> pl.LazyFrame:
    """The same, not read yet, and with the types that the first 10,000 rows of CSV, TSV and JSON Lines suggest."""

    def opened(kind: str) -> pl.LazyFrame:
        lines = _lines(path, kind)
        lines.collect_schema()  # here a file is first looked at
        return lines

    return _read(path, what, opened)


def writer(path: Path, what: str) -> Callable[[pl.DataFrame], None]:
    """What writes rows to a file, which appears when it is whole; RowFileError, before there is work to lose, if it cannot be written."""
    path = path.expanduser().absolute()
    write = _WRITERS.get(path.suffix.lower())
    if write is None or not path.parent.is_dir():
        raise RowFileError(
            f"{what} cannot be written to {str(path)!r}; name a file in a folder that exists, ending in {', '.join(_WRITERS)}"
        )

    def write_whole(frame: pl.DataFrame) -> None:
        with whole(path) as beside:
            write(frame, beside)

    return write_whole


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, which takes its name in the end, so that no half-written one bears it; removed after a failure."""
    beside = path.with_name(f".{path.name}.new")
    try:
        yield beside
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path, what: str, opened: Callable[[str], Rows]) -> Rows:
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise RowFileError(f"{path} is no {what} by its name; allowed are {', '.join(KINDS)}")
    if not path.is_file():
        raise RowFileError(f"there is no file {path}; give a {what}")
    try:
        return opened(kind)
    except (pl.exceptions.PolarsError, OSError, ValueError) as problem:
        told = str(problem).strip().partition("\n")[0][:300]
        raise RowFileError(f"{path} cannot be read as {kind[1:]}: {told or type(problem).__name__}; write it again, in UTF-8") from problem


def _frame(path: Path, kind: str) -> pl.DataFrame:
    if kind in _CSV:
        return pl.read_csv(path, infer_schema=False, separator=_CSV[kind], glob=False)
    return pl.read_ndjson(path, infer_schema_length=None) if kind in _JSON else pl.read_parquet(path, glob=False)


def _lines(path: Path, kind: str) -> pl.LazyFrame:
    if kind in _CSV:
        return pl.scan_csv(path, separator=_CSV[kind], infer_schema_length=10_000, try_parse_dates=True, glob=False)
    return pl.scan_ndjson(path, infer_schema_length=10_000) if kind in _JSON else pl.scan_parquet(path, glob=False)
