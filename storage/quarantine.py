"""The objects that could not be embedded, each with stage, reason, attempts, first and last time: a table beside the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import lancedb
import polars as pl
import pyarrow as pa
from lancedb.table import Table

from storage.faults import told
from storage.replace import replace, scan
from storage.schema import QUARANTINE
from storage.table import open_beside, open_table, under

FAILURE = ("uri", "etag", "size", "stage", "reason", "error")
RETRY_SIZE = -1  # no object has this size, so the next run's diff takes the object for changed


def table_name(name: str) -> str:
    """The quarantine's table beside table `name`."""
    return f"{name}_quarantine"


def load(db: lancedb.DBConnection, name: str, root: str | None = None) -> pl.DataFrame:
    """The quarantined objects, of a source or all of them, in the columns of `storage.schema.QUARANTINE`.

    An object marked for retry has no etag and size -1.
    """
    return _read(db, name, QUARANTINE.names, None if root is None else under(root))


def record(db: lancedb.DBConnection, name: str, failures: pl.DataFrame, generation: str) -> None:
    """Put objects into quarantine, or count one more attempt of those that are there.

    Parameters
    ----------
    failures : columns uri, etag, size, stage, reason, error; if an object comes twice, its last failure counts.
    generation : of the encoders that failed.
    """
    if failures.is_empty():
        return
    now = datetime.now(UTC)
    failures = failures.select(FAILURE).unique("uri", keep="last", maintain_order=True)
    before = _read(db, name, ["uri", "attempts", "first_failed"])
    entries = failures.join(before, on="uri", how="left").with_columns(
        attempts=pl.col("attempts").fill_null(0) + 1,
        first_failed=pl.col("first_failed").fill_null(now),
        last_failed=pl.lit(now),
        generation=pl.lit(generation),
    )
    table = open_beside(db, table_name(name), QUARANTINE)
    _replace(table, entries["uri"].to_list(), entries)


def release(db: lancedb.DBConnection, name: str, uris: Sequence[str]) -> None:
    """Take objects out: they were embedded now, or have left the source. Those that are not in quarantine are passed over."""
    table = open_table(db, table_name(name)) if len(uris) else None
    if table is not None:
        _replace(table, uris, None)


def mark_for_retry(db: lancedb.DBConnection, name: str, *, uris: Sequence[str] | None = None, reason: str | None = None) -> int:
    """Let the next run try objects again though they have not changed; returns how many.

    Parameters
    ----------
    uris : these objects; `None` for all.
    reason : only those that failed for this reason.

    Attempts and times are kept; etag and size are forgotten, so that the objects differ from what a listing says.
    """
    marked = chosen(load(db, name), uris, reason).filter(pl.col("size") != RETRY_SIZE)
    table = open_table(db, table_name(name)) if marked.height else None
    if table is not None:
        forgotten = marked.with_columns(etag=pl.lit(None, pl.String), size=pl.lit(RETRY_SIZE, pl.Int64))
        _replace(table, marked["uri"].to_list(), forgotten)
    return marked.height


def forget(db: lancedb.DBConnection, name: str, *, uris: Sequence[str] | None = None, reason: str | None = None) -> int:
    """Strike objects from the quarantine, chosen as in `mark_for_retry`; returns how many.

    Those still in the source are new to the next run.
    """
    gone = chosen(load(db, name), uris, reason)["uri"].to_list()
    release(db, name, gone)
    return len(gone)


def by_reason(entries: pl.DataFrame) -> dict[str, int]:
    """How many of `load`'s objects failed for each reason, the most frequent first."""
    counts = entries.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return dict(counts.iter_rows())


def _read(db: lancedb.DBConnection, name: str, columns: list[str], condition: str | None = None) -> pl.DataFrame:
    table = open_table(db, table_name(name))
    if table is None:
        return pl.DataFrame(pa.schema([QUARANTINE.field(column) for column in columns]).empty_table())
    with told(f"reading the quarantine of table {name!r}"):
        return pl.DataFrame(scan(table.to_lance(), columns, condition).to_table())


def chosen(entries: pl.DataFrame, uris: Sequence[str] | None, reason: str | None) -> pl.DataFrame:
    """Those of `load`'s entries that are named by `uris` (`None` for all) and failed for `reason` (`None` for any)."""
    if uris is not None:
        entries = entries.join(pl.DataFrame({"uri": uris}, schema={"uri": pl.String}), on="uri", how="semi")
    return entries if reason is None else entries.filter(pl.col("reason") == reason)


def _replace(table: Table, uris: Sequence[str], entries: pl.DataFrame | None) -> None:
    rows = None
    if entries is not None:
        arrow = entries.select(QUARANTINE.names).to_arrow().cast(QUARANTINE)
        rows = lambda: pa.RecordBatchReader.from_batches(QUARANTINE, arrow.to_batches())  # noqa: E731
    replace(table, uris, rows, identity=("uri",), also=("etag", "reason", "attempts"))
