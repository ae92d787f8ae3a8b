"""The miniature's world as data: what a scene holds, how scenes are sampled, and which combinations training never saw.

World "A" is silent: one or two coloured shapes. World "B" sounds: one or two things with a voice, under some weather.
The weights know these words and no others, and were trained without the held-out combinations: changing either needs new weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np

World = Literal["A", "B"]

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white")
SIZES = ("small", "big")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "moon")
SOUNDERS = ("dog", "cat", "bird", "frog", "bell", "drum", "guitar", "car", "ambulance", "train", "clock", "phone")
WEATHERS = ("none", "rain", "wind", "thunder", "sea", "night")
KINDS: Mapping[World, tuple[str, ...]] = {"A": SHAPES, "B": SOUNDERS}
INVERSE = {"left": "right", "right": "left", "above": "below", "below": "above"}
RELATIONS = tuple(INVERSE)

# Fixed by index so that every word is still met in training, only never in this company.
HELD_SHAPES = frozenset((color, SHAPES[(3 * i + 1) % 8]) for i, color in enumerate(COLORS))
HELD_PAIRS = frozenset(frozenset((SOUNDERS[i], SOUNDERS[j])) for i in range(12) for j in range(i) if (i + j) % 6 == 0)
HELD_WEATHERS = frozenset((kind, sky) for i, kind in enumerate(SOUNDERS) for w, sky in enumerate(WEATHERS) if (i + 2 * w) % 7 == 0)

Option = TypeVar("Option")


@dataclass(frozen=True, order=True)
class Thing:
    """One thing in a scene: "a small red dog"."""

    kind: str
    color: str
    size: str

    def __post_init__(self) -> None:
        _require("color", self.color, COLORS)
        _require("size", self.size, SIZES)


@dataclass(frozen=True)
class Scene:
    """One or two things, how the first stands to the second, and the weather.

    Parameters
    ----------
    world : "A" for shapes without a sound, "B" for things that sound.
    things : one or two.
    relation : where the first stands as seen from the second ("left": first left of second); None exactly if there is one thing.
    weather : always "none" in world A.
    """

    world: World
    things: tuple[Thing, ...]
    relation: str | None = None
    weather: str = "none"

    def __post_init__(self) -> None:
        _require("world", self.world, tuple(KINDS))
        _require("number of things", len(self.things), (1, 2))
        for thing in self.things:
            _require(f"kind in world {self.world}", thing.kind, KINDS[self.world])
        _require(f"relation of {len(self.things)} thing(s)", self.relation, RELATIONS if len(self.things) == 2 else (None,))
        _require(f"weather in world {self.world}", self.weather, WEATHERS if self.world == "B" else ("none",))


def pick(rng: np.random.Generator, options: Sequence[Option], weights: Sequence[float] | None = None) -> Option:
    """One of the options, each as likely as its weight (all alike without weights)."""
    index = rng.integers(len(options)) if weights is None else rng.choice(len(options), p=weights)
    return options[int(index)]


def sample(rng: np.random.Generator, world: World, held: bool | None = False) -> Scene:
    """A random scene.

    Parameters
    ----------
    held : False for what training draws from, True for scenes with a held-out combination, None for either.
    """
    _require("world", world, tuple(KINDS))
    draw = _shapes if world == "A" else _sounders
    while True:
        scene = draw(rng)
        if _plausible(scene) and held in (None, is_held(scene)):
            return scene


def is_held(scene: Scene) -> bool:
    """Whether the scene holds a combination that training never saw."""
    if scene.world == "A":
        return any((thing.color, thing.kind) in HELD_SHAPES for thing in scene.things)
    pair = frozenset(thing.kind for thing in scene.things)
    return pair in HELD_PAIRS or any((kind, scene.weather) in HELD_WEATHERS for kind in pair)


def twin(scene: Scene, rng: np.random.Generator) -> Scene:
    """A scene that looks different by one change: a hard negative. Held-out combinations come only from a scene that holds one itself."""
    weights, changes = [w for w, _ in CHANGES[scene.world]], [change for _, change in CHANGES[scene.world]]
    while True:
        other = pick(rng, changes, weights)(scene, rng)
        if visible_key(other) != visible_key(scene) and _plausible(other) and (is_held(scene) or not is_held(other)):
            return other


def visible_key(scene: Scene) -> tuple[Any, ...]:
    """What can be seen, alike for two ways to say it: (world, left or upper thing, "h" or "v", right or lower thing, weather)."""
    if len(scene.things) == 1:
        return (scene.world, scene.things[0], None, None, scene.weather)
    first, second = scene.things if scene.relation in ("left", "above") else scene.things[::-1]
    return (scene.world, first, "h" if scene.relation in ("left", "right") else "v", second, scene.weather)


def audible_key(scene: Scene) -> tuple[Any, ...] | None:
    """What can be heard: the kinds with their sizes, and the weather; colour and place make no sound. None in silent world A."""
    if scene.world == "A":
        return None
    return (tuple(sorted((thing.kind, thing.size) for thing in scene.things)), scene.weather)


def _shapes(rng: np.random.Generator) -> Scene:
    return _scene(rng, "A", 1 if rng.random() < 0.25 else 2, "none")


def _sounders(rng: np.random.Generator) -> Scene:
    return _scene(rng, "B", 1 if rng.random() < 0.4 else 2, pick(rng, WEATHERS))


def _scene(rng: np.random.Generator, world: World, count: int, weather: str) -> Scene:
    things = tuple(Thing(pick(rng, KINDS[world]), pick(rng, COLORS), pick(rng, SIZES)) for _ in range(count))
    return Scene(world, things, pick(rng, RELATIONS) if count == 2 else None, weather)


def _plausible(scene: Scene) -> bool:
    """Two things must be told apart: by any attribute in world A, by their voice in world B."""
    return len({thing if scene.world == "A" else thing.kind for thing in scene.things}) == len(scene.things)


def _change_one(scene: Scene, rng: np.random.Generator, **attributes: str) -> Scene:
    which = rng.integers(len(scene.things))
    return replace(scene, things=tuple(replace(t, **attributes) if i == which else t for i, t in enumerate(scene.things)))


def _change_kind(scene: Scene, rng: np.random.Generator) -> Scene:
    return _change_one(scene, rng, kind=pick(rng, KINDS[scene.world]))


def _change_color(scene: Scene, rng: np.random.Generator) -> Scene:
    return _change_one(scene, rng, color=pick(rng, COLORS))


def _change_size(scene: Scene, rng: np.random.Generator) -> Scene:
    return _change_one(scene, rng, size=pick(rng, SIZES))


def _change_weather(scene: Scene, rng: np.random.Generator) -> Scene:
    return replace(scene, weather=pick(rng, WEATHERS))


def _invert_relation(scene: Scene, rng: np.random.Generator) -> Scene:
    return replace(scene, relation=INVERSE.get(scene.relation or ""))


def _swap_colors(scene: Scene, rng: np.random.Generator) -> Scene:
    colors = [thing.color for thing in scene.things][::-1]
    return replace(scene, things=tuple(replace(t, color=c) for t, c in zip(scene.things, colors, strict=True)))


def _swap_sizes(scene: Scene, rng: np.random.Generator) -> Scene:
    sizes = [thing.size for thing in scene.things][::-1]
    return replace(scene, things=tuple(replace(t, size=s) for t, s in zip(scene.things, sizes, strict=True)))


CHANGES: Mapping[World, tuple[tuple[float, Callable[[Scene, np.random.Generator], Scene]], ...]] = {
    "A": ((0.35, _swap_colors), (0.25, _invert_relation), (0.15, _swap_sizes), (0.12, _change_kind), (0.13, _change_color)),
    "B": (
        (0.25, _change_weather),
        (0.25, _swap_colors),
        (0.2, _change_kind),
        (0.15, _change_size),
        (0.1, _change_color),
        (0.05, _invert_relation),
    ),
}


def _require(what: str, came: object, allowed: Sequence[object]) -> None:
    if came not in allowed:
        raise ValueError(f"{what} is {came!r}; it must be one of {', '.join(map(repr, allowed))}")
