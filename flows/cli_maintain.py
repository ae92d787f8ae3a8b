"""The command `sensorium maintain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command import Json, print_json, refusing


def maintain(
    database: Annotated[str, typer.Argument(help="LanceDB database: a folder or an object-store URL.")] = "",
    table: Annotated[str | None, typer.Option(help="Table in the database; default media.")] = None,
    recall: Annotated[float | None, typer.Option(help="Share of the ten nearest that the index must find; default 0.98.")] = None,
    index_from: Annotated[int | None, typer.Option(help="Rows from which an index is made; default by rows times dimension.")] = None,
    questions: Annotated[int | None, typer.Option(help="Rows of each kind that are asked to measure it; default 300.")] = None,
    keep_days: Annotated[float | None, typer.Option(help="Drop versions older than this; default 7.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the rows that are drawn; default 1.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any of these settings; flags win.")] = None,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect.")] = False,
    as_json: Json = False,
) -> None:
    """Keep the table in DATABASE quick and small: its index, whose recall is measured before readers get it; fragments, old versions."""
    with refusing():
        from flows import settings_given
        from flows.display_maintain import show_maintenance
        from flows.drive import drive_maintain

        asked = settings_given.maintain_settings(
            config,
            database=database or None,
            table=table,
            recall=recall,
            index_from=index_from,
            questions=questions,
            keep_days=keep_days,
            seed=seed,
        )
        report = drive_maintain(asked, direct=direct)
        print_json(report) if as_json else show_maintenance(report)
    if not report["met"]:
        raise typer.Exit(1)
