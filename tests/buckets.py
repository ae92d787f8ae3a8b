"""Small buckets of the miniature's world, and runs over them without Prefect."""

from __future__ import annotations

import io
import json
import random
import shutil
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from flows.direct import embed_direct
from flows.embed_opening import open_run
from flows.settings import EmbedSettings
from storage import table
from tasks.report import Account

SAMPLES = Path(__file__).parent / "data" / "miniature_samples"


def captions() -> dict[str, dict[str, str]]:
    """Caption in English and Chinese of each sample file."""
    return json.loads((SAMPLES / "captions.json").read_text(encoding="utf-8"))


def small_bucket(folder: Path) -> Path:
    """Six pictures, six sounds, and their captions as twenty-four texts."""
    for name in ("pictures", "sounds", "texts"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, caption in captions().items():
        shutil.copy(SAMPLES / name, folder / ("pictures" if name.endswith("png") else "sounds") / name)
        stem = name.partition(".")[0]
        (folder / "texts" / f"{stem}.en.txt").write_text(caption["en"], encoding="utf-8")
        (folder / "texts" / f"{stem}.zh.txt").write_text(caption["zh"], encoding="utf-8")
    return folder


def picture(seed: int, size: tuple[int, int] = (80, 60)) -> bytes:
    """A PNG that no other seed gives."""
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sound(seed: int, seconds: float = 4.0, rate: int = 16_000) -> bytes:
    """A WAV of noise that no other seed gives."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate)), rate, format="WAV")
    return buffer.getvalue()


def words(seed: int, n: int = 12) -> str:
    """A sentence of the miniature's words."""
    return " ".join(random.Random(seed).choices(["a", "big", "red", "blue", "dog", "cat", "train", "barking", "rain"], k=n)) + f" {seed}"


def embed(source: Path | str, database: Path | str, **settings) -> Account:
    """A run from listing to account, without Prefect."""
    limits = settings.pop("limits", {})
    return embed_direct(open_run(EmbedSettings(source=str(source), database=str(database), limits=limits, **settings)))


def rows(database: Path | str, name: str = "media") -> list[dict]:
    """All published rows, in order of uri and segment."""
    held = table.published(table.connect(str(database)), name).to_arrow().to_pylist()
    return sorted(held, key=lambda row: (row["uri"], row["segment"]))


def assert_same_rows(one: list[dict], two: list[dict]) -> None:
    """Equal but for what differs from run to run; vectors to the rounding that another batch gives in bfloat16 (cosine above 0.999)."""
    keys = ("uri", "segment", "content_hash", "modality", "start", "end", "text")
    assert [[row[key] for key in keys] for row in one] == [[row[key] for key in keys] for row in two]
    first, second = (np.array([row["vector"] for row in each], np.float32) for each in (one, two))
    assert (first * second).sum(1).min() > 0.999
