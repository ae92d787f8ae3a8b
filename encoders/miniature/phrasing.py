"""What may be said of a scene, as training draws it: everything, some of everything, or as little as people type into a search box."""

from __future__ import annotations

import numpy as np

from encoders.miniature.scenes import INVERSE, Scene, Thing, pick
from encoders.miniature.wording import Frame, Mention, Wording

SHARES = (0.4, 0.2, 0.4)  # of `complete`, `partial` and `short`


def phrase(scene: Scene, rng: np.random.Generator) -> tuple[Wording, bool]:
    """A wording, and whether it is whole: names every thing and the weather."""
    make = pick(rng, (complete, partial, short), SHARES)
    return make(scene, rng), make is not short


def complete(scene: Scene, rng: np.random.Generator) -> Wording:
    """Size, colour and kind of everything, and the weather; of shapes also how they stand."""
    return _whole(scene, rng, 1.0, 1.0)


def partial(scene: Scene, rng: np.random.Generator) -> Wording:
    """The same, but sizes or colours may be left out."""
    size, color = pick(rng, ((True, False), (False, True), (False, False)), (0.4, 0.4, 0.2))
    return _whole(scene, rng, float(size), float(color))


def short(scene: Scene, rng: np.random.Generator) -> Wording:
    """A query: one thing with some attributes, with or without the weather; two things by name; the weather alone."""
    chance = rng.random()
    weather = scene.weather if rng.random() < 0.45 else "none"
    if chance < 0.08 and scene.weather != "none":
        return Wording((), weather=scene.weather)
    if chance < 0.25 and len(scene.things) == 2:
        things, relation = either_order(scene, rng)
        color = rng.random() < 0.4
        mentions = tuple(Mention(t, size=False, color=color, article=rng.random() < 0.8, action=_acts(scene, rng)) for t in things)
        return Wording(mentions, relation if rng.random() < 0.4 else None, weather)
    thing = pick(rng, scene.things)
    told = Mention(thing, rng.random() < 0.3, rng.random() < 0.65, rng.random() < 0.7, _acts(scene, rng))
    return Wording((told,), None, weather)


def either_order(scene: Scene, rng: np.random.Generator) -> tuple[tuple[Thing, ...], str | None]:
    """The things and how the first of them stands, from either side."""
    if scene.relation is None or rng.random() < 0.5:
        return scene.things, scene.relation
    return scene.things[::-1], INVERSE[scene.relation]


def _whole(scene: Scene, rng: np.random.Generator, size: float, color: float) -> Wording:
    things, relation = either_order(scene, rng)
    mentions = tuple(
        Mention(t, rng.random() < size, rng.random() < color, article=rng.random() < 0.9, action=_acts(scene, rng, 0.7)) for t in things
    )
    if scene.world == "A":
        return Wording(mentions, relation, frame="one shape" if len(things) == 1 else "two shapes")
    told = relation if rng.random() < 0.25 else None
    frame: Frame = pick(rng, ("bare", "sound", "picture"), (0.9, 0.0, 0.1) if told else (0.84, 0.08, 0.08))
    return Wording(mentions, told, scene.weather, frame)


def _acts(scene: Scene, rng: np.random.Generator, chance: float = 0.5) -> bool:
    return scene.world == "B" and rng.random() < chance
