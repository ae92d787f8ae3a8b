"""What somebody may like next: the objects nearest to a taste, none that was seen before, in proportion to its interests.

What was liked counts by the mean of its segments' vectors, so that a long video has no more votes than a picture; what is offered counts by
its best segment, as in a search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from retrieval import known_objects
from retrieval.errors import QueryError
from retrieval.filters import EVERYTHING, Filter
from retrieval.known_objects import Known
from retrieval.merging import diverse, interleave
from retrieval.query import Hit, Searcher
from retrieval.recommend.interactions import Interactions, opinions
from retrieval.recommend.popular import most_liked
from retrieval.recommend.taste import Taste, TasteSettings, taste

POOL = 5  # objects looked at for each one wanted, where they are to be diverse


class NoTasteError(QueryError):
    """Nothing is known of what somebody likes."""


@dataclass(frozen=True)
class Recommendation:
    """An object, by its best segment, and why it is offered.

    Parameters
    ----------
    hit : as a search gives it; for a popular object its first segment, and a score of 0.
    taste : the number of the taste's vector it is near to, from 1; `None` for a popular object.
    because : what was liked, went into that vector, and is nearest to this object.
    likes : how many users like a popular object.
    """

    hit: Hit
    taste: int | None = None
    because: str | None = None
    likes: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Flat, for JSON; the score of a popular object is null."""
        score = None if self.taste is None else self.hit.score
        return {**asdict(self.hit), "score": score, "taste": self.taste, "because": self.because, "likes": self.likes}


@dataclass(frozen=True)
class Recommended:
    """An answer.

    Parameters
    ----------
    offers : best first; fewer than asked for where nothing is left.
    shares : of each vector of the taste; none where what is popular stands in for it.
    liked, disliked, neutral : how many objects the table holds of each.
    copies : how many more objects were left out since they hold what was seen.
    unknown : what was named and the table does not hold.
    """

    offers: tuple[Recommendation, ...]
    shares: tuple[float, ...]
    liked: int
    disliked: int
    neutral: int
    copies: int
    unknown: tuple[str, ...]

    @property
    def popular(self) -> bool:
        """Whether it is what is popular, since no taste is known."""
        return not self.shares


@dataclass(frozen=True)
class _Seen:
    """What somebody thinks of the objects that are known: `weights` in the order of `known`, contents together; `uris` with all copies."""

    known: Known
    weights: np.ndarray
    uris: list[str]
    unknown: tuple[str, ...]

    def told(self, offers: Sequence[Recommendation], shares: Sequence[float]) -> Recommended:
        counts = (int((self.weights > 0).sum()), int((self.weights < 0).sum()), int((self.weights == 0).sum()))
        copies = len(self.uris) - self.known.objects.height
        return Recommended(tuple(offers), tuple(shares), *counts, copies, self.unknown)


def recommend(
    searcher: Searcher,
    weights: Mapping[str, float],
    *,
    keep: Filter = EVERYTHING,
    limit: int = 10,
    settings: TasteSettings | None = None,
    diversity: float = 0.0,
) -> Recommended:
    """The objects that somebody may like who thinks so of these.

    Parameters
    ----------
    weights : by URI: positive for liked, negative for disliked, 0 for neither but seen.
    keep : what is offered at all.
    limit : most objects.
    settings : how the taste is made.
    diversity : from 0, by nearness alone, to 1; see `retrieval.merging.diverse`.

    Raises
    ------
    NoTasteError : the table holds nothing of what is liked, or likes and dislikes cancel each other.
    """
    return _by_taste(searcher, _seen(searcher, weights), keep, limit, settings, diversity)


def recommend_to(
    searcher: Searcher,
    interactions: Interactions,
    user: str,
    *,
    keep: Filter = EVERYTHING,
    limit: int = 10,
    settings: TasteSettings | None = None,
    half_life: float | None = None,
    diversity: float = 0.0,
) -> Recommended:
    """As `recommend`, to a user of a table of interactions; what most users like, where nothing is known of what this one does.

    Parameters
    ----------
    half_life : days after which an interaction weighs half; `None`: it never fades.

    Raises
    ------
    QueryError : there is no such user, or nobody likes anything that the table holds.
    """
    thought = opinions(interactions.of(user), half_life)
    seen = _seen(searcher, dict(thought.select("item", "weight").iter_rows()))
    try:
        return _by_taste(searcher, seen, keep, limit, settings, diversity)
    except NoTasteError:
        popular = most_liked(searcher, interactions, keep.excluding(seen.uris), limit, half_life)
        return seen.told([Recommendation(hit, likes=likes) for hit, likes in popular], ())


def _seen(searcher: Searcher, weights: Mapping[str, float]) -> _Seen:
    known = known_objects.read(searcher.table, weights)
    objects = known.objects.with_columns(weight=pl.Series([weights[uri] for uri in known.uris], dtype=pl.Float64))
    together = objects.select(pl.col("weight").sum().over("content_hash")).to_series().to_numpy()
    held = set(known.uris)
    unknown = tuple(uri for uri in weights if uri not in held)
    return _Seen(known, together, known_objects.with_contents(searcher.table, set(known.contents)), unknown)


def _by_taste(searcher: Searcher, seen: _Seen, keep: Filter, limit: int, settings: TasteSettings | None, diversity: float) -> Recommended:
    liked, made = _taste(seen, settings)
    keep = keep.excluding(seen.uris)
    lists = [_nearest(searcher, vector, keep, limit, diversity) for vector in made.vectors]
    turns = interleave([[content for _, content in each] for each in lists], made.shares.tolist(), limit)
    hits = [(number, lists[number][place][0]) for number, place in turns]
    return seen.told(explained(searcher, hits, liked, made), made.shares.tolist())


def _taste(seen: _Seen, settings: TasteSettings | None) -> tuple[Known, Taste]:
    """What is liked, each content once, and the taste made of it."""
    once = seen.known.objects.get_column("content_hash").is_first_distinct().to_numpy()
    likes, dislikes = once & (seen.weights > 0), once & (seen.weights < 0)
    if not likes.any():
        some = f"; it does not hold {seen.unknown[0]!r} and {len(seen.unknown) - 1} more" if seen.unknown else ""
        raise NoTasteError(f"the table holds nothing that is liked{some}; name URIs as `sensorium search` prints them")
    vectors = seen.known.vectors
    made = taste(vectors[likes], seen.weights[likes], vectors[dislikes], -seen.weights[dislikes], settings)
    if not len(made.vectors):
        raise NoTasteError("likes and dislikes cancel each other out; leave some out, or lower beta")
    return Known(seen.known.objects.filter(pl.Series(likes)), vectors[likes]), made


def _nearest(searcher: Searcher, vector: np.ndarray, keep: Filter, limit: int, diversity: float) -> list[tuple[Hit, str]]:
    """The first `limit` objects near one vector and the content of each, none twice."""
    wanted = limit * (POOL if diversity else 1)
    found: dict[str, tuple[Hit, str]] = {}
    vectors: dict[str, np.ndarray] = {}
    asked: list[Hit] = []
    while len(found) < wanted:
        hits = searcher.nearest(vector[None], keep=keep.excluding(hit.uri for hit in asked), limit=wanted, per_object=True)
        asked += hits
        known = known_objects.read(searcher.table, [hit.uri for hit in hits])
        rows = {uri: row for row, uri in enumerate(known.uris)}
        for hit in hits:
            content = known.contents[rows[hit.uri]]
            found.setdefault(content, (hit, content))
            vectors.setdefault(content, known.vectors[rows[hit.uri]])
        if len(hits) < wanted:
            break
    offers = list(found.values())[:wanted]
    if not diversity or not offers:
        return offers
    scores = np.array([hit.score for hit, _ in offers])
    order = diverse(scores, np.stack([vectors[content] for _, content in offers]), diversity, limit)
    return [offers[place] for place in order]


def explained(searcher: Searcher, hits: Sequence[tuple[int, Hit]], liked: Known, made: Taste) -> list[Recommendation]:
    """Hits by the vector of a taste that found each, with the nearest of the liked objects that went into that vector."""
    known = known_objects.read(searcher.table, [hit.uri for _, hit in hits])
    vectors = dict(zip(known.uris, known.vectors, strict=True))
    offers = []
    for number, hit in hits:
        near = np.where(made.of == number, liked.vectors @ vectors[hit.uri], -np.inf)
        offers.append(Recommendation(hit, number + 1, liked.uris[int(near.argmax())]))
    return offers
