"""What a table's vector index finds of what exact search finds, for queries of one direction.

Copies of one object score the same, and which of them an index lists is chance. So a listed object counts as found if it scores at least
what the tenth of the exact ten scores, and right answers stand behind all wrong ones that score the same, as they do in exact search.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from retrieval import ranking
from retrieval.filters import Filter
from retrieval.ranking import DEPTH, FAR, TIE, Figure
from retrieval.score.questions import Chosen, Question, Scored

QUERIES = 500  # asked of an index, one by one; more would make an hour of what takes a minute
SEVERAL = 10  # segments asked of an index for each object wanted, where objects have several

Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class ThroughIndex:
    """What the table's vector index gives for some of the queries.

    Parameters
    ----------
    found : share of the exact ten nearest, or of what scores as much, that the index lists among its first ten.
    lost : recall@10 exact minus through the index, of the same queries; below 0 only where the index leaves out better, wrong answers.
    """

    queries: int
    figures: Figures
    found: float
    lost: Figure


def through_index(scored: Scored, name: str, question: Question, positions: np.ndarray, seed: int) -> ThroughIndex | None:
    """The same queries, or some of them, asked as `search` asks.

    None where texts are looked for, the table has no vector index, or not all of its objects are candidates: the index knows them all.
    """
    table, medium = scored.searcher.table, name.partition(">")[2]
    objects = scored.held.objects.filter(pl.col("medium") == medium).height
    if medium == "text" or objects != len(question.candidates.places) or not any(i.columns == ["vector"] for i in table.list_indices()):
        return None
    drawn = np.sort(np.random.default_rng(seed).permutation(len(positions))[:QUERIES])
    some = _drawn(question, drawn)
    listed = _lists(scored, medium, some)
    scores, exact = _scores(some, listed), _scores(some, some.nearest())
    found = positions_in_lists(some, listed, scores)
    share = (scores >= exact.min(axis=1, keepdims=True) - TIE).sum(axis=1).mean() / exact.shape[1]
    lost = ranking.differences(found, positions[drawn], seed=seed)["recall@10"]
    return ThroughIndex(len(drawn), ranking.figures(found, seed=seed), float(share), lost)


def positions_in_lists(question: Question, listed: Sequence[np.ndarray], scores: np.ndarray) -> np.ndarray:
    """`ranking.positions` in lists that an index made: (queries, 10), `FAR` for right answers that a list lacks.

    Wrong candidates that score the same as a right answer come before it, whether or not the list holds them.

    Parameters
    ----------
    listed : candidates of each query, best first, each once.
    scores : of the listed, float32 (queries, 10), NaN after the last.
    """
    answers = np.split(question.right[:, 1], np.searchsorted(question.right[:, 0], np.arange(1, len(listed))))
    tied = _tied(question, scores)
    found = np.zeros((len(listed), DEPTH), np.int64)
    for query, (names, right) in enumerate(zip(listed, answers, strict=True)):
        is_right, score = np.isin(names, right), scores[query, : len(names)]
        places = np.flatnonzero(is_right)
        better = [np.count_nonzero(~is_right[:place] & (np.abs(score[:place] - score[place]) > TIE)) for place in places]
        found[query, : min(len(right), DEPTH)] = FAR
        found[query, : len(places)] = np.sort(np.arange(1, len(places) + 1) + better + tied[query, places])
    return found


def _drawn(question: Question, drawn: np.ndarray) -> Question:
    """The same question by some of its queries, ascending."""
    right = question.right[np.isin(question.right[:, 0], drawn)]
    return Question(
        Chosen(question.queries.held, question.queries.places[drawn]),
        question.candidates,
        np.stack([np.searchsorted(drawn, right[:, 0]), right[:, 1]], axis=1),
    )


def _lists(scored: Scored, medium: str, question: Question) -> list[np.ndarray]:
    """What the index lists for each query: at most ten candidates, best first."""
    held, places = question.candidates
    place_of = dict(question.candidates.contents().select("uri", "place").iter_rows())
    single = bool((held.objects[places].get_column("rows") == 1).all())
    limit = DEPTH * (1 if single else SEVERAL)
    listed = []
    for query in question.queries.places.tolist():
        hits = scored.searcher.nearest(question.queries.held.rows_of(query), keep=Filter(media=(medium,)), limit=limit)
        uris = list(dict.fromkeys(hit.uri for hit in hits))[:DEPTH]
        listed.append(np.array([place_of[uri] for uri in uris], np.int64))
    return listed


def _scores(question: Question, lists: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    """Exact scores of at most ten candidates of each query: float32 (queries, the longest list), NaN after the last."""
    scores = np.full((len(lists), max(map(len, lists))), np.nan, np.float32)
    held, places = question.candidates
    for query, names in enumerate(lists):
        rows = question.queries.held.rows_of(int(question.queries.places[query]))
        for column, name in enumerate(names):
            scores[query, column] = (rows @ held.rows_of(int(places[name])).T).max()
    return scores


def _tied(question: Question, levels: np.ndarray) -> np.ndarray:
    """How many wrong candidates score the same as each of some levels (queries, k), but for rounding: int64 of the same shape."""
    queries, query_of = question.queries.held.of(question.queries.places)
    candidates, candidate_of = question.candidates.held.of(question.candidates.places)
    tied = np.zeros(levels.shape, np.int64)
    for some, scores in ranking.wrong_scores(queries, candidates, question.right, query_of=query_of, candidate_of=candidate_of):
        for column in range(levels.shape[1]):
            tied[some, column] += np.count_nonzero(np.abs(scores - levels[some, column, None]) <= TIE, axis=1)
    return tied
