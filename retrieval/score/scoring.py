"""How well a table answers pairs that are known: every direction, mixed lists, the shape of the space; one table, or two side by side.

A query is a distinct text or the content of a medium. Its right answers are all candidates with a content that stands beside it in a pair,
copies under other names included. An object of several segments scores by its best segment, on whichever side it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import NamedTuple

import numpy as np
import polars as pl

from encoders.spec import MODALITIES
from retrieval import ranking
from retrieval.candidates import Candidates
from retrieval.filters import Filter
from retrieval.query import Searcher
from retrieval.ranking import Figure
from retrieval.score import geometry

MIXED = "text>all"
INDEX_QUERIES = 500  # asked of an index, one by one; more would make an hour of what takes a minute
SHAPE_ROWS = 5_000  # of a modality, from which the shape of the space is told: uniformity takes all pairs of them
SEVERAL = 10  # segments asked of an index for each object wanted, where objects have several

Figures = Mapping[str, Figure]


@dataclass(frozen=True)
class Scored:
    """A table to be scored: its objects, and the pairs' texts as its space encodes queries; both sorted alike in any table."""

    searcher: Searcher
    held: Candidates
    texts: Candidates


@dataclass(frozen=True)
class ThroughIndex:
    """What the table's vector index gives for some of the queries.

    Parameters
    ----------
    found : share of the exact ten nearest that the index lists among its first ten.
    lost : recall@10 exact minus through the index, of the same queries.
    """

    queries: int
    figures: Figures
    found: float
    lost: Figure


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


class Chosen(NamedTuple):
    """Some of a table's objects or texts, by their ascending places."""

    held: Candidates
    places: np.ndarray

    def contents(self) -> pl.DataFrame:
        """place (among the chosen), content, medium, uri."""
        objects = self.held.objects[self.places].select("uri", "medium", content="content_hash")
        return objects.with_row_index("place").with_columns(pl.col("place").cast(pl.Int64))


class Question(NamedTuple):
    """Queries, candidates and which answers which, as places among them; query and candidate pairs are sorted."""

    queries: Chosen
    candidates: Chosen
    right: np.ndarray

    def positions(self) -> np.ndarray:
        """As `ranking.positions`."""
        queries, query_of = self.queries.held.of(self.queries.places)
        candidates, candidate_of = self.candidates.held.of(self.candidates.places)
        return ranking.positions(queries, candidates, self.right, query_of=query_of, candidate_of=candidate_of)

    def nearest(self) -> np.ndarray:
        """As `ranking.nearest`."""
        queries, query_of = self.queries.held.of(self.queries.places)
        candidates, candidate_of = self.candidates.held.of(self.candidates.places)
        return ranking.nearest(queries, candidates, query_of=query_of, candidate_of=candidate_of)


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
    mine, theirs = _chosen(pairs, modalities, table, against, among_pairs)
    scores, positions = [], []
    for scored, chosen in ((table, mine), (against, theirs)):
        if scored is None:
            continue
        questions = _questions(pairs, chosen)
        found = {name: question.positions() for name, question in questions.items()}
        directions = {
            name: _direction(question, found[name], _index(scored, name, question, found[name], seed), seed)
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


def _chosen(
    pairs: pl.DataFrame, modalities: Sequence[str], table: Scored, against: Scored | None, among_pairs: bool
) -> tuple[dict[str, Chosen], dict[str, Chosen]]:
    """For each modality, and for mixed lists, the objects or texts that take part, of the table and of the other one."""
    wanted = {m: pairs.get_column(f"{m}_content").drop_nulls().unique() for m in modalities}
    own = pl.concat([pl.Series([], dtype=pl.String), *wanted.values()])
    mine: dict[str, Chosen] = {}
    theirs: dict[str, Chosen] = {}
    for name in (*modalities, MIXED):
        chosen = [_of(scored, name, wanted, own if among_pairs else None) for scored in (table, against) if scored is not None]
        # A space that reads no text is asked nothing of all media, and must not narrow what the other one is asked.
        if against is not None and len(chosen[1].places) and (name != MIXED or "text" in theirs):
            chosen = _common(*chosen)
            theirs[name] = chosen[1]
        mine[name] = chosen[0]
    return mine, theirs


def _of(scored: Scored, name: str, wanted: Mapping[str, pl.Series], only: pl.Series | None) -> Chosen:
    held = scored.texts if name == "text" else scored.held
    objects = held.objects.with_row_index("place")
    if name == MIXED:  # a text of the pairs that is an object, too, is the query itself: neither right nor wrong
        asked = wanted.get("text", pl.Series([], dtype=pl.String))
        objects = objects.filter(~((pl.col("medium") == "text") & pl.col("content_hash").is_in(asked.implode())))
    else:
        objects = objects.filter(pl.col("medium") == name)
    if only is not None:
        objects = objects.filter(pl.col("content_hash").is_in(only.implode()))
    return Chosen(held, objects.get_column("place").to_numpy().astype(np.int64))


def _common(one: Chosen, two: Chosen) -> list[Chosen]:
    key = ["uri", "content", "medium"]
    left, right = one.contents(), two.contents()
    return [
        Chosen(chosen.held, chosen.places[mine.join(other, on=key, how="semi", maintain_order="left").get_column("place").to_numpy()])
        for chosen, mine, other in ((one, left, right), (two, right, left))
    ]


def _questions(pairs: pl.DataFrame, chosen: Mapping[str, Chosen]) -> dict[str, Question]:
    """A question for each direction of each pair of modalities that has an answer, and for mixed lists."""
    modalities = [m for m in chosen if m != MIXED]
    asked: dict[str, Question] = {}
    for a, b in permutations(modalities, 2):
        linked = _linked(pairs, a, b)
        question = _question(linked, chosen[a], chosen[b])
        if question is not None:
            asked[f"{a}>{b}"] = question
    media = [m for m in modalities if m != "text"]
    if "text" in chosen and MIXED in chosen and media and chosen[MIXED].contents().get_column("medium").n_unique() > 1:
        linked = pl.concat([_linked(pairs, "text", m) for m in media]).unique()
        question = _question(linked, chosen["text"], chosen[MIXED])
        if question is not None:
            asked[MIXED] = question
    return asked


def _linked(pairs: pl.DataFrame, a: str, b: str) -> pl.DataFrame:
    return pairs.select(asked=f"{a}_content", answer=f"{b}_content").drop_nulls().unique()


def _question(linked: pl.DataFrame, asking: Chosen, answering: Chosen) -> Question | None:
    answers = linked.join(answering.contents().select("place", answer="content"), on="answer")
    askers = asking.contents().select("place", asked="content").unique("asked", keep="first", maintain_order=True)
    askers = askers.join(answers, on="asked", how="semi", maintain_order="left").with_row_index("query")
    if askers.is_empty():
        return None
    right = (
        answers.join(askers.select("query", "asked"), on="asked")
        .select(pl.col("query").cast(pl.Int64), "place")
        .unique()
        .sort("query", "place")
    )
    return Question(Chosen(asking.held, asking.places[askers.get_column("place").to_numpy()]), answering, right.to_numpy())


def _direction(question: Question, positions: np.ndarray, index: ThroughIndex | None, seed: int) -> Direction:
    n = len(positions)
    figures = ranking.figures(positions, seed=seed)
    return Direction(n, len(question.candidates.places), len(question.right) / n, figures, index)


def _index(scored: Scored, name: str, question: Question, positions: np.ndarray, seed: int) -> ThroughIndex | None:
    """The same queries, or some of them, asked as `search` asks.

    None where texts are looked for, the table has no vector index, or not all of its objects are candidates: the index knows them all.
    """
    table, medium = scored.searcher.table, name.partition(">")[2]
    objects = scored.held.objects.filter(pl.col("medium") == medium).height
    if medium == "text" or objects != len(question.candidates.places) or not any(i.columns == ["vector"] for i in table.list_indices()):
        return None
    drawn = np.sort(np.random.default_rng(seed).permutation(len(positions))[:INDEX_QUERIES])
    candidates = question.candidates.contents()
    place_of = dict(candidates.select("uri", "place").iter_rows())
    single = bool((question.candidates.held.objects[question.candidates.places].get_column("rows") == 1).all())
    limit = ranking.DEPTH * (1 if single else SEVERAL)
    listed = []
    for query in drawn:
        hits = scored.searcher.nearest(
            question.queries.held.rows_of(int(question.queries.places[query])), keep=Filter(media=(medium,)), limit=limit
        )
        uris = list(dict.fromkeys(hit.uri for hit in hits))[: ranking.DEPTH]
        listed.append(np.array([place_of[uri] for uri in uris], np.int64))
    right = question.right[np.isin(question.right[:, 0], drawn)]
    some = Question(
        Chosen(question.queries.held, question.queries.places[drawn]),
        question.candidates,
        np.stack([np.searchsorted(drawn, right[:, 0]), right[:, 1]], axis=1),
    )
    found = ranking.listed_positions(listed, some.right, len(candidates))
    exact = some.nearest()
    share = np.mean([np.isin(best, names).mean() for best, names in zip(exact, listed, strict=True)])
    lost = ranking.differences(found, positions[drawn], seed=seed)["recall@10"]
    return ThroughIndex(len(drawn), ranking.figures(found, seed=seed), float(share), lost)


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
        question = _question(_linked(pairs, a, b), chosen[a], chosen[b])
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
