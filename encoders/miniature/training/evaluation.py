"""Evaluation: recall among 1,000 candidates of each sort, and a hundred short queries in each language.

Its seed is its own and was never used while the recipe was chosen; nothing is tuned on what it draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.miniature.captions import LANGUAGES, REALISE, Language, full_caption
from encoders.miniature.draw import draw_picture, draw_sound
from encoders.miniature.scenes import COLORS, SHAPES, SOUNDERS, WEATHERS, Scene, Thing, audible_key, is_held, sample, visible_key
from encoders.miniature.training.meanings import facts_of_scene, facts_of_wording, fits, fits_by_ear
from encoders.miniature.wording import Mention, Wording
from encoders.spec import Modality

SEED = 20_261_201
CANDIDATES = 1000
POOLS = ("A unseen", "A seen", "B")

# Of the short queries: a kind and what it does, the same with a weather (both among sounds), a colour and a kind, the same with a weather
# (among pictures of world B), a colour and a shape (among pictures of world A).
SHORT = {"sound": 12, "sound and weather": 22, "picture": 22, "picture and weather": 22, "shape": 22}

# What the weights are held to: recall@1 of unseen combinations, in both languages, and first answers to short queries that fit.
TARGETS: Mapping[tuple[str, str], float] = {
    **{("A unseen", f"{language}>image"): 0.85 for language in LANGUAGES},
    **{("B unseen", f"{language}>image"): 0.95 for language in LANGUAGES},
    **{("B unseen", f"{language}>audio"): 0.85 for language in LANGUAGES},
    ("B unseen", "image>audio"): 0.50,
    **{("short queries", language): 0.90 for language in LANGUAGES},
}

Embed = Callable[[Modality, Any], NDArray[np.float32]]  # captions, uint8 pictures or waves: unit vectors (n, d)
Figures = dict[str, dict[str, list[float]]]
Vectors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Pool:
    """Candidates, all different.

    Parameters
    ----------
    pictures : uint8 (n, 64, 64, 3).
    waves : float32 (n, samples), or None in silent world A.
    captions : full ones, one per scene and language.
    unseen : which scenes hold a combination that training never saw.
    """

    scenes: Sequence[Scene]
    pictures: NDArray[np.uint8]
    waves: NDArray[np.float32] | None
    captions: Mapping[Language, list[str]]
    unseen: NDArray[np.bool_]


@dataclass(frozen=True)
class Query:
    """A short query, among which candidates it is asked, and what it tells."""

    pool: str
    modality: Modality
    wording: Wording


def evaluate(embed: Embed, seed: int = SEED, count: int = CANDIDATES) -> Figures:
    """Recall@1, 5 and 10 by sort of scenes and direction ("B unseen", "en>image"), and the share of short queries whose first answer fits.

    Sorts: "A unseen" and "A seen", each among its own candidates; "B unseen" and "B seen", halves of the queries among all candidates of B;
    "mixed lists", recall@1 and @10 of answers of other modalities where all captions, pictures and sounds of B are candidates at once.
    """
    pools = {name: draw_pool(name, seed, count) for name in POOLS}
    vectors = {name: vectors_of(pool, embed) for name, pool in pools.items()}
    figures: Figures = {}
    for name, pool in pools.items():
        halves = {"B unseen": pool.unseen, "B seen": ~pool.unseen} if name == "B" else {name: np.ones(count, bool)}
        for direction, found in ranks_of(vectors[name]).items():
            for half, rows in halves.items():
                figures.setdefault(half, {})[direction] = [round(float((found[rows] < k).mean()), 4) for k in (1, 5, 10)]
    figures["mixed lists"] = {"every modality": mixed(vectors["B"])}
    queries = {language: asked(pools, embed, seed, language) for language in LANGUAGES}
    figures["short queries"] = {name: [float(np.mean(first_fits(pools, vectors, found, seed)))] for name, found in queries.items()}
    return figures


def missed(figures: Figures) -> list[str]:
    """The targets that are not reached, in words."""
    came = {key: figures[key[0]][key[1]][0] for key in TARGETS}
    return [f"{' '.join(key)}: {came[key]:.1%}, asked for {least:.0%}" for key, least in TARGETS.items() if came[key] < least]


def draw_pool(name: str, seed: int, count: int = CANDIDATES) -> Pool:
    """Scenes that differ in what can be seen ("A unseen", "A seen") or in what can be heard ("B", the first half of them unseen)."""
    rng = np.random.default_rng([seed, *name.encode()])
    scenes: dict[Any, Scene] = {}
    while len(scenes) < count:
        scene = sample(rng, "B" if name == "B" else "A", name == "A unseen" or (name == "B" and len(scenes) < count // 2))
        scenes.setdefault(audible_key(scene) if name == "B" else visible_key(scene), scene)
    drawn = list(scenes.values())
    seeds = rng.integers(10**9, 2 * 10**9, count).tolist()  # no seed of training's is as large
    pictures = np.stack([draw_picture(scene, number) for scene, number in zip(drawn, seeds, strict=True)])
    waves = np.stack([draw_sound(scene, number) for scene, number in zip(drawn, seeds, strict=True)]) if name == "B" else None
    captions = {language: [full_caption(scene, language, rng) for scene in drawn] for language in LANGUAGES}
    return Pool(drawn, pictures, waves, captions, np.array([is_held(scene) for scene in drawn]))


def vectors_of(pool: Pool, embed: Embed) -> Vectors:
    """By "image", "audio" where there is one, and language of the captions: (n, d)."""
    vectors = {"image": embed("image", pool.pictures), **{str(name): embed("text", pool.captions[name]) for name in LANGUAGES}}
    return vectors if pool.waves is None else {**vectors, "audio": embed("audio", pool.waves)}


def ranks_of(vectors: Vectors) -> dict[str, NDArray[np.int64]]:
    """For each direction, such as "en>image", the rank (from 0) of each query's right candidate."""
    pairs = [(a, b) for a in vectors for b in vectors if a != b and (a, b) != ("zh", "en")]
    return {f"{a}>{b}": ranks(vectors[a], vectors[b]) for a, b in pairs}


def ranks(queries: NDArray[np.float32], candidates: NDArray[np.float32]) -> NDArray[np.int64]:
    """How many other candidates are as near to query i as candidate i, or nearer: a tie counts against the model."""
    cosines = queries @ candidates.T
    return np.asarray((cosines >= np.diag(cosines)[:, None]).sum(1) - 1)


def mixed(vectors: Vectors) -> list[float]:
    """Recall@1 and @10 in one list of all modalities, as `encoders.align.calibration.measure` has it."""
    from encoders.align.calibration import TOP, measure

    rows = np.arange(len(vectors["image"]))
    texts, each = np.concatenate([vectors[language] for language in LANGUAGES]), np.tile(rows, len(LANGUAGES))
    found = measure(
        {"text": texts, "image": vectors["image"], "audio": vectors["audio"]},
        {"text": np.arange(len(texts)), "image": each, "audio": each},
    )
    return [round(found[f"mixed recall@{k}"], 4) for k in (1, TOP)]


def asked(pools: Mapping[str, Pool], embed: Embed, seed: int, language: Language) -> NDArray[np.float32]:
    """Vectors (100, d) of the short queries in a language."""
    rng = np.random.default_rng([seed, 6])
    return embed("text", [REALISE[language](query.wording, rng) for query in short_queries(pools, seed)])


def first_fits(pools: Mapping[str, Pool], vectors: Mapping[str, Vectors], queries: NDArray[np.float32], seed: int) -> list[bool]:
    """For each short query, of vectors as `asked` gives them, whether the candidate nearest to it is one that it fits."""
    found = zip(short_queries(pools, seed), queries, strict=True)
    nearest = [(query, int((vectors[query.pool][query.modality] @ vector).argmax())) for query, vector in found]
    return [bool(fitting(query, pools[query.pool])[first]) for query, first in nearest]


def short_queries(pools: Mapping[str, Pool], seed: int) -> list[Query]:
    """A hundred queries as people type them: of all that each form of `SHORT` can say, shuffled, the first that fit any candidate."""
    rng = np.random.default_rng([seed, 5])
    return [query for form, count in SHORT.items() for query in _first_answerable(form, count, pools, rng)]


def fitting(query: Query, pool: Pool) -> NDArray[np.bool_]:
    """Which candidates the query fits: what it does not tell is left open."""
    told = np.array([facts_of_wording(query.wording, whole=False)], np.int8)
    scenes = np.array([facts_of_scene(scene) for scene in pool.scenes], np.int8)
    found: NDArray[np.bool_] = (fits_by_ear if query.modality == "audio" else fits)(told, scenes)[0]
    return found


def shipped_way(weights: Path) -> Embed:
    """Embedding by the encoders that a table is made with, from a folder with a space.toml."""
    from encoders import registry
    from encoders.spaces import load_space
    from encoders.stacking import encoded

    space = load_space(str(weights / "space.toml"))
    encoders = {modality: registry.build(spec, dtype="float32") for modality, spec in space.encoders.items()}
    return lambda modality, media: encoded(encoders[modality], [encoders[modality].prepare(medium) for medium in media])


def _first_answerable(form: str, count: int, pools: Mapping[str, Pool], rng: np.random.Generator) -> list[Query]:
    sayable = list(_sayable(form))
    shuffled = (sayable[i] for i in rng.permutation(len(sayable)))
    return [query for query in shuffled if fitting(query, pools[query.pool]).any()][:count]


def _sayable(form: str) -> Iterator[Query]:
    skies = WEATHERS[1:] if form.endswith("weather") else ("none",)
    sounds = form.startswith("sound")
    for kind in SHAPES if form == "shape" else SOUNDERS:
        for color in COLORS[:1] if sounds else COLORS:
            for sky in skies:
                mention = Mention(Thing(kind, color, "big"), size=False, color=not sounds, action=sounds)
                pool = "A unseen" if form == "shape" else "B"
                yield Query(pool, "audio" if sounds else "image", Wording((mention,), None, sky))
