"""Captions of a scene in English and Chinese."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np

from encoders.miniature import chinese, english
from encoders.miniature.phrasing import phrase
from encoders.miniature.scenes import Scene
from encoders.miniature.wording import Wording, full, heard, seen

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

REALISE: Mapping[Language, Callable[[Wording, np.random.Generator], str]] = {"en": english.realise, "zh": chinese.realise}


def full_caption(scene: Scene, language: Language, rng: np.random.Generator) -> str:
    """Everything that the weights were evaluated on: "a big red dog barking in the rain". Synonyms are random."""
    return REALISE[language](full(scene), rng)


def varied_caption(scene: Scene, language: Language, rng: np.random.Generator) -> str:
    """One of many ways to tell some of the scene, as training draws them: "the sound of a dog and a small bell", "rain"."""
    return REALISE[language](phrase(scene, rng)[0], rng)


def seen_caption(scene: Scene, language: Language, rng: np.random.Generator) -> str:
    """What can be seen: "a big red dog left of a small cat in the rain"."""
    return REALISE[language](seen(scene), rng)


def heard_caption(scene: Scene, language: Language, rng: np.random.Generator) -> str:
    """What can be heard: "a big dog barking in the rain". Scenes of world A are silent: a ValueError."""
    if scene.world == "A":
        raise ValueError("scenes of world A make no sound; caption them with full_caption or varied_caption")
    return REALISE[language](heard(scene), rng)
