"""The command `sensorium train-miniature`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.command import Json, print_json, refusing


def train_miniature(
    folder: Annotated[Path, typer.Argument(help="Where the drawn world, checkpoints and weights go; some 3 GB.")],
    steps: Annotated[int | None, typer.Option(help="How long to train; default as the shipped weights were.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the world, the first weights and the order; default 1.")] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate/--no-evaluate", help="Measure the weights on scenes drawn for that alone.")] = True,
    as_json: Json = False,
) -> None:
    """Make the miniature's weights anew: draw its world, train on it, measure. A run that was stopped goes on from its last checkpoint."""
    with refusing():
        from dataclasses import replace

        from encoders.miniature.training.recipe import Recipe
        from flows.train_miniature import make

        asked = {name: value for name, value in (("steps", steps), ("seed", seed)) if value is not None}
        card = make(folder, replace(Recipe(), **asked), evaluated=evaluate, quiet=as_json)
        if as_json:
            print_json(card)
