"""What a caption will tell of a scene, decided before any language: which things, which of their attributes, and in which frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from encoders.miniature.scenes import Scene, Thing

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
