"""Evaluation: 1,000 candidates of each sort, drawn by seeds of their own, and recall among them; and a hundred short queries in each language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.miniature.captions import LANGUAGES, REALISE, Language, full_caption
from encoders.miniature.draw import draw_picture, draw_sound
from encoders.miniature.scenes import COLORS, SHAPES, SOUNDERS, WEATHERS, Scene, Thing, audible_key, is_held, pick, sample, visible_key
from encoders.miniature.training.material import log_mel
from encoders.miniature.training.meanings import facts_of_scene, facts_of_wording, fits, fits_by_ear
from encoders.miniature.wording import Mention, Wording

Embed = Callable[[str, Any], NDArray[np.float32]]  # ("text", captions), ("image", uint8 pictures) or ("audio", waves): unit vectors (n, d)


@dataclass(frozen=True)
class Pool:
    """Candidates, all different.

    Parameters
    ----------
    captions : full ones, one per scene and language.
    waves : float32 (n, samples), or None in silent world A.
    unseen : which scenes hold a combination that training never saw.
    """

    scenes: list[Scene]
    pictures: NDArray[np.uint8]
    waves: NDArray[np.float32] | None
    captions: Mapping[Language, list[str]]
    unseen: NDArray[np.bool_]


def draw_pool(name: str, seed: int, count: int = 1000) -> Pool:
    """Scenes that differ in what can be seen ("A unseen", "A seen") or in what can be heard ("B", half of them unseen)."""
    rng = np.random.default_rng([seed, *name.encode()])
    scenes: dict[Any, Scene] = {}
    while len(scenes) < count:
        held = name == "A unseen" or (name == "B" and len(scenes) < count // 2)
        scene = sample(rng, "B" if name == "B" else "A", held)
        scenes.setdefault(audible_key(scene) if name == "B" else visible_key(scene), scene)
    drawn = list(scenes.values())
    seeds = rng.integers(10**9, 2 * 10**9, len(drawn))
    pictures = np.stack([draw_picture(scene, int(s)) for scene, s in zip(drawn, seeds, strict=True)])
    waves = np.stack([draw_sound(scene, int(s)) for scene, s in zip(drawn, seeds, strict=True)]) if name == "B" else None
    captions = {language: [full_caption(scene, language, rng) for scene in drawn] for language in LANGUAGES}
    return Pool(drawn, pictures, waves, captions, np.array([is_held(scene) for scene in drawn]))


def recalls(pool: Pool, embed: Embed) -> dict[str, NDArray[np.int64]]:
    """Rank (from 0) of the right candidate for each query, by direction such as "en>image"; a tie counts against the model."""
    vectors = {"image": embed("image", pool.pictures), **{str(l): embed("text", pool.captions[l]) for l in LANGUAGES}}
    if pool.waves is not None:
        vectors["audio"] = embed("audio", pool.waves)
    pairs = [(a, b) for a in vectors for b in vectors if a != b and (a, b) != ("zh", "en")]
    return {f"{a}>{b}": ranks(vectors[a], vectors[b]) for a, b in pairs}


def ranks(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many other candidates are as near to query i as candidate i, or nearer."""
    cosines = queries @ candidates.T
    return np.asarray((cosines >= np.diag(cosines)[:, None]).sum(1) - 1)


def short_queries(seed: int, language: Language, count: int = 100) -> list[tuple[str, str, Wording]]:
    """Queries as people type them: (pool, modality to look in, what is asked).

    A fifth each: a kind and what it does, among sounds; the same with a weather; a colour and a kind, among pictures of world B; the same with
    a weather; a colour and a shape, among pictures of world A. All that can be said so, in random order, without repeating.
    """
    rng = np.random.default_rng([seed, 5])
    things = [Thing(kind, color, "big") for kind in SOUNDERS for color in COLORS]
    forms = {
        "sound": [("B", "audio", _query(Thing(kind, "red", "big"), action=True)) for kind in SOUNDERS],
        "sound and weather": [("B", "audio", _query(Thing(k, "red", "big"), w, action=True)) for k in SOUNDERS for w in WEATHERS[1:]],
        "picture": [("B", "image", _query(thing, color=True)) for thing in things],
        "picture and weather": [("B", "image", _query(thing, w, color=True)) for thing in things for w in WEATHERS[1:]],
        "shape": [("A unseen", "image", _query(Thing(kind, color, "big"), color=True)) for kind in SHAPES for color in COLORS],
    }
    return [form[i] for form in forms.values() for i in rng.permutation(len(form))]


def _query(thing: Thing, weather: str = "none", color: bool = False, action: bool = False) -> Wording:
    return Wording((Mention(thing, size=False, color=color, action=action),), None, weather)
