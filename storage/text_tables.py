"""Texts that live in tables: the rows of a JSONL, CSV, TSV or Parquet file, read as a stream, each one good or with the reason why not.

A fault of one row is that row's own; a fault after which nobody can say where rows begin and end (a broken quote in CSV, a Parquet file
cut short, a column that is not there) is the file's: ObjectError.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from storage.errors import ObjectError

LINE = 64 << 20  # bytes of one line of JSON, characters of one field of CSV: beyond that, a file is not what it is named
LONGEST_ID = 512
SHOWN = 20  # columns that an error lists
AT_ONCE = 1024  # rows of a Parquet file in memory at once, with the chosen columns only
_MISSING = object()

_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "Zstandard", b"PK\x03\x04": "a zip archive"}
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


@dataclass(frozen=True)
class RowLimits:
    """How much a table file may hold: rows in all, characters of one row's text with its caption, bytes of all of them."""

    rows: int = 10_000_000
    characters: int = 1_000_000
    bytes: int = 4 << 30


class Row(NamedTuple):
    """One row of a table file.

    Parameters
    ----------
    key : what stands behind the "#" of its URI: its id, percent-encoded, or its number from 0; "@" and its number if it has no usable id.
    content : what is embedded, in UTF-8; of a bad row, what tells one fault from another.
    reason, error : why it cannot be embedded; "" for a good row.
    """

    key: str
    content: bytes
    reason: str = ""
    error: str = ""


class _Cells(NamedTuple):
    """A row as its format gives it, before anybody judged it."""

    text: object = _MISSING
    id: object = _MISSING
    caption: object = _MISSING
    reason: str = ""
    error: str = ""


class _RowError(Exception):
    """A row cannot be embedded: reason, error."""


def text_table_rows(path: Path, kind: str, columns: Columns, limits: RowLimits) -> Iterator[Row]:
    """The rows of a table file in order, a few at a time in memory.

    Parameters
    ----------
    kind : "jsonl", "csv", "tsv" or "parquet".

    Raises
    ------
    ObjectError
        "empty" for a file without rows; "no column"; "too many rows"; "too many bytes"; "not UTF-8" for UTF-16; "compressed"; "corrupt"; or
        the reason of the first row, if not one row is good. Also after some rows were given, which are then void.
    """
    _refuse_disguise(path, kind)
    names = columns.named()
    absent = dict(names)
    rows = size = good = parsed = 0
    first: Row | None = None
    for number, cells in enumerate(_READERS[kind](path, columns, limits)):
        parsed += not cells.reason
        for role in [role for role in absent if getattr(cells, role) is not _MISSING]:
            del absent[role]
        row = _judged(number, cells, columns, limits)
        rows, size, good = rows + 1, size + len(row.content), good + (not row.reason)
        first = first or row
        if rows > limits.rows:
            raise _too_many_rows(f"more than {limits.rows:,}", limits)
        if size > limits.bytes:
            raise ObjectError(
                "too many bytes", f"its texts have more than {limits.bytes:,} bytes (limits.bytes); raise the limit or split it"
            )
        yield row
    if first is None:
        raise ObjectError("empty", "the table holds no row; fill it, or remove it")
    if parsed:
        _refuse_missing(absent, "no row has it")
    if not good:
        raise ObjectError(first.reason, f"not one of its {rows:,} rows can be embedded; the first is {first.error}")


def _judged(number: int, cells: _Cells, columns: Columns, limits: RowLimits) -> Row:
    """The row, with what it is called and whether it can be embedded."""
    key = f"@{number}" if columns.id else str(number)
    try:
        if cells.reason:
            raise _RowError(cells.reason, cells.error)
        if columns.id:
            key = _key(cells.id)
        return Row(key, _content(cells, columns, limits))
    except _RowError as fault:
        reason, error = fault.args
        told = f"row {number}: {error}"
        return Row(key, f"{reason}\0{error}".encode("utf-8", "replace"), reason, told)


def _key(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise _RowError("bad id", f"its id is {_shown(value)}; ids are strings or integers")
    text = str(value)
    if len(text) > LONGEST_ID:
        raise _RowError("bad id", f"its id has {len(text):,} characters, allowed are {LONGEST_ID}")
    return re.sub(r"[^\w~-]", lambda m: "".join(f"%{byte:02X}" for byte in m[0].encode("utf-8", "surrogatepass")), text)


def _content(cells: _Cells, columns: Columns, limits: RowLimits) -> bytes:
    text = _text(cells.text, columns.text)
    if not text or text.isspace():
        raise _RowError("empty", f"column {columns.text!r} is {_shown(cells.text)}; fill it, or remove the row")
    caption = _text(cells.caption, columns.caption)
    if caption and not caption.isspace():
        text = f"{caption}\n{text}"
    if len(text) > limits.characters:
        raise _RowError("too many characters", f"it has {len(text):,}, allowed are {limits.characters:,} (limits.row_characters)")
    return text.encode()


def _text(value: object, name: str) -> str:
    if value is None or value is _MISSING:
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str):
        raise _RowError("not a string", f"column {name!r} is {_shown(value)}; only strings are embedded")
    if value.isascii() or not re.search("[\ud800-\udfff]", value):
        return value
    if re.search("[\udc80-\udcff]", value) and not re.search("[\ud800-\udbff]", value):
        raise _RowError("not UTF-8", f"column {name!r} holds bytes that are not UTF-8; convert the file, for example with iconv")
    return re.sub("[\ud800-\udfff]", "\ufffd", value)  # half a character: JSON can write it, nothing can hold it


def _shown(value: object) -> str:
    if value is _MISSING or value is None:
        return "missing" if value is _MISSING else "null"
    words = repr(value)
    return f"{words if len(words) <= 60 else words[:59] + '…'} ({type(value).__name__})"


def _jsonl(path: Path, columns: Columns, limits: RowLimits) -> Iterator[_Cells]:
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        while line := file.readline(LINE):
            if len(line) == LINE and not line.endswith(b"\n"):
                _skip_line(file)
                yield _Cells(reason="too many bytes", error=f"its line has more than {LINE:,} bytes")
            elif not line.isspace():
                yield _json_cells(line, columns)


def _json_cells(line: bytes, columns: Columns) -> _Cells:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError as problem:
        return _Cells(reason="not UTF-8", error=f"its line is not UTF-8 at byte {problem.start}; convert the file, for example with iconv")
    except (ValueError, RecursionError) as problem:
        return _Cells(reason="not JSON", error=f"its line is not JSON ({problem}); a table has one object {{…}} a line")
    if not isinstance(value, dict):
        return _Cells(reason="not JSON", error=f"its line is {_shown(value)}; a table has one object {{…}} a line")
    return _Cells(**{role: value.get(name, _MISSING) for role, name in columns.named().items()})


def _skip_line(file: BinaryIO) -> None:
    while (part := file.readline(1 << 20)) and not part.endswith(b"\n"):
        pass


def _csv(path: Path, columns: Columns, limits: RowLimits, delimiter: str = ",") -> Iterator[_Cells]:
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
                    yield _Cells(**{role: fields[place] for role, place in places.items()})
                else:
                    error = f"it has {len(fields)} fields, the header {len(header)}; quote fields that hold the delimiter"
                    yield _Cells(reason="ragged row", error=error)


def _tsv(path: Path, columns: Columns, limits: RowLimits) -> Iterator[_Cells]:
    return _csv(path, columns, limits, "\t")


def _parquet(path: Path, columns: Columns, limits: RowLimits) -> Iterator[_Cells]:
    import pyarrow.parquet as pq

    with _explained(), pq.ParquetFile(path, memory_map=False, pre_buffer=False) as file:
        places = _places(columns, file.schema_arrow.names)
        if file.metadata.num_rows > limits.rows:
            raise _too_many_rows(f"{file.metadata.num_rows:,}", limits)
        names = columns.named()
        for batch in file.iter_batches(AT_ONCE, columns=list(dict.fromkeys(names.values())), use_threads=False):
            values = {role: _values(batch.column(batch.schema.names.index(name))) for role, name in names.items()}
            for row in range(batch.num_rows if places else 0):
                yield _Cells(**{role: column[row] for role, column in values.items()})


def _values(column: pa.Array) -> list[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:  # strings that are not UTF-8: one row's fault, not the column's
        return list(column.cast(pa.large_binary()).to_pylist())


_READERS: Mapping[str, Callable[[Path, Columns, RowLimits], Iterator[_Cells]]] = {
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
    _refuse_missing({role: name for role, name in columns.named().items() if name not in header}, _listed(header))
    return {role: header.index(name) for role, name in columns.named().items()}


def _listed(header: list[str]) -> str:
    more = f" and {len(header) - SHOWN} more" if len(header) > SHOWN else ""
    return f"it has {', '.join(name[:40] for name in header[:SHOWN])}{more}"


def _refuse_missing(absent: Mapping[str, str], there: str) -> None:
    for role, name in absent.items():
        raise ObjectError("no column", f"the table has no column {name!r} (tables.{role}): {there}; name one that it has, or remove it")


def _refuse_disguise(path: Path, kind: str) -> None:
    with path.open("rb") as file:
        head = file.read(8)
    if not head:
        raise ObjectError("empty", "the table has no bytes; write it again, or remove it")
    packed = next((name for mark, name in _COMPRESSED.items() if head.startswith(mark)), None)
    if packed:
        raise ObjectError("compressed", f"its content is {packed}; decompress it, or write it as Parquet")
    if kind != "parquet" and head.startswith(_WIDE):
        raise ObjectError("not UTF-8", "its content is UTF-16 or UTF-32; convert it to UTF-8, for example with iconv")


def _too_many_rows(came: str, limits: RowLimits) -> ObjectError:
    return ObjectError("too many rows", f"it has {came} rows, allowed are {limits.rows:,} (limits.rows); raise the limit or split it")
