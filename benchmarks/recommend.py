"""Recommendations to a made-up population over drawn pictures: one vector or several, popularity, chance: `python -m benchmarks.recommend`.

Each user has one to three hidden interests ("red things", "dogs", "night", "blue trains") and likes pictures of them, those that are
popular more often, and some of anything; now and then one dislikes what is none of them. What the recommender sees is the vectors of the
pictures and who liked which, never an interest. The last like of each user is to be foretold. "knows the interests" is what could be
reached at best: it offers pictures of the true interests, in their true shares, the most popular first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from benchmarks.material import machine
from encoders import registry
from encoders.miniature.draw import draw_picture
from encoders.miniature.scenes import COLORS, SOUNDERS, WEATHERS, Scene, sample
from encoders.spaces import load_space
from encoders.stacking import encoded
from retrieval.candidates import Candidates
from retrieval.merging import interleave
from retrieval.recommend import catalogue as catalogues
from retrieval.recommend.catalogue import Catalogue
from retrieval.recommend.interactions import match, opinions, read
from retrieval.recommend.recommend_all import recommend_all
from retrieval.recommend.recommend_evaluation import ONE, POPULARITY, RANDOM, SEVERAL, divide, figures, popular_lists, random_lists
from retrieval.recommend.taste import TasteSettings

ORACLE = "knows the interests"
FEWEST = 15  # pictures that an interest needs, so that something is left to be foretold
DISLIKES = 0.1


class Interest(NamedTuple):
    """What somebody likes; empty fields do not matter."""

    color: str = ""
    kind: str = ""
    weather: str = ""

    def fits(self, scene: Scene) -> bool:
        """Whether a scene is of it."""
        thing = any(self.color in ("", each.color) and self.kind in ("", each.kind) for each in scene.things)
        return thing and self.weather in ("", scene.weather)


class Person(NamedTuple):
    """Interests as numbers, and the share of each."""

    interests: np.ndarray
    shares: np.ndarray


def main() -> None:
    """Parse, make, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--noise", type=float, default=0.2, help="share of likes that are of anything")
    parser.add_argument("--popular", type=float, default=0.5, help="a picture is liked in proportion to 1 / its rank ** this; 0: all alike")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--space", default="miniature")
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    scenes = [sample(rng, "B", None) for _ in range(asked.items)]
    fits = fitting(scenes)
    weights = rng.permutation(1 / np.arange(1, asked.items + 1) ** asked.popular)
    people = [person(rng, fits) for _ in range(asked.users)]
    rows = [row for number, each in enumerate(people) for row in lived(rng, f"user {number:06}", each, fits, weights, asked.noise)]
    began = time.monotonic()
    catalogue = pictured(scenes, asked.space, asked.seed)
    print(f"{asked.items:,} pictures in space {asked.space}, {time.monotonic() - began:.1f} s; {asked.users:,} users, {len(rows):,} likes")
    measure(
        catalogue, pl.DataFrame(rows, schema=["user", "item", "weight", "time"], orient="row"), people, fits, weights, asked.k, asked.seed
    )
    print(machine())


def fitting(scenes: Sequence[Scene]) -> np.ndarray:
    """Which scenes are of which interest, bool (interests, scenes): of one colour, kind or weather, or of a kind in one colour."""
    wanted = [Interest(color=color) for color in COLORS] + [Interest(kind=kind) for kind in SOUNDERS]
    wanted += [Interest(weather=sky) for sky in WEATHERS[1:]] + [Interest(color, kind) for color in COLORS for kind in SOUNDERS]
    fits = np.array([[interest.fits(scene) for scene in scenes] for interest in wanted])
    return fits[fits.sum(axis=1) >= FEWEST]


def person(rng: np.random.Generator, fits: np.ndarray) -> Person:
    """One to three interests, none of which holds another's pictures for the most part."""
    wanted, chosen = int(rng.integers(1, 4)), []
    for interest in rng.permutation(len(fits)):
        if all((fits[interest] & fits[other]).sum() < 0.5 * min(fits[interest].sum(), fits[other].sum()) for other in chosen):
            chosen.append(int(interest))
        if len(chosen) == wanted:
            break
    return Person(np.array(chosen), rng.dirichlet(np.full(len(chosen), 5.0)))


def lived(
    rng: np.random.Generator, name: str, who: Person, fits: np.ndarray, weights: np.ndarray, noise: float
) -> list[tuple[str, str, float, float]]:
    """What somebody liked and disliked, in order, nothing twice."""
    rows, left = [], weights.copy()
    own = fits[who.interests].any(axis=0)
    for moment in range(int(rng.integers(8, 25))):
        disliked = rng.random() < DISLIKES
        pool = ~own if disliked else np.ones(len(own), bool) if rng.random() < noise else fits[rng.choice(who.interests, p=who.shares)]
        chances = left * pool
        if not chances.any():
            continue
        item = int(rng.choice(len(own), p=chances / chances.sum()))
        left[item] = 0
        rows.append((name, f"{item:06}", -1.0 if disliked else 1.0, float(moment)))
    return rows


def pictured(scenes: Sequence[Scene], space: str, seed: int) -> Catalogue:
    """The scenes' pictures as a table would hold them."""
    encoder = registry.build(load_space(space).encoders["image"], dtype="float32")
    vectors = encoded(encoder, [encoder.prepare(draw_picture(scene, seed * 10**6 + number)) for number, scene in enumerate(scenes)])
    names = [f"{number:06}" for number in range(len(scenes))]
    objects = pl.DataFrame({"medium": "image", "uri": names, "content_hash": names, "rows": 1, "first": np.arange(len(scenes))})
    return catalogues.of(Candidates(objects, vectors.astype(np.float16)))


def measure(
    catalogue: Catalogue, rows: pl.DataFrame, people: Sequence[Person], fits: np.ndarray, weights: np.ndarray, k: int, seed: int
) -> None:
    """Print the figures of every way."""
    interactions = read(rows)
    division = divide(match(interactions, catalogue.items), catalogue.contents, timed=True)
    users, thought = division.users, opinions(division.train)
    began = time.monotonic()
    several = recommend_all(catalogue, users, thought, limit=k)
    seconds = time.monotonic() - began
    lists = {
        SEVERAL: several.offers,
        ONE: recommend_all(catalogue, users, thought, limit=k, settings=TasteSettings(most=1)).offers,
        POPULARITY: popular_lists(catalogue, users, thought, k),
        RANDOM: random_lists(catalogue, users, thought, k, seed),
    }
    kept = [people[int(user.split()[1])] for user in users]
    lists[ORACLE] = best_lists(catalogue, users, thought, kept, fits, weights, k)
    print(f"{len(users):,} likes held out; lists by several vectors took {seconds:.1f} s, {(several.vectors > 1).mean():.0%} have several")
    print_figures(lists, figures(catalogue, division, lists, seed), kept, fits, k)
    for number in (1, 2, 3):
        some = np.flatnonzero([len(who.interests) == number for who in kept])
        told = ", ".join(f"{name} {share_reached(lists[name], kept, fits)[some].mean():.3f}" for name in (SEVERAL, ONE))
        print(f"{len(some):,} users with {number} interest{'s'[: number - 1]}: share of their interests in the list: {told}")


def best_lists(
    catalogue: Catalogue,
    users: Sequence[str],
    thought: pl.DataFrame,
    people: Sequence[Person],
    fits: np.ndarray,
    weights: np.ndarray,
    k: int,
) -> np.ndarray:
    """What one who knows the interests and what is popular offers: int64 (users, k)."""
    met = dict(thought.group_by("user").agg("content").iter_rows())
    found = np.full((len(users), k), -1)
    for row, (user, who) in enumerate(zip(users, people, strict=True)):
        left = weights.copy()
        left[catalogue.places[met[user]]] = 0
        lists = [[int(item) for item in np.argsort(-left * fits[each])[:k] if left[item] * fits[each][item]] for each in who.interests]
        offers = [lists[number][place] for number, place in interleave(lists, who.shares.tolist(), k)]
        found[row, : len(offers)] = offers
    return found


def share_reached(offers: np.ndarray, people: Sequence[Person], fits: np.ndarray) -> np.ndarray:
    """Of each user's interests, the share that at least one offer is of: float64 (users,)."""
    return np.array([fits[who.interests][:, row[row >= 0]].any(axis=1).mean() for who, row in zip(people, offers, strict=True)])


def print_figures(lists: Mapping[str, np.ndarray], told: Mapping, people: Sequence[Person], fits: np.ndarray, k: int) -> None:
    """A table in Markdown."""
    columns = ("way", f"recall@{k}", f"nDCG@{k}", "over popularity", "coverage", "offers of an interest", "interests reached")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, method in told.items():
        offers = lists[name]
        of_one = np.mean(
            [fits[who.interests].any(axis=0)[row[row >= 0]].mean() for who, row in zip(people, offers, strict=True) if (row >= 0).any()]
        )
        cells = [f"{f.value:.3f} ({f.low:.3f}-{f.high:.3f})" for f in (method.recall, method.ndcg)]
        cells += [f"{method.gain.value:+.3f} ({method.gain.low:+.3f} to {method.gain.high:+.3f})" if method.gain else ""]
        cells += [f"{method.coverage:.1%}", f"{of_one:.1%}", f"{share_reached(offers, people, fits).mean():.1%}"]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
