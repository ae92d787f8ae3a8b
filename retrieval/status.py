"""What a table holds and how it is doing, for people and machines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import polars as pl

from encoders.spec import Space
from storage import quarantine, runs, table
from storage.errors import TableError


def status(database: str, name: str = "media", latest: int = 10) -> dict[str, Any]:
    """Rows, objects, generation, space, index, quarantine by reason and the latest runs of a table.

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
        "index": {index.name: index.index_type for index in held.list_indices()},
        "quarantine": quarantine.by_reason(quarantine.load(db, name)),
        "runs": runs.latest(db, name, latest).drop("account").to_dicts(),
    }


def _by(counts: pl.DataFrame, column: str) -> Iterable[tuple[str, int, int]]:
    return counts.group_by(column).agg(pl.col("objects", "rows").sum()).sort(column).iter_rows()
