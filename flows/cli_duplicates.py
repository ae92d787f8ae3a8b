"""The command `sensorium duplicates`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing
from flows.filter_flags import Medium, ModalityOf, Prefix, kept


def duplicates(
    database: Database,
    table: TableName = "media",
    threshold: Annotated[float, typer.Option(help="Least cosine of two near-duplicates, above 0 and at most 1.")] = 0.95,
    segments: Annotated[bool, typer.Option("--segments", help="Compare segments of different objects instead of objects.")] = False,
    medium: Medium = None,
    modality: ModalityOf = None,
    prefix: Prefix = None,
    limit: Annotated[int, typer.Option(min=0, help="Most groups that are shown.")] = 20,
    output: Annotated[Path | None, typer.Option(help="Parquet, CSV or JSONL file for the members of all groups.")] = None,
    as_json: Json = False,
) -> None:
    """Find copies and near-duplicates: pictures saved again or resized, sounds in another format, texts with small changes."""
    with refusing():
        from flows.display_cluster import show_duplicates
        from retrieval import units
        from retrieval.cluster import duplicates as near
        from storage import row_files
        from storage import table as tables

        write = row_files.writer(output, "duplicates") if output else None
        held = units.read(
            tables.published(tables.connect(database, must_exist=True), table), kept(medium, modality, prefix), segments=segments
        )
        groups = near.among(held, threshold)
        rows = near.rows(held, groups)
        if write:
            write(rows.drop("content_hash"))
        report = near.report(held, groups, threshold) | {"output": str(output) if output else None}
        if as_json:
            print_json({**report, "rows": None if output else rows.to_dicts()})
        else:
            show_duplicates(report, rows, limit)
