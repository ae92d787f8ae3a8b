"""JSONL, CSV, TSV and Parquet as streams of rows: of each only the columns that were asked for, unjudged."""

from __future__ import annotations

import csv
import json
import reprlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from storage.errors import ObjectError

LINE = 64 << 20  # bytes of one line of JSON, characters of one field of CSV: beyond that, a file is not what it is named
SHOWN = 20  # columns that an error lists
AT_ONCE = 1024  # rows of a Parquet file in memory at once, with the chosen columns only
MISSING = object()
"""Stands for a column that a row does not have."""

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"PK\x03\x04": "a zip archive",
    **{b"BZh%d1AY" % level: "bzip2" for level in range(1, 10)},
}
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table file mean what.

    Parameters
    ----------
    text : is embedded; strings.
    id : names the row for good; strings or integers. "" names rows by their number, from 0.
    caption : stands in front of the text, with a line feed between; strings, or null for none. "" for none at all.
    """

    text: str
    id: str = ""
    caption: str = ""

    def named(self) -> dict[str, str]:
        """Role and name of the columns to read."""
        return {role: name for role, name in asdict(self).items() if name}


class Cells(NamedTuple):
    """A row as its format gives it, before anybody judged it."""

    text: object = MISSING
    id: object = MISSING
    caption: object = MISSING
    reason: str = ""
    error: str = ""


def _jsonl(path: Path, columns: Columns, most_rows: int) -> Iterator[Cells]:
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        while line := file.readline(LINE):
            if len(line) == LINE and not line.endswith(b"\n"):
                _skip_line(file)
                yield Cells(reason="too many bytes", error=f"its line has more than {LINE:,} bytes")
            elif not line.isspace():
                yield _json_cells(line, columns)


def _json_cells(line: bytes, columns: Columns) -> Cells:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as problem:
        return Cells(reason="not UTF-8", error=f"its line is not UTF-8 at byte {problem.start}; convert the file, for example with iconv")
    except (ValueError, RecursionError) as problem:
        return Cells(reason="not JSON", error=f"its line is not JSON ({problem}); a table has one object {{…}} a line")
    if not isinstance(value, dict):
        return Cells(reason="not JSON", error=f"its line is {reprlib.repr(value)}; a table has one object {{…}} a line")
    return Cells(**{role: value.get(name, MISSING) for role, name in columns.named().items()})


def _skip_line(file: BinaryIO) -> None:
    while (part := file.readline(1 << 20)) and not part.endswith(b"\n"):
        pass


def _csv(path: Path, columns: Columns, most_rows: int, delimiter: str = ",") -> Iterator[Cells]:
    csv.field_size_limit(min(LINE, sys.maxsize))
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        with _explained(lambda: f" near line {reader.line_num:,}"):
            header = next(filter(None, reader), None)
        if header is None:
            return
        places = _places(columns, header)
        with _explained(lambda: f" near line {reader.line_num:,}"):
            for fields in filter(None, reader):
                if len(fields) == len(header):
                    yield Cells(**{role: fields[place] for role, place in places.items()})
                else:
                    error = f"it has {len(fields)} fields, the header {len(header)}; quote fields that hold the delimiter"
                    yield Cells(reason="ragged row", error=error)


def _tsv(path: Path, columns: Columns, most_rows: int) -> Iterator[Cells]:
    return _csv(path, columns, most_rows, "\t")


def _parquet(path: Path, columns: Columns, most_rows: int) -> Iterator[Cells]:
    import pyarrow.parquet as pq

    with _explained(), pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        _places(columns, file.schema_arrow.names)
        if file.metadata.num_rows > most_rows:
            raise too_many_rows(f"{file.metadata.num_rows:,}", most_rows)
        names = columns.named()
        for batch in file.iter_batches(AT_ONCE, columns=list(dict.fromkeys(names.values())), use_threads=False):
            values = {role: _values(batch.column(batch.schema.names.index(name))) for role, name in names.items()}
            for row in range(batch.num_rows):
                yield Cells(**{role: column[row] for role, column in values.items()})


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:  # strings that are not UTF-8: one row's fault, not the column's
        return list(column.cast(pa.large_binary()).to_pylist())


READERS: Mapping[str, Callable[[Path, Columns, int], Iterator[Cells]]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": _tsv,
    "parquet": _parquet,
}


@contextmanager
def _explained(where: Callable[[], str] = lambda: "") -> Iterator[None]:
    try:
        yield
    except (csv.Error, pa.ArrowException, OSError) as problem:
        if isinstance(problem, MemoryError):
            raise
        raise ObjectError("corrupt", f"it cannot be read{where()}: {problem}; write it again"[:500]) from problem


def _places(columns: Columns, header: list[str]) -> dict[str, Any]:
    """Where each role's column is; the first of two with one name."""
    refuse_missing({role: name for role, name in columns.named().items() if name not in header}, _listed(header))
    return {role: header.index(name) for role, name in columns.named().items()}


def _listed(header: list[str]) -> str:
    more = f" and {len(header) - SHOWN} more" if len(header) > SHOWN else ""
    return f"it has {', '.join(name[:40] for name in header[:SHOWN])}{more}"


def refuse_missing(absent: Mapping[str, str], there: str) -> None:
    """Raise ObjectError "no column" if there is any: role and name of columns that a file lacks, and what it has instead."""
    for role, name in absent.items():
        raise ObjectError("no column", f"the table has no column {name!r} (tables.{role}): {there}; name one that it has, or remove it")


def refuse_disguise(path: Path, kind: str) -> None:
    """Raise ObjectError if the file is empty, compressed, or text in UTF-16 or UTF-32, whatever its name says."""
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise ObjectError("empty", "the table has no bytes; write it again, or remove it")
    packed = next((name for mark, name in _COMPRESSED.items() if head.startswith(mark)), None)
    if packed:
        raise ObjectError("compressed", f"its content is {packed}; decompress it, or write it as Parquet")
    if kind != "parquet" and head.startswith(_WIDE):
        raise ObjectError("not UTF-8", "its content is UTF-16 or UTF-32; convert it to UTF-8, for example with iconv")


def too_many_rows(came: str, most_rows: int) -> ObjectError:
    """The error of a file that has more rows than allowed."""
    return ObjectError("too many rows", f"it has {came} rows, allowed are {most_rows:,} (limits.rows); raise the limit or split it")
