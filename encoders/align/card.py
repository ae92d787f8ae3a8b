"""The card of an aligned space: what was asked, what trained it, and how it went. Read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from encoders.errors import EncoderError
from encoders.spec import Space

CARD, TOWERS = "card.json", "towers"


def read(folder: Path) -> dict[str, Any]:
    """What `write` was given as the card; {} where a folder has none."""
    path = folder / CARD
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as problem:
        raise EncoderError(f"{path} is no JSON ({problem}); align anew") from problem
    return card


def of(space: Space) -> dict[str, Any]:
    """The card of the folder that a space's heads, or its trained encoders, lie in; {} for a space that was not aligned."""
    for spec in space.encoders.values():
        places = [Path(spec.head["weights"]).parent] if spec.head else []
        if Path(spec.weights).parent.name == TOWERS:
            places.append(Path(spec.weights).parent.parent)
        for folder in places:
            if card := read(folder):
                return card
    return {}
