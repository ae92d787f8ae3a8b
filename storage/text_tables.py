"""Texts that live in tables: the rows of a JSONL, CSV, TSV or Parquet file, read as a stream, each one good or with the reason why not.

A fault of one row is that row's own; a fault after which nobody can say where rows begin and end (a broken quote in CSV, a Parquet file
cut short, a column that is not there) is the file's: ObjectError.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from storage.errors import ObjectError
from storage.table_formats import MISSING, READERS, Cells, Columns, refuse_disguise, refuse_missing, too_many_rows

__all__ = ["Columns", "Row", "RowLimits", "text_table_rows"]

LONGEST_ID = 512


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
    refuse_disguise(path, kind)
    names = columns.named()
    absent = dict(names)
    rows = size = good = parsed = 0
    first: Row | None = None
    for number, cells in enumerate(READERS[kind](path, columns, limits.rows)):
        parsed += not cells.reason
        for role in [role for role in absent if getattr(cells, role) is not MISSING]:
            del absent[role]
        row = _judged(number, cells, columns, limits)
        rows, size, good = rows + 1, size + len(row.content), good + (not row.reason)
        first = first or row
        if rows > limits.rows:
            raise too_many_rows(f"more than {limits.rows:,}", limits.rows)
        if size > limits.bytes:
            raise ObjectError(
                "too many bytes", f"its texts have more than {limits.bytes:,} bytes (limits.bytes); raise the limit or split it"
            )
        yield row
    if first is None:
        raise ObjectError("empty", "the table holds no row; fill it, or remove it")
    if parsed:
        refuse_missing(absent, "no row has it")
    if not good:
        raise ObjectError(first.reason, f"not one of its {rows:,} rows can be embedded; the first is {first.error}")


def _judged(number: int, cells: Cells, columns: Columns, limits: RowLimits) -> Row:
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


def _content(cells: Cells, columns: Columns, limits: RowLimits) -> bytes:
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
    if value is None or value is MISSING:
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
    if value is MISSING or value is None:
        return "missing" if value is MISSING else "null"
    return f"{reprlib.repr(value)} ({type(value).__name__})"
