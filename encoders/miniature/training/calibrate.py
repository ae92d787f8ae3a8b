"""The last step of the recipe: each modality's mean is taken away, so that one list of texts, pictures and sounds holds all three.

"center" of `encoders.align.calibration`, whose docstring names the papers. Remedies that also leave directions out bring more right answers
of other modalities to the top of mixed lists, and make short queries worse: `python -m benchmarks.calibration --space …` shows both.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import registry
from encoders.align import heads as head_files
from encoders.align.calibration import candidates
from encoders.align.frozen import FrozenVectors
from encoders.align.head_file import base_of
from encoders.miniature.captions import LANGUAGES, full_caption, varied_caption
from encoders.miniature.draw import draw_picture, draw_sound
from encoders.miniature.scenes import Scene, sample
from encoders.miniature.synthesis import SAMPLES
from encoders.spaces import SPACES
from encoders.spec import Encoder, Modality, Space, Spec
from encoders.stacking import encoded
from encoders.weights import place

HEADS, SPACE = "heads", "space.toml"
REMEDY = "center"
SCENES = 2_000
SILENT = 3  # every so many-th scene is of world A


def calibrate(weights: Path, seed: int, count: int = SCENES) -> None:
    """Write heads/text.safetensors and so on beside clip/ and audio/, from scenes without held-out combinations, and a space.toml."""
    space = Space("miniature", bases(weights))
    drawn = vectors_of(space, scenes_of(seed, count, held=False), seed, varied=True)
    remedy = next(remedy for remedy in candidates(drawn) if remedy.name == REMEDY)
    (weights / HEADS).mkdir(exist_ok=True)
    for modality, head in remedy.alone().items():
        head_files.save(head, place_of(weights, modality), base_of(space.encoders[modality]))
    shipped = place(SPACES["miniature"]).read_text(encoding="utf-8")
    (weights / SPACE).write_text(shipped.replace("package:miniature/", ""), encoding="utf-8")


def bases(weights: Path) -> dict[Modality, Spec]:
    """The encoders of a folder with clip/ and audio/, without heads."""
    return {
        "text": registry.describe("clip-text", str(weights / "clip")),
        "image": registry.describe("clip-image", str(weights / "clip")),
        "audio": registry.describe("ast", str(weights / "audio"), window_samples=SAMPLES),
    }


def place_of(weights: Path, modality: Modality) -> Path:
    """Where a modality's head lies."""
    return weights / HEADS / f"{modality}.safetensors"


def scenes_of(seed: int, count: int, held: bool | None = None) -> list[Scene]:
    """Scenes of which two thirds can be heard; with or without a held-out combination, or as they come."""
    rng = np.random.default_rng([seed, 7])
    return [sample(rng, "B" if number % SILENT else "A", held) for number in range(count)]


def vectors_of(space: Space, scenes: list[Scene], seed: int, varied: bool = False) -> FrozenVectors:
    """Vectors of scenes: a caption in each language, with `varied` also one as training drew them, a picture, and a sound of most."""
    rng, heard = np.random.default_rng([seed, 8]), [number for number, scene in enumerate(scenes) if scene.world == "B"]
    tellers = (full_caption, varied_caption) if varied else (full_caption,)
    texts = [tell(scene, language, rng) for tell in tellers for language in LANGUAGES for scene in scenes]
    seeds = (seed * 1_000_003 + np.arange(len(scenes))).tolist()
    encoders = {modality: registry.build(spec, dtype="float32") for modality, spec in space.encoders.items()}
    vectors: dict[Modality, NDArray[np.float32]] = {
        "text": embedded(encoders["text"], texts),
        "image": embedded(encoders["image"], (draw_picture(scene, number) for scene, number in zip(scenes, seeds, strict=True))),
        "audio": embedded(encoders["audio"], (draw_sound(scenes[number], seeds[number]) for number in heard)),
    }
    sounds = np.full(len(scenes), -1)
    sounds[heard] = np.arange(len(heard))
    times = len(tellers) * len(LANGUAGES)
    ids: dict[Modality, NDArray[np.int64]] = {"text": np.arange(len(texts)), "image": np.tile(np.arange(len(scenes)), times)}
    return FrozenVectors(vectors, {**ids, "audio": np.tile(sounds, times)})


def embedded(encoder: Encoder, media: Iterable[Any]) -> NDArray[np.float32]:
    """Vectors (n, d) of media, which need not be in memory together."""
    return encoded(encoder, [encoder.prepare(medium) for medium in media])
