"""The generated world as arrays: pictures with a map of what stands where, captions with what they tell, and single sounds to mix from.

Scenes come in pairs: one at random, and a twin that differs by one change (`scenes.twin`), which is the hardest negative there is. No
scene holds a held-out combination, and sounds are mixed for these scenes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.miniature.captions import LANGUAGES, REALISE
from encoders.miniature.draw import draw_picture
from encoders.miniature.phrasing import phrase
from encoders.miniature.pictures import PIXELS
from encoders.miniature.scenes import SIZES, SOUNDERS, WEATHERS, Scene, World, sample, twin
from encoders.miniature.sounds import WEATHERS as SKIES
from encoders.miniature.synthesis import RATE, SAMPLES, Wave, noise, normalized
from encoders.miniature.training.meanings import facts_of_scene, facts_of_wording, in_order
from encoders.miniature.voices import voice
from encoders.spectrogram import kaldi_fbank

PATCH = 8  # pixels
BANDS, FRAMES = 64, 304
FLOOR = 1.192092955078125e-07  # of a band's energy, as Kaldi has it


@dataclass(frozen=True)
class Scenes:
    """n scenes; row 2 i + 1 is the twin of row 2 i.

    Parameters
    ----------
    pictures : uint8 (n, 64, 64, 3).
    places : uint8 (n, 64): for each patch 0 if it shows no thing, 1 the left or upper one, 2 the other.
    facts : int8 (n, 8), see `meanings`.
    texts : for each scene its wordings, each in every language.
    told : int8 (n, wordings, 8), what each wording tells.
    """

    pictures: NDArray[np.uint8]
    places: NDArray[np.uint8]
    facts: NDArray[np.int8]
    texts: list[list[tuple[str, ...]]]
    told: NDArray[np.int8]


def draw_scenes(seed: int, pairs: int, share_of_shapes: float, wordings: int) -> Scenes:
    """Pairs of a scene and its twin, drawn and told."""
    rng = np.random.default_rng([seed, 0])
    scenes: list[Scene] = []
    for _ in range(pairs):
        world: World = "A" if rng.random() < share_of_shapes else "B"
        scene = sample(rng, world)
        scenes += [scene, twin(scene, rng)]
    drawn = [drawn_with_places(scene, seed * 1_000_003 + i) for i, scene in enumerate(scenes)]
    told, texts = zip(*(_tell(scene, wordings, rng) for scene in scenes), strict=True)
    facts = np.array([facts_of_scene(scene) for scene in scenes], np.int8)
    return Scenes(np.stack([p for p, _ in drawn]), np.stack([m for _, m in drawn]), facts, list(texts), np.array(told, np.int8))


def drawn_with_places(scene: Scene, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The picture, and which thing each patch shows: the one whose other colour would change most of it, and at least ten pixels.

    Draws do not depend on colour, so that a scene painted otherwise differs where the thing is and nowhere else.
    """
    picture = draw_picture(scene, seed)
    changed = [_changed(scene, i, picture, seed) for i in range(len(scene.things))]
    counts = np.stack([np.zeros_like(changed[0]), *in_order(tuple(changed), scene.relation)])  # (1 + things, 8, 8)
    return picture, np.where(counts.max(0) < 10, 0, counts.argmax(0)).astype(np.uint8).reshape(-1)


def draw_sounds(seed: int, voices: int, skies: int) -> dict[str, NDArray[np.float16]]:
    """Log-mel spectrograms (variants, FRAMES, BANDS) of single sounds, each with a peak of one: by "kind size", by weather, and "noise"."""
    rng = np.random.default_rng([seed, 1])
    bank = {f"{k} {s}": _spectra([voice(k, s, rng) for _ in range(voices)]) for k in SOUNDERS for s in SIZES}
    bank |= {sky: _spectra([normalized(SKIES[sky](rng)) for _ in range(skies)]) for sky in WEATHERS[1:]}
    return bank | {"noise": _spectra([noise(SAMPLES, rng) for _ in range(64)])}


def log_mel(wave: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(FRAMES, BANDS), as the feature extractor makes it before normalising."""
    return np.asarray(
        kaldi_fbank(wave, sampling_rate=RATE, bands=BANDS, frames=FRAMES, length=400, hop=160, low=20.0, high=RATE / 2, floor=FLOOR),
        np.float32,
    )


def _spectra(waves: Sequence[Wave]) -> NDArray[np.float16]:
    return np.stack([log_mel(wave) for wave in waves]).astype(np.float16)


def _changed(scene: Scene, which: int, picture: NDArray[np.uint8], seed: int) -> NDArray[np.int64]:
    """How many pixels of each patch change with the thing's colour: (8, 8)."""
    other = "white" if scene.things[which].color in ("black", "blue", "purple", "red", "green") else "black"
    things = tuple(replace(t, color=other) if i == which else t for i, t in enumerate(scene.things))
    differs = (draw_picture(replace(scene, things=things), seed) != picture).any(-1)
    return np.asarray(differs.reshape(PIXELS // PATCH, PATCH, -1, PATCH).sum((1, 3)))


def _tell(scene: Scene, wordings: int, rng: np.random.Generator) -> tuple[list[list[int]], list[tuple[str, ...]]]:
    told, texts = [], []
    for _ in range(wordings):
        wording, whole = phrase(scene, rng)
        told.append(facts_of_wording(wording, whole))
        texts.append(tuple(REALISE[language](wording, rng) for language in LANGUAGES))
    return told, texts
