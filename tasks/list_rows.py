"""List the rows of table files as objects of their own, so that the diff, twins, quarantine and deletion hold row by row.

A file that is as it was when it was read last, and all of whose rows are still in the table or in quarantine, is not fetched: its rows are
listed as they are held. Of every other file all rows are read, and their contents kept until the run is over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from encoders.media.kinds import medium_by_name
from storage import tables_read
from storage.errors import ObjectError
from storage.quarantine import RETRY_SIZE
from storage.text_tables import Columns, RowLimits
from tasks.isolate import Lost, Workers
from tasks.kept_rows import BAD, DOUBLE, GOOD, KeptRows, place
from tasks.plan import RefusedError
from tasks.prepare import Source, fetch_failure, stamp
from tasks.prepare_object import discard
from tasks.read_table import ReadTable, ReadTables, TableFile
from tasks.row_names import ROW, TABLE, TO_FILE, kind_of, row_uri
from tasks.segments import Failure

LISTED = ("uri", "size", "etag", "modified", "medium", "place")


@dataclass(frozen=True)
class Held:
    """What the table and its quarantine hold of a source.

    Parameters
    ----------
    present : as `storage.table.present` gives it.
    quarantine : as `storage.quarantine.load` gives it.
    read : as `storage.tables_read.load` gives it.
    generation : of the space; what failed under another one is tried again.
    """

    present: pl.DataFrame
    quarantine: pl.DataFrame
    read: pl.DataFrame
    generation: str

    def waiting(self) -> pl.DataFrame:
        """What failed, and would fail again."""
        return self.quarantine.filter((pl.col("generation") == self.generation) & (pl.col("size") != RETRY_SIZE))

    def rows(self) -> dict[str, pl.DataFrame]:
        """By table file, its rows that are where they should be: uri, size, etag."""
        frames = [frame.filter(pl.col("uri").str.contains(ROW)).select("uri", "size", "etag") for frame in (self.present, self.waiting())]
        rows = pl.concat(frames).unique("uri", keep="first", maintain_order=True)
        rows = rows.with_columns(file=pl.col("uri").str.replace(*TO_FILE))
        return {str(file): part for (file,), part in rows.partition_by("file", as_dict=True, include_key=False).items()}


@dataclass(frozen=True)
class Reading:
    """How table files are read.

    Parameters
    ----------
    source : where they are fetched from.
    columns, limits : what of them is read.
    tools : makes the processes that read and the folder for what they write; entered only if there is a file to read.
    """

    source: Source
    columns: Columns
    limits: RowLimits
    tools: Callable[[], AbstractContextManager[tuple[Workers, Path]]]

    @property
    def fingerprint(self) -> str:
        """Of everything in the settings that changes a file's rows."""
        told = json.dumps([1, self.columns.named(), self.limits.rows, self.limits.characters, self.limits.bytes], ensure_ascii=False)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


def list_rows(listing: pl.DataFrame, held: Held, reading: Reading) -> tuple[pl.DataFrame, KeptRows]:
    """The listing with the rows of its table files in their place.

    Parameters
    ----------
    listing : uri, size, etag, modified of every object.

    Returns
    -------
    listing : the same with the columns medium and place (see `tasks.kept_rows`; null for what is not a row that was read). A row's etag
        is the SHA-256 of what is embedded, its size the bytes of that. A table file that cannot be read stands there itself, to end in
        quarantine; if that may pass, its rows stay as they are.
    kept : contents of the rows, and what is to be remembered of their files.
    """
    tables = _tables(listing)
    others = listing.join(tables, on="uri", how="anti")
    kinds = pl.Series("medium", [medium_by_name(uri) for uri in others.get_column("uri")], dtype=pl.String)
    frames = [others.with_columns(kinds, pl.lit(None, pl.Int64).alias("place")).select(LISTED)]
    kept = KeptRows(gone=held.read.join(tables, on="uri", how="anti").get_column("uri").to_list())
    changed: list[dict[str, Any]] = []
    rows, failed = held.rows(), _failed(held)
    remembered = {row["uri"]: row for row in held.read.iter_rows(named=True)}
    for file in tables.iter_rows(named=True):
        if failed.get(file["uri"]) == (file["size"], _mark(file, reading)):
            frames.append(_itself(file, reading))
        elif _is_read(file, remembered.get(file["uri"]), rows.get(file["uri"]), reading):
            frames.append(_as_held(file, rows[file["uri"]]))
        else:
            changed.append(file)
    frames += _read_all(changed, rows, reading, kept)
    return pl.concat(frames), kept


def refuse_forgotten_columns(vanished: pl.Series, listing: pl.DataFrame) -> None:
    """Raise RefusedError if rows would go although their file is there, because a run that names no text column does not read it."""
    rows = pl.DataFrame({"row": vanished}).filter(pl.col("row").str.contains(ROW)).with_columns(uri=pl.col("row").str.replace(*TO_FILE))
    left = rows.join(listing, on="uri", how="semi").get_column("uri")
    if len(left):
        raise RefusedError(
            f"the table holds {len(left)} rows of table files still there, such as {left[0]}, and no text column is named: nothing "
            f"was deleted. Name it (--text-column, or text under [tables]); if the rows are to go, run again with --allow-deletions"
        )


def _tables(listing: pl.DataFrame) -> pl.DataFrame:
    named = listing.filter(pl.col("uri").str.contains(TABLE))
    kinds = pl.Series("kind", [kind_of(uri) for uri in named.get_column("uri")], dtype=pl.String)
    return named.with_columns(kinds).filter(pl.col("kind").is_not_null())


def _failed(held: Held) -> dict[str, tuple[int, str | None]]:
    return {uri: (size, etag) for uri, size, etag in held.waiting().select("uri", "size", "etag").iter_rows()}


def _is_read(file: Mapping[str, Any], then: Mapping[str, Any] | None, rows: pl.DataFrame | None, reading: Reading) -> bool:
    """Whether the file is as it was when it was read, as it would be read now, and its rows are all there."""
    if then is None or rows is None or then["columns"] != reading.fingerprint or then["rows"] != rows.height:
        return False
    if then["size"] != file["size"] or then["etag"] != file["etag"] or (file["etag"] is None and then["modified"] != file["modified"]):
        return False
    return bool(then["digest"] == tables_read.digest(rows))


def _mark(file: Mapping[str, Any], reading: Reading) -> str:
    """The etag of a file that cannot be read: with other settings it is another object, to be tried again."""
    return f"{file['etag'] or file['modified']} read as {reading.fingerprint}"


def _itself(file: Mapping[str, Any], reading: Reading) -> pl.DataFrame:
    row = pl.DataFrame({"uri": [file["uri"]], "size": [file["size"]], "etag": [_mark(file, reading)]})
    return _as_held(file, row)


def _as_held(file: Mapping[str, Any], rows: pl.DataFrame) -> pl.DataFrame:
    modified = pl.lit(file["modified"], pl.Datetime("us", "UTC")).alias("modified")
    return rows.with_columns(modified, pl.lit("text").alias("medium"), pl.lit(None, pl.Int64).alias("place")).select(LISTED)


def _read_all(files: list[dict[str, Any]], held: Mapping[str, pl.DataFrame], reading: Reading, kept: KeptRows) -> Iterator[pl.DataFrame]:
    remember: list[dict[str, Any]] = []
    for file, result in _results(files, reading):
        if isinstance(result, Failure):
            kept.failed[file["uri"]] = result
            yield _itself(file, reading)
            if result.retryable and file["uri"] in held:
                yield _as_held(file, held[file["uri"]])
            continue
        rows = _rows(file, result, len(kept.contents))
        kept.contents.append(result.contents_path)
        remember.append(file | {"columns": reading.fingerprint, "rows": rows.height, "digest": tables_read.digest(rows)})
        yield rows
    if remember:
        types: dict[str, pl.DataType | type[pl.DataType]] = {"etag": pl.String, "modified": pl.Datetime("us", "UTC")}
        kept.read = pl.DataFrame(remember, schema_overrides=types).select(tables_read.READ)


def _results(files: list[dict[str, Any]], reading: Reading) -> Iterator[tuple[dict[str, Any], ReadTable | Failure]]:
    """Every file with what came of it; one is read while the next is fetched."""
    fetched: dict[int, tuple[int, int]] = {}
    unfetched: list[tuple[int, Failure]] = []
    if not files:
        return

    with reading.tools() as (workers, scratch):

        def items() -> Iterator[TableFile]:
            for index, file in enumerate(files):
                try:
                    if file["kind"] == "compressed":
                        raise ObjectError("compressed", "the table is compressed; decompress it, or write it as Parquet")
                    path = reading.source.fetch(file["uri"], scratch, reading.limits.bytes)
                    fetched[index] = stamp(path)
                except (ObjectError, OSError) as problem:
                    unfetched.append((index, fetch_failure(index, problem)))
                else:
                    yield TableFile(index, file["uri"], file["kind"], path)

        job = ReadTables(reading.columns, reading.limits, scratch)
        for item, result in workers.each(job, items()):
            yield files[item.index], _settled(item, result, fetched[item.index])
            if item.path.is_relative_to(scratch):
                discard(item.path)
        for index, failure in unfetched:
            yield files[index], failure


def _settled(item: TableFile, result: ReadTable | Failure | Lost, then: tuple[int, int]) -> ReadTable | Failure:
    if isinstance(result, Lost):
        return Failure(item.index, "decode", result.reason, result.error)
    try:
        moved = stamp(item.path) != then
    except OSError:
        moved = True
    if moved:
        error = "it changed or went while it was read; the next run tries again"
        return Failure(item.index, "fetch", "changed while read", error, retryable=True)
    return result


def _rows(file: Mapping[str, Any], read: ReadTable, number: int) -> pl.DataFrame:
    """The rows of a file as the listing has them; of rows with one id, the first keeps it."""
    with pa.OSFile(str(read.index_path), "rb") as source, pa.ipc.open_stream(source) as stream:
        index = pl.DataFrame(pl.from_arrow(stream.read_all()))
    discard(read.index_path)
    again = ~pl.col("key").is_first_distinct()
    index = index.with_row_index("number").with_columns(again=again)
    key = pl.when("again").then(pl.col("key") + "@" + pl.col("number").cast(pl.String)).otherwise("key")
    kind = pl.when("bad").then(BAD).when("again").then(DOUBLE).otherwise(GOOD).cast(pl.Int64)
    index = index.with_columns(uri=pl.lit(row_uri(file["uri"], "")) + key, kind=kind).with_columns(place(number))
    return _as_held(file, index).with_columns(index.get_column("place"))
