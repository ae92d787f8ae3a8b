"""What a caption will tell of a scene, decided before any language: which things, which of their attributes, and in which frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from encoders.miniature.scenes import INVERSE, Scene, Thing, pick

Frame = Literal["bare", "sound", "picture", "one shape", "two shapes"]


@dataclass(frozen=True)
class Mention:
    """A thing and what is said of it; `action` is what it does ("barking")."""

    thing: Thing
    size: bool = True
    color: bool = True
    article: bool = True
    action: bool = False


@dataclass(frozen=True)
class Wording:
    """A caption without words.

    Parameters
    ----------
    mentions : the things told, in this order; none at all if only the weather is told.
    relation : where the first stands to the second, or None where that is not told.
    weather : "none" where it is not told.
    frame : what stands around the things ("a picture of …", "the sound of …").
    plain : only the first order of words of each language, as evaluation wants it.
    """

    mentions: tuple[Mention, ...]
    relation: str | None = None
    weather: str = "none"
    frame: Frame = "bare"
    plain: bool = False


def full(scene: Scene) -> Wording:
    """All that a caption can tell: size, colour, kind, and place (world A) or action and weather (world B)."""
    sounding = scene.world == "B"
    mentions = tuple(Mention(thing, action=sounding) for thing in scene.things)
    return Wording(mentions, None if sounding else scene.relation, scene.weather, plain=True)


def seen(scene: Scene) -> Wording:
    """All that a picture shows: size, colour, kind, place and weather."""
    return Wording(tuple(Mention(thing) for thing in scene.things), scene.relation, scene.weather, plain=True)


def heard(scene: Scene) -> Wording:
    """All that a sound of world B tells: size, kind, action and weather."""
    return Wording(tuple(Mention(thing, color=False, action=True) for thing in scene.things), weather=scene.weather, plain=True)


def varied(scene: Scene, rng: np.random.Generator) -> Wording:
    """A random part of what `full` tells, now and then only one thing or only the weather, the things in either order."""
    return _of_shapes(scene, rng) if scene.world == "A" else _of_sounders(scene, rng)


def _of_shapes(scene: Scene, rng: np.random.Generator) -> Wording:
    if rng.random() < 0.06:
        return Wording((_glimpse(scene, rng, size=0.4, color=0.7),))
    things, relation = _either_order(scene, rng)
    size, article = rng.random() < 0.85, rng.random() < 0.85
    mentions = tuple(Mention(thing, size=size, article=article) for thing in things)
    return Wording(mentions, relation, frame="one shape" if len(things) == 1 else "two shapes")


def _of_sounders(scene: Scene, rng: np.random.Generator) -> Wording:
    chance = rng.random()
    if chance < 0.07:
        return Wording((_glimpse(scene, rng, size=0.3, color=0.3, action=0.4),))
    if chance < 0.10 and scene.weather != "none":
        return Wording((), weather=scene.weather)
    things, relation = _either_order(scene, rng)
    size, color = rng.random() < 0.6, rng.random() < 0.6
    mentions = tuple(Mention(t, size, color, article=rng.random() < 0.9, action=rng.random() < 0.6) for t in things)
    told = relation if rng.random() < 0.35 else None
    frame: Frame = pick(rng, ("bare", "sound", "picture"), (0.88, 0.0, 0.12) if told else (0.78, 0.12, 0.1))
    return Wording(mentions, told, scene.weather, frame)


def _glimpse(scene: Scene, rng: np.random.Generator, size: float, color: float, action: float = 0.0) -> Mention:
    """One of the things, with each attribute at its own chance: how people type queries."""
    thing = pick(rng, scene.things)
    return Mention(thing, rng.random() < size, rng.random() < color, rng.random() < 0.5, rng.random() < action)


def _either_order(scene: Scene, rng: np.random.Generator) -> tuple[tuple[Thing, ...], str | None]:
    if scene.relation is None or rng.random() < 0.5:
        return scene.things, scene.relation
    return scene.things[::-1], INVERSE[scene.relation]
