"""How the table is doing: what it holds, its last runs, and what could not be embedded, with reasons."""

from __future__ import annotations

from typing import Any

from retrieval.page.library import Library

LISTED = 500  # objects in quarantine that are listed, the last to fail first
RUNS = 20


def outline(library: Library) -> dict[str, Any]:
    """What the page shows before anything is asked; "opening" as long as the table is."""
    if not library.is_open:
        return {"state": "opening", "table": library.name, "database": library.database}
    import polars as pl

    from storage import table as tables

    searcher = library.searcher

    counts = tables.count(searcher.table)
    media = counts.group_by("medium").agg(pl.col("objects", "rows").sum()).sort("medium")
    return {
        "state": "open",
        "table": library.name,
        "database": library.database,
        "space": searcher.space.name,
        "asked_with": list(searcher.space.encoders),
        "media": {row["medium"]: {"objects": row["objects"], "rows": row["rows"]} for row in media.to_dicts()},
        "modalities": sorted(set(counts["modality"])),
        "version": int(searcher.table.version),
    }


def overview(library: Library) -> dict[str, Any]:
    """`retrieval.status` and the quarantine."""
    from retrieval.status import status
    from storage import quarantine
    from storage import table as tables

    told = status(library.database, library.name, RUNS)
    failed = quarantine.load(tables.connect(library.database), library.name).sort("last_failed", descending=True)
    listed = failed.head(LISTED).select("uri", "stage", "reason", "error", "attempts", "first_failed", "last_failed", "size")
    return told | {"failures": listed.to_dicts(), "failures_all": failed.height}
