"""The command `sensorium score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command import Json, print_json, refusing


def score(
    database: Annotated[str, typer.Argument(help="LanceDB database: a folder or an object-store URL.")] = "",
    pairs: Annotated[str | None, typer.Option(help="Parquet, CSV or JSONL with columns text, image, audio, video.")] = None,
    table: Annotated[str | None, typer.Option(help="Table in the database; default media.")] = None,
    split: Annotated[str | None, typer.Option(help="Only this side of the pairs: train, validation, test; default all.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split, as in align, and of the intervals; default 1.")] = None,
    source: Annotated[str | None, typer.Option(help="Where relative URIs begin; default the folder of the pairs.")] = None,
    among: Annotated[str | None, typer.Option(help="What is found: all of the table, or only objects of the pairs; default table.")] = None,
    against: Annotated[str | None, typer.Option(help="Another database to score on the very same pairs.")] = None,
    against_table: Annotated[str | None, typer.Option(help="Its table; default of the same name.")] = None,
    at_least: Annotated[list[str] | None, typer.Option(help='"text>image recall@1=0.5": else exit code 1; repeatable.')] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any of these settings; flags win.")] = None,
    direct: Annotated[bool, typer.Option("--direct", help="Run without Prefect.")] = False,
    as_json: Json = False,
) -> None:
    """Measure how well the table in DATABASE answers PAIRS that are known: recall, MRR, nDCG in each direction, with intervals."""
    with refusing():
        from flows import settings_given
        from flows.display_score import show_score
        from flows.drive import drive_score

        asked = settings_given.score_settings(
            config,
            database=database or None,
            pairs=pairs,
            table=table,
            split=split,
            seed=seed,
            source=source,
            among=among,
            against=against,
            against_table=against_table,
            at_least=at_least or None,
        )
        report = drive_score(asked, direct=direct)
        print_json(report) if as_json else show_score(report)
    if not report["met"]:
        raise typer.Exit(1)
