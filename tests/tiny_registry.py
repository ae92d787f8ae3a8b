"""A tiny checkpoint for every name of the registry: those of tiny_checkpoints.py and those that each family's own tests bring."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import tiny_checkpoints

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
}
for _family in ("tiny_words", "tiny_texts", "tiny_remote", "tiny_pictures", "tiny_sounds", "tiny_several"):
    if find_spec(_family):
        TINY |= import_module(_family).TINY
