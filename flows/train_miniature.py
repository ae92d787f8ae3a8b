"""The miniature's weights made anew, told as it goes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from encoders.miniature.training.calibrate import SPACE, calibrate
from encoders.miniature.training.evaluation import SEED, Figures, evaluate, missed, shipped_way
from encoders.miniature.training.recipe import Recipe
from encoders.miniature.training.train import Progress, train_miniature
from flows import display

CARD = "card.json"


def make(folder: Path, recipe: Recipe, *, evaluated: bool, quiet: bool) -> dict[str, Any]:
    """Train, calibrate, measure; write beside the weights their space.toml and a card: the recipe, the figures, the targets missed."""
    if not quiet:
        display.out.print(f"drawing {2 * recipe.pairs:,} scenes and training {recipe.steps:,} steps in {folder}")
    weights = train_miniature(folder, recipe, None if quiet else _tell)
    calibrate(weights, recipe.seed)
    card: dict[str, Any] = {"recipe": asdict(recipe)}
    if evaluated:
        figures = evaluate(shipped_way(weights))
        card |= {"evaluation": {"seed": SEED, "figures": figures, "missed": missed(figures)}}
        if not quiet:
            _show(figures)
    (weights / CARD).write_text(json.dumps(card, indent=1) + "\n")
    return card | {"weights": str(weights), "space": str(weights / SPACE)}


def _tell(progress: Progress) -> None:
    losses = ", ".join(f"{name} {loss:.2f}" for name, loss in progress.losses.items() if not name.startswith("help"))
    display.out.print(f"step {progress.step:,} of {progress.steps:,}  {progress.seconds / 60:.1f} min  {losses}", highlight=False)


def _show(figures: Figures) -> None:
    display.out.print("recall@1, 5 and 10 in per cent; in mixed lists @1 and @10; of short queries the share whose first answer fits")
    for sort, directions in figures.items():
        for direction, shares in directions.items():
            display.out.print(f"   {sort:14} {direction:12} {' / '.join(f'{100 * share:.1f}' for share in shares)}", highlight=False)
    for line in missed(figures):
        display.out.print(f"   missed: {line}", highlight=False)
