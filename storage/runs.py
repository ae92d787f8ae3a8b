"""The account of every run, in a table beside the vectors: what a report, `status` and a person ask afterwards.

Runs are of several kinds: those that embed ("embed"), score what was embedded ("score") and maintain it ("maintain"). All have a name, a
source, a space and a time; the columns of figures are those of embedding, and what another kind found stands in its account.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import lancedb
import polars as pl
import pyarrow as pa
from lancedb.table import Table

from storage.faults import told
from storage.replace import replace
from storage.schema import RUNS
from storage.table import open_beside, open_table

FIGURES = ("listed", "embedded", "unchanged", "quarantined", "deleted", "segments", "encoded", "reused", "version")
EMBED, SCORE, MAINTAIN = "embed", "score", "maintain"


def table_name(name: str) -> str:
    """The table of runs beside table `name`."""
    return f"{name}_runs"


def start(db: lancedb.DBConnection, name: str, run: str, source: str, *, space: str = "", generation: str = "", kind: str = EMBED) -> None:
    """Write down that a run has begun: what is left of it if it is killed."""
    entry = {"run": run, "source": source, "space": space, "generation": generation, "kind": kind, "started": datetime.now(UTC)}
    _write(_opened(db, name), entry)


def finish(db: lancedb.DBConnection, name: str, account: Mapping[str, Any], *, kind: str = EMBED) -> None:
    """Write down a run's account, under its `account["run"]`; also of a run that failed its floor.

    The main figures become columns, the whole account is kept as JSON.
    """
    table = _opened(db, name)
    now = datetime.now(UTC)
    begun = _load(table).filter(pl.col("run") == account["run"])["started"]
    entry = {key: account[key] for key in ("run", "source", "space", "generation", "balanced", *FIGURES) if account.get(key) is not None}
    entry |= {"started": begun[0] if len(begun) else now, "finished": now, "kind": kind}
    if "skipped" in account:
        entry["skipped"] = sum(account["skipped"].values())
    _write(table, entry | {"account": json.dumps(account, ensure_ascii=False, default=str)})


def latest(db: lancedb.DBConnection, name: str, n: int = 10, *, kind: str = EMBED) -> pl.DataFrame:
    """The last `n` runs of a kind, the newest first, in the columns of `storage.schema.RUNS` and "state".

    "state" is "finished"; "interrupted" for a run that did not finish before another one started; "unfinished" for the newest, which may
    still be at work.
    """
    table = open_table(db, table_name(name))
    runs = pl.DataFrame(RUNS.empty_table()) if table is None else _load(table)
    runs = runs.filter(pl.col("kind") == kind).sort("started", descending=True).with_row_index("age")
    unfinished = pl.when(pl.col("age") == 0).then(pl.lit("unfinished")).otherwise(pl.lit("interrupted"))
    state = pl.when(pl.col("finished").is_null()).then(unfinished).otherwise(pl.lit("finished"))
    return runs.with_columns(state=state).drop("age").head(n)


def _opened(db: lancedb.DBConnection, name: str) -> Table:
    """The table of runs, made if it is not there, and given the columns that came later."""
    table = open_beside(db, table_name(name), RUNS)
    if "kind" not in table.schema.names:
        with told(f"adding a column to table {table.name!r}"):
            table.add_columns(pa.field("kind", pa.string()))
    return table


def _load(table: Table) -> pl.DataFrame:
    with told(f"reading table {table.name!r}"):
        runs = pl.DataFrame(table.to_lance().to_table())
    return runs.with_columns(kind=pl.col("kind").fill_null(EMBED) if "kind" in runs.columns else pl.lit(EMBED))


def _write(table: Table, entry: Mapping[str, Any]) -> None:
    row = pa.RecordBatch.from_pylist([dict(entry)], schema=RUNS)
    replace(table, [entry["run"]], lambda: pa.RecordBatchReader.from_batches(RUNS, [row]), identity=("run",), also=("finished",))
