"""What scenes hold and what captions tell of them, as numbers, and which caption fits which scene.

A row of facts is int8 (8,): kind, colour, size of the left or upper thing, the same of the other, how they stand, the weather.
`ABSENT` stands for a second thing that is not there, `UNTOLD` for what a caption leaves open. A short caption is no wrong answer for
another scene that it fits, so training must know which it fits.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoders.miniature.scenes import COLORS, SHAPES, SIZES, SOUNDERS, WEATHERS, Scene, Thing
from encoders.miniature.wording import Mention, Wording

Facts: TypeAlias = NDArray[np.int8]  # (n, 8)

KINDS = (*SHAPES, *SOUNDERS)
AXES = (None, "h", "v")
UNTOLD = -1
ABSENT = (len(KINDS), len(COLORS), len(SIZES))
CLASSES = (len(KINDS) + 1, len(COLORS) + 1, len(SIZES) + 1) * 2 + (len(AXES), len(WEATHERS))
AXIS, WEATHER = 6, 7
COLORS_AT = (1, 4)


def facts_of_scene(scene: Scene) -> list[int]:
    """All that the scene holds."""
    things = [_thing(thing) for thing in in_order(scene.things, scene.relation)]
    second = things[1] if len(things) == 2 else ABSENT
    return [*things[0], *second, AXES.index(axis(scene.relation)), WEATHERS.index(scene.weather)]


def facts_of_wording(wording: Wording, whole: bool) -> list[int]:
    """What the wording tells.

    Parameters
    ----------
    whole : it names every thing and the weather, so that what it does not name is not there; else that is left open.
    """
    mentions = [_mention(mention) for mention in in_order(wording.mentions, wording.relation)]
    mentions += [list(ABSENT) if whole and mentions else [UNTOLD] * 3] * (2 - len(mentions))
    unsaid = AXES.index(None) if whole and len(wording.mentions) == 1 else UNTOLD
    stands = AXES.index(axis(wording.relation)) if wording.relation else unsaid
    weather = WEATHERS.index(wording.weather) if whole or wording.weather != "none" else UNTOLD
    return [*mentions[0], *mentions[1], stands, weather]


def fits(told: Facts, scenes: Facts) -> NDArray[np.bool_]:
    """(n, m): which of n captions is true of which of m scenes, by what can be seen.

    Where a caption does not tell how its things stand, they may stand either way.
    """
    straight, crossed = _things(told, scenes), _things(told[:, [3, 4, 5, 0, 1, 2, 6, 7]], scenes)
    matched = straight | (crossed & (told[:, None, AXIS] == UNTOLD))
    fitting: NDArray[np.bool_] = matched & _agrees(told, scenes, AXIS) & _agrees(told, scenes, WEATHER)
    return fitting


def fits_by_ear(told: Facts, scenes: Facts) -> NDArray[np.bool_]:
    """The same by what can be heard: colours and places make no sound."""
    return fits(audible(told), scenes)


def audible(facts: Facts) -> Facts:
    """The facts without what makes no sound."""
    heard = facts.copy()
    heard[:, [*COLORS_AT, AXIS]] = UNTOLD
    return heard


def in_order(things: tuple, relation: str | None) -> tuple:  # type: ignore[type-arg]
    """The left or upper one first."""
    return things[::-1] if relation in ("right", "below") else things


def axis(relation: str | None) -> str | None:
    """Whether two stand beside each other ("h") or one above the other ("v")."""
    if relation is None:
        return None
    return "h" if relation in ("left", "right") else "v"


def _thing(thing: Thing) -> list[int]:
    return [KINDS.index(thing.kind), COLORS.index(thing.color), SIZES.index(thing.size)]


def _mention(mention: Mention) -> list[int]:
    kind, color, size = _thing(mention.thing)
    return [kind, color if mention.color else UNTOLD, size if mention.size else UNTOLD]


def _things(told: Facts, scenes: Facts) -> NDArray[np.bool_]:
    agreed = [_agrees(told, scenes, place) for place in range(AXIS)]
    matched: NDArray[np.bool_] = np.logical_and.reduce(agreed)
    return matched


def _agrees(told: Facts, scenes: Facts, place: int) -> NDArray[np.bool_]:
    said = told[:, None, place]
    agreed: NDArray[np.bool_] = (said == UNTOLD) | (said == scenes[None, :, place])
    return agreed
