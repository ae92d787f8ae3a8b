"""The command `sensorium calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing


def calibrate(
    database: Database,
    queries: Annotated[Path | None, typer.Option(help="Questions in words that the table answers, to measure by.")] = None,
    nonsense: Annotated[Path | None, typer.Option(help="Questions in words that it does not answer; default made-up words.")] = None,
    wrong: Annotated[float, typer.Option(min=0.001, max=0.5, help="Share of nonsense questions that may get an answer.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of what is drawn and made up.")] = 0,
    table: TableName = "media",
    as_json: Json = False,
) -> None:
    """Measure what nonsense finds in the table, so that `search --fits` answers only what stands out from it."""
    with refusing():
        from flows import secret_blocks
        from flows.display_search import show_calibration
        from retrieval.query import Searcher
        from retrieval.search import nothing_fits, queries_file

        secret_blocks.install()
        known, nothing = (queries_file.read(path) if path else [] for path in (queries, nonsense))
        lines = nothing_fits.calibrate(Searcher(database, table), known, nothing, wrong=wrong, seed=seed).to_dicts()
        print_json(lines) if as_json else show_calibration(lines)
