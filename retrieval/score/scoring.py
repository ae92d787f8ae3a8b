"""How well a table answers pairs that are known: every direction, mixed lists, the shape of the space; one table, or two side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import polars as pl

from encoders.spec import MODALITIES
from retrieval import ranking
from retrieval.score import geometry
from retrieval.score.questions import MIXED, Chosen, Question, Scored, chosen_of, linked, question_of, questions_of
from retrieval.score.through_index import Figures, ThroughIndex, through_index

SHAPE_ROWS = 5_000  # of a modality, from which the shape of the space is told: uniformity takes all pairs of them


@dataclass(frozen=True)
class Direction:
    """Figures of one direction; `answers` is the mean number of right answers."""

    queries: int
    candidates: int
    answers: float
    figures: Figures
    index: ThroughIndex | None = None


@dataclass(frozen=True)
class MixedLists:
    """Texts asked of all media at once.

    Parameters
    ----------
    top_ten : share of each medium among the ten nearest, over all queries.
    due : what it would be if each of the ten were a right answer, drawn evenly.
    recall : by medium, the share of queries with a right answer of it that have one among the ten nearest.
    """

    queries: int
    candidates: int
    figures: Figures
    top_ten: Mapping[str, float]
    due: Mapping[str, float]
    recall: Mapping[str, float]


@dataclass(frozen=True)
class Shape:
    """Gap between the modalities' means, alignment of pairs, uniformity of each modality: see `retrieval.score.geometry`."""

    gap: Mapping[str, float]
    alignment: Mapping[str, float]
    uniformity: Mapping[str, float]


@dataclass(frozen=True)
class Score:
    """All figures of one table."""

    directions: Mapping[str, Direction]
    mixed: MixedLists | None
    shape: Shape


def score(
    pairs: pl.DataFrame, table: Scored, against: Scored | None = None, *, among_pairs: bool = False, seed: int = 0
) -> tuple[Score, Score | None, Mapping[str, Figures]]:
    """Figures of a table, of another one, and of their paired differences by direction (the first minus the other).

    Parameters
    ----------
    pairs : for each modality m a column m_content, hex SHA-256 or null; texts by the SHA-256 of their UTF-8.
    against : another table. Where it has a modality at all, only objects and texts that both tables hold are asked and found, so that both
        get the very same questions; directions it knows nothing of are scored for the first alone.
    among_pairs : whether only objects of the pairs are candidates, instead of all that the table holds.
    seed : of the bootstrap, and of what is drawn for the index and the shape.
    """
    modalities = [m for m in MODALITIES if f"{m}_content" in pairs.columns]
    mine, theirs = chosen_of(pairs, modalities, table, against, among_pairs)
    scores, positions = [], []
    for scored, chosen in ((table, mine), (against, theirs)):
        if scored is None:
            continue
        questions = questions_of(pairs, chosen)
        found = {name: question.positions() for name, question in questions.items()}
        directions = {
            name: _direction(question, found[name], through_index(scored, name, question, found[name], seed), seed)
            for name, question in questions.items()
            if name != MIXED
        }
        mixed = _mixed(questions[MIXED], found[MIXED], seed) if MIXED in questions else None
        scores.append(Score(directions, mixed, _shape(pairs, chosen, seed)))
        positions.append(found)
    if against is None:
        return scores[0], None, {}
    both = [name for name in positions[0] if name in positions[1]]
    return scores[0], scores[1], {name: ranking.differences(positions[1][name], positions[0][name], seed=seed) for name in both}


def _direction(question: Question, positions: np.ndarray, index: ThroughIndex | None, seed: int) -> Direction:
    n = len(positions)
    figures = ranking.figures(positions, seed=seed)
    return Direction(n, len(question.candidates.places), len(question.right) / n, figures, index)


def _mixed(question: Question, positions: np.ndarray, seed: int) -> MixedLists:
    media = question.candidates.contents().get_column("medium").to_numpy()
    nearest = question.nearest()
    kinds = sorted(set(media.tolist()))
    right = pl.DataFrame({"query": question.right[:, 0], "medium": media[question.right[:, 1]]})
    due = right.group_by("query", "medium").len().with_columns(share=pl.col("len") / pl.col("len").sum().over("query"))
    hits = _hits(nearest, question.right)
    recall = {}
    for kind in kinds:
        asked = right.filter(pl.col("medium") == kind).get_column("query").unique().to_numpy()
        if len(asked):
            recall[kind] = float((hits[asked] & (media[nearest[asked]] == kind)).any(axis=1).mean())
    return MixedLists(
        queries=len(positions),
        candidates=len(media),
        figures=ranking.figures(positions, seed=seed),
        top_ten={kind: float((media[nearest] == kind).mean()) for kind in kinds},
        due={kind: float(due.filter(pl.col("medium") == kind).get_column("share").sum()) / len(positions) for kind in kinds},
        recall=recall,
    )


def _hits(nearest: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Which of the nearest are right: bool (queries, k)."""
    many = int(right[:, 1].max()) + 1 + int(nearest.max())
    keys = nearest + np.arange(len(nearest))[:, None] * many
    return np.isin(keys, right[:, 0] * many + right[:, 1])


def _shape(pairs: pl.DataFrame, chosen: Mapping[str, Chosen], seed: int) -> Shape:
    """From the objects and texts of the pairs; alignment from the best two segments of each pair."""
    rng = np.random.default_rng(seed)
    rows, gap, alignment, uniformity = {}, {}, {}, {}
    for m in (m for m in chosen if m != MIXED):
        wanted = pairs.get_column(f"{m}_content").drop_nulls().unique().implode()
        places = chosen[m].contents().filter(pl.col("content").is_in(wanted)).get_column("place").to_numpy()
        vectors, _ = chosen[m].held.of(chosen[m].places[places])
        if len(vectors):
            rows[m] = vectors[np.sort(rng.permutation(len(vectors))[:SHAPE_ROWS])]
        if len(vectors) > 1:
            uniformity[m] = geometry.uniformity(rows[m])
    for a, b in permutations(rows, 2):
        if MODALITIES.index(a) > MODALITIES.index(b):
            continue
        question = question_of(linked(pairs, a, b), chosen[a], chosen[b])
        gap[f"{a}-{b}"] = geometry.modality_gap(rows[a], rows[b])
        if question is not None:
            alignment[f"{a}-{b}"] = geometry.alignment(*_best_rows(question, rng))
    return Shape(gap, alignment, uniformity)


def _best_rows(question: Question, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For pairs of a question, the rows of both sides that are nearest to each other."""
    drawn = question.right[np.sort(rng.permutation(len(question.right))[:SHAPE_ROWS])]
    one, two = [], []
    for query, candidate in drawn.tolist():
        a = question.queries.held.rows_of(int(question.queries.places[query]))
        b = question.candidates.held.rows_of(int(question.candidates.places[candidate]))
        i, j = np.unravel_index(int(np.argmax(a @ b.T)), (len(a), len(b)))
        one.append(a[i])
        two.append(b[j])
    return np.stack(one), np.stack(two)
