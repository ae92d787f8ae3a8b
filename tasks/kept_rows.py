"""Contents of the rows that a run has read from table files, in its scratch folder: found by a number that the listing carries."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import polars as pl

from tasks.segments import Failure

FEW = 3
MOST_ROWS_FIT = 16_384  # bytes, read at once
GOOD, BAD, DOUBLE = range(3)
_OFFSET = 40  # bits that say where in a file of contents: up to a terabyte


class KeptRow(NamedTuple):
    """A row's content in UTF-8, or why it cannot be embedded."""

    content: bytes
    reason: str = ""
    error: str = ""


@dataclass
class KeptRows:
    """What the table files of a source gave.

    Parameters
    ----------
    contents : files that `tasks.read_table` wrote.
    failed : table files that could not be read, by URI.
    read, gone : what `storage.tables_read.record` is told when the run is over.
    """

    contents: list[Path] = field(default_factory=list)
    failed: dict[str, Failure] = field(default_factory=dict)
    read: pl.DataFrame = field(default_factory=pl.DataFrame)
    gone: Sequence[str] = ()

    def row(self, place: int) -> KeptRow:
        """The row at a place of the listing; callable from many threads at once."""
        kind, place = place & 3, place >> 2
        number, offset = place >> _OFFSET, place & ((1 << _OFFSET) - 1)
        content = _read(self.contents[number], offset)
        if kind == DOUBLE:
            return KeptRow(b"", "duplicate id", "a row before it has the same id; give every row an id of its own")
        return KeptRow(b"", *content.decode().split("\0", 1)) if kind == BAD else KeptRow(content)


def _read(path: Path, offset: int) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        head = os.pread(file, MOST_ROWS_FIT, offset)
        length = int.from_bytes(head[:4], "little")
        content = head[4 : 4 + length]
        while len(content) < length and (more := os.pread(file, length - len(content), offset + 4 + len(content))):
            content += more
    finally:
        os.close(file)
    if len(content) < length:
        raise OSError(f"{path} ends within a row; was the scratch folder cleared while the run was at work?")
    return content


def unreadable(rows: KeptRows) -> str:
    """A sentence on the table files that could not be read, or "" if there are none."""
    told = [f"{uri} ({failure.reason})" for uri, failure in rows.failed.items()]
    more = f" and {len(told) - FEW} more" if len(told) > FEW else ""
    return f"Table files that could not be read: {', '.join(told[:FEW])}{more}. " if told else ""


def place(number: int) -> pl.Expr:
    """Where rows stand: number of the file of contents, offset in it, kind; one int64 each, from the columns offset and kind."""
    return ((pl.lit(number << _OFFSET, pl.Int64) + pl.col("offset")) * 4 + pl.col("kind")).alias("place")
