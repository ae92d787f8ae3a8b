"""What a table holds and how it is doing, for people and machines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import lancedb
import polars as pl
from lancedb.table import Table

from encoders.spec import Space
from storage import index, quarantine, runs, table
from storage.errors import TableError

LATEST = 10  # scores or maintenances, among which one that was finished is looked for


def status(database: str, name: str = "media", latest: int = 10) -> dict[str, Any]:
    """Rows, objects, generation, space, indices, quarantine by reason, the latest runs, the last score and maintenance of a table.

    Raises TableError if there is no such database or table.
    """
    db = table.connect(database, must_exist=True)
    held = table.open_table(db, name)
    if held is None:
        raise TableError("no table", f"{database} has no table {name!r}; make it: sensorium embed SOURCE {database} --table {name}")
    counts = table.count(held)
    return {
        "table": name,
        "rows": int(counts.get_column("rows").sum()),
        "objects": int(counts.get_column("objects").sum()),
        "media": {medium: {"objects": objects, "rows": rows} for medium, objects, rows in _by(counts, "medium")},
        "modalities": {modality: {"rows": rows} for modality, _, rows in _by(counts, "modality")},
        "generation": table.generation(held),
        "space": Space.from_json(table.space_json(held)).name,
        "version": int(held.version),
        "published": table.published_version(held),
        "index": {each.name: each.index_type for each in held.list_indices()},
        "vector_index": _vector_index(held),
        "quarantine": quarantine.by_reason(quarantine.load(db, name)),
        "runs": runs.latest(db, name, latest).drop("account").to_dicts(),
        "score": _last_score(db, name),
        "maintenance": _last_maintenance(db, name),
    }


def _vector_index(held: Table) -> dict[str, Any]:
    """Its type, the rows it does not cover, how readers ask it, and what that was measured to find."""
    found = index.state(held)
    settings = index.search_settings(held)
    told = {"kind": found.kind, "unindexed": found.unindexed, "parts": found.parts, "bytes": found.bytes}
    return told | {"nprobes": settings.nprobes, "refine": settings.refine, "recall": found.kept.get("recall", {})}


def _last_maintenance(db: lancedb.DBConnection, name: str) -> dict[str, Any] | None:
    """When a table was last maintained, and what came of it."""
    done = runs.latest(db, name, LATEST, kind=runs.MAINTAIN).filter(pl.col("state") == "finished")
    if done.is_empty():
        return None
    last = done.row(0, named=True)
    report = json.loads(last["account"])
    return {key: report[key] for key in ("run", "version", "published", "target", "met", "verdict")} | {"finished": last["finished"]}


def _last_score(db: lancedb.DBConnection, name: str) -> dict[str, Any] | None:
    """When a table was last scored, at which of its versions, and what came of it; figures of each direction by metric."""
    scores = runs.latest(db, name, LATEST, kind=runs.SCORE).filter(pl.col("state") == "finished")
    if scores.is_empty():
        return None
    score = scores.row(0, named=True)
    report = json.loads(score["account"])
    mixed = {"text>all": report["mixed"]} if report["mixed"] else {}
    figures = {
        direction: {metric: figure["value"] for metric, figure in each["figures"].items()}
        for direction, each in (report["directions"] | mixed).items()
    }
    told = {name: report[name] for name in ("run", "version", "split", "met", "verdict")}
    return told | {"pairs": score["source"], "finished": score["finished"], "figures": figures}


def _by(counts: pl.DataFrame, column: str) -> Iterable[tuple[str, int, int]]:
    return counts.group_by(column).agg(pl.col("objects", "rows").sum()).sort(column).iter_rows()
