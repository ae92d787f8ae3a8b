"""What a worker process does with one table file: read its rows, and write them where the run finds them again.

A native parser may crash on a file, or take memory without end: so table files are read in the processes that decode media.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import pyarrow as pa

from storage.errors import ObjectError
from storage.text_tables import Columns, RowLimits, text_table_rows
from tasks.segments import Failure

AT_ONCE = 1024

INDEX = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("etag", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("bad", pa.bool_(), nullable=False),
    ]
)
"""Per row: what stands behind "#", bytes of its content, their SHA-256, where they stand in the file of contents, whether it is bad."""

_serial = count()


@dataclass(frozen=True)
class TableFile:
    """A table file on its way to a worker.

    Parameters
    ----------
    index : its place among the files that are read.
    kind : how it is read; see `tasks.row_names.kind_of`.
    path : a local file with its bytes.
    """

    index: int
    uri: str
    kind: str
    path: Path


@dataclass(frozen=True)
class ReadTable:
    """Where the rows of a table file are: an index, and their contents one behind the other, each with its length (4 bytes) in front.

    The content of a bad row is its reason, a NUL, and its error.
    """

    index: int
    rows: int
    index_path: Path
    contents_path: Path


@dataclass
class ReadTables:
    """The job of a worker for table files."""

    columns: Columns
    limits: RowLimits
    folder: Path

    def open(self) -> None:
        """Import what Parquet needs; its time and memory are not charged to a file."""
        import pyarrow.parquet  # noqa: F401

        pa.array([""])  # where pandas is installed, Arrow imports it at the first array

    def __call__(self, item: TableFile, alive: Callable[[], None]) -> ReadTable | Failure:
        """Read one file; whatever its bytes do in Python ends in a `Failure`."""
        try:
            return self._read(item, alive)
        except ObjectError as problem:
            return Failure(item.index, "decode", problem.reason, problem.message)
        except MemoryError:
            return _too_large(item)
        except OSError as problem:
            if problem.errno != errno.ENOMEM:
                raise  # the scratch folder's fault: what the file did was told above
            return _too_large(item)  # a library that was imported only now told it so
        except Exception as problem:  # noqa: BLE001 - an unforeseen error of a parser harms this file only, and is told by its name
            return Failure(item.index, "decode", "unreadable", f"{type(problem).__name__}: {problem}"[:500])

    def close(self) -> None:
        """Nothing stays open between two files."""

    def _read(self, file: TableFile, alive: Callable[[], None]) -> ReadTable:
        stem = f"table-{os.getpid()}-{next(_serial)}"
        index_path, contents_path = (self.folder / f"{stem}.{end}" for end in ("arrow", "contents"))
        rows = iter(text_table_rows(file.path, file.kind, self.columns, self.limits))
        read = offset = 0
        with contents_path.open("wb") as contents, pa.OSFile(str(index_path), "wb") as sink, pa.ipc.new_stream(sink, INDEX) as stream:
            while batch := list(islice(rows, AT_ONCE)):
                entries = []
                for row in batch:
                    content = f"{row.reason}\0{row.error}".encode("utf-8", "replace") if row.reason else row.content
                    contents.write(len(content).to_bytes(4, "little") + content)
                    entries.append((row.key, len(row.content), hashlib.sha256(row.content).hexdigest(), offset, bool(row.reason)))
                    offset += 4 + len(content)
                columns = [pa.array(column, field.type) for column, field in zip(zip(*entries, strict=True), INDEX, strict=True)]
                stream.write_batch(pa.record_batch(columns, schema=INDEX))
                read += len(batch)
                alive()
        return ReadTable(file.index, read, index_path, contents_path)


def _too_large(item: TableFile) -> Failure:
    return Failure(item.index, "decode", "out of memory", "reading it took more than limits.memory; raise the limit or split it")
