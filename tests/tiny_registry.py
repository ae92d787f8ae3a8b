"""A tiny checkpoint for every name of the registry: those of tiny_checkpoints.py and those that each family's own tests bring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_checkpoints
import tiny_pictures
import tiny_remote
import tiny_several
import tiny_sounds
import tiny_texts
import tiny_words

Maker = Callable[[Path], dict[str, Any]]
"""Makes a checkpoint in a folder and returns what `registry.describe` needs to know of it."""


def _made_by(name: str) -> Maker:
    return lambda folder: {"weights": str(getattr(tiny_checkpoints, name)(folder))}


TINY: dict[str, Maker] = {
    "clip-text": _made_by("clip"),
    "clip-image": _made_by("clip"),
    "vit": _made_by("vit"),
    "bert": _made_by("bert"),
    "ast": _made_by("ast"),
    **tiny_words.TINY,
    **tiny_texts.TINY,
    **tiny_remote.TINY,
    **tiny_pictures.TINY,
    **tiny_sounds.TINY,
    **tiny_several.TINY,
}
