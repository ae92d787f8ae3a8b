"""Recommendations for all users of a table of interactions at once: one exact product over all vectors instead of a search for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import polars as pl

from retrieval import ranking
from retrieval.means import means
from retrieval.merging import diverse, interleave
from retrieval.recommend.catalogue import Catalogue
from retrieval.recommend.interactions import popularity
from retrieval.recommend.recommend import POOL
from retrieval.recommend.taste import Taste, TasteSettings, taste

AT_ONCE = 256  # users whose lists are made together


@dataclass(frozen=True)
class Lists:
    """A list for each user.

    Parameters
    ----------
    users : in the order of the rows below.
    offers : int64 (users, limit), places among the catalogue's offered objects, best first; -1 after the last.
    tastes : int64 (users, limit), the number of the taste's vector each is near to, from 1; 0 for what is popular, and after the last.
    scores : float32 (users, limit), cosine to that vector; NaN for what is popular, and after the last.
    vectors : int64 (users,), of how many vectors each taste is; 0 for those who get what is popular.
    """

    users: Sequence[str]
    offers: np.ndarray
    tastes: np.ndarray
    scores: np.ndarray
    vectors: np.ndarray

    def frame(self, catalogue: Catalogue) -> pl.DataFrame:
        """One row an offer: user, rank (from 1), uri, medium, score and taste, both null for what is popular."""
        rows, ranks = np.nonzero(self.offers >= 0)
        objects = catalogue.offered.objects[self.offers[rows, ranks]].select("uri", "medium")
        told = pl.DataFrame({"user": pl.Series(list(self.users), dtype=pl.String)[rows], "rank": ranks + 1})
        figures = pl.DataFrame({"score": self.scores[rows, ranks], "taste": self.tastes[rows, ranks]})
        return pl.concat([told, objects, figures], how="horizontal").with_columns(
            score=pl.col("score").fill_nan(None), taste=pl.when(pl.col("taste") > 0).then("taste")
        )


class _User(NamedTuple):
    """Row in the lists, places of what was seen among the offered, and the taste."""

    row: int
    seen: np.ndarray
    taste: Taste


def recommend_all(
    catalogue: Catalogue,
    users: Sequence[str],
    thought: pl.DataFrame,
    *,
    limit: int = 10,
    settings: TasteSettings | None = None,
    diversity: float = 0.0,
) -> Lists:
    """What `retrieval.recommend.recommend.recommend_to` gives each of some users, by exact search.

    Parameters
    ----------
    users : each once.
    thought : user, content, weight, each pair once, as `interactions.opinions` gives them; of other users, too: they make what is popular.
    limit, settings, diversity : as in `recommend`.
    """
    shape = (len(users), limit)
    lists = Lists(users, np.full(shape, -1), np.zeros(shape, np.int64), np.full(shape, np.nan, np.float32), np.zeros(len(users), np.int64))
    ranked = favourites(catalogue, thought)
    with_taste: list[_User] = []
    for user in _users(catalogue, users, thought, settings):
        lists.vectors[user.row] = len(user.taste.vectors)
        if len(user.taste.vectors):
            with_taste.append(user)
        else:
            left = ranked[~np.isin(ranked, user.seen)][:limit]
            lists.offers[user.row, : len(left)] = left
    with_taste.sort(key=lambda user: len(user.seen))  # those who have seen much need longer lists: they share a block
    for low in range(0, len(with_taste), AT_ONCE):
        _fill(lists, catalogue, with_taste[low : low + AT_ONCE], limit, diversity)
    return lists


def favourites(catalogue: Catalogue, thought: pl.DataFrame) -> np.ndarray:
    """Places among what is offered of all that anybody likes, what most like first: int64 (liked,)."""
    liked = popularity(thought.select("user", "content", "weight")).get_column("content")
    places: np.ndarray = catalogue.places[liked.to_numpy()]
    return places[places >= 0]


def seen_by(catalogue: Catalogue, users: Sequence[str], thought: pl.DataFrame) -> Iterator[np.ndarray]:
    """Places among what is offered of what each user has met."""
    contents, _, bounds = _mine(users, thought)
    for low, high in pairwise(bounds.tolist()):
        seen = catalogue.places[contents[low:high]]
        yield seen[seen >= 0]


def _mine(users: Sequence[str], thought: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Contents and weights of some users, one user after the other, and where each one begins and the last ends."""
    rows = pl.DataFrame({"user": pl.Series(list(users), dtype=pl.String), "row": np.arange(len(users))})
    mine = thought.join(rows, on="user").sort("row", "content")
    contents, row, weights = (mine.get_column(name).to_numpy() for name in ("content", "row", "weight"))
    return contents, weights, np.searchsorted(row, np.arange(len(users) + 1))


def _users(catalogue: Catalogue, users: Sequence[str], thought: pl.DataFrame, settings: TasteSettings | None) -> Iterator[_User]:
    contents, weights, bounds = _mine(users, thought)
    met, which = np.unique(contents, return_inverse=True)
    vectors = catalogue.vectors_of(met)
    for user, seen in enumerate(seen_by(catalogue, users, thought)):
        part = slice(int(bounds[user]), int(bounds[user + 1]))
        own, weight = vectors[which[part]], weights[part]
        made = taste(own[weight > 0], weight[weight > 0], own[weight < 0], -weight[weight < 0], settings)
        yield _User(user, seen, made)


def _fill(lists: Lists, catalogue: Catalogue, users: Sequence[_User], limit: int, diversity: float) -> None:
    offered = catalogue.offered
    if not offered.objects.height:
        return
    vectors, owner = offered.of(np.arange(offered.objects.height))
    queries = np.concatenate([user.taste.vectors for user in users])
    wanted = limit * (POOL if diversity else 1)
    nearest = ranking.nearest(queries, vectors, wanted + max(len(user.seen) for user in users), candidate_of=owner)
    at = 0
    for user in users:
        tastes = user.taste.vectors
        named = [names[~np.isin(names, user.seen)][:wanted] for names in nearest[at : at + len(tastes)]]
        at += len(tastes)
        if diversity:
            named = [_spread(catalogue, vector, names, diversity, limit) for vector, names in zip(tastes, named, strict=True)]
        turns = interleave([names.tolist() for names in named], user.taste.shares.tolist(), limit)
        numbers = np.array([number for number, _ in turns], np.int64)
        offers = np.array([named[number][place] for number, place in turns], np.int64)
        lists.offers[user.row, : len(turns)], lists.tastes[user.row, : len(turns)] = offers, numbers + 1
        lists.scores[user.row, : len(turns)] = _scores(catalogue, offers, tastes)[np.arange(len(turns)), numbers]


def _spread(catalogue: Catalogue, vector: np.ndarray, names: np.ndarray, diversity: float, limit: int) -> np.ndarray:
    order = np.argsort(names)
    found = np.empty((len(names), len(vector)), np.float32)
    found[order] = means(*catalogue.offered.of(names[order]))
    chosen: np.ndarray = names[diverse(_scores(catalogue, names, vector[None])[:, 0], found, diversity, limit)]
    return chosen


def _scores(catalogue: Catalogue, names: np.ndarray, tastes: np.ndarray) -> np.ndarray:
    """Cosine of each object's best segment to each vector of a taste: float32 (names, tastes)."""
    scores = np.empty((len(names), len(tastes)), np.float32)
    order = np.argsort(names)
    if len(names):
        vectors, owner = catalogue.offered.of(names[order])
        cosines = vectors.astype(np.float32) @ tastes.T
        scores[order] = np.maximum.reduceat(cosines, np.flatnonzero(np.diff(owner, prepend=-1)), axis=0)
    return scores
