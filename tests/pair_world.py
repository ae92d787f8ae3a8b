"""Pictures, sounds and captions of the miniature's world, and lists of pairs of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from encoders.miniature.captions import full_caption
from encoders.miniature.draw import draw
from encoders.miniature.scenes import sample

STRANGERS = """name = "strangers"
[text]
encoder = "bag-of-words"
dimension = 256
[image]
encoder = "clip-image"
weights = "package:miniature/clip"
"""
"""Encoders of two dimensions that know nothing of each other, as a space's TOML file."""


def world(folder: Path, scenes: int, seed: int = 0, sounds: bool = True) -> list[dict[str, str]]:
    """A bucket of scenes, and a row for each: text, image, audio."""
    rng = np.random.default_rng(seed)
    rows = []
    for name in ("pictures", "sounds"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(scenes):
        scene = sample(rng, "B")
        picture, sound = draw(scene, int(rng.integers(2**31)))
        row = {"text": f"{full_caption(scene, 'en', rng)} {number}", "image": f"pictures/{number}.png"}
        Image.fromarray(picture).save(folder / row["image"])
        if sounds:
            row["audio"] = f"sounds/{number}.wav"
            soundfile.write(folder / row["audio"], sound, 16_000)
        rows.append(row)
    return rows


def write_pairs(path: Path, rows: list[dict[str, str]]) -> Path:
    """The rows as JSONL."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
