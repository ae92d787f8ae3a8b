"""What a table is asked when it is scored: for each direction the queries, the candidates, and which answers which.

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

from retrieval import ranking
from retrieval.candidates import Candidates
from retrieval.query import Searcher

MIXED = "text>all"


@dataclass(frozen=True)
class Scored:
    """A table to be scored: its objects, and the pairs' texts as its space encodes queries; both sorted alike in any table."""

    searcher: Searcher
    held: Candidates
    texts: Candidates


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


def chosen_of(
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


def questions_of(pairs: pl.DataFrame, chosen: Mapping[str, Chosen]) -> dict[str, Question]:
    """A question for each direction of each pair of modalities that has an answer, and for mixed lists."""
    modalities = [m for m in chosen if m != MIXED]
    asked: dict[str, Question] = {}
    for a, b in permutations(modalities, 2):
        question = question_of(linked(pairs, a, b), chosen[a], chosen[b])
        if question is not None:
            asked[f"{a}>{b}"] = question
    media = [m for m in modalities if m != "text"]
    if "text" in chosen and MIXED in chosen and media and chosen[MIXED].contents().get_column("medium").n_unique() > 1:
        every = pl.concat([linked(pairs, "text", m) for m in media]).unique()
        question = question_of(every, chosen["text"], chosen[MIXED])
        if question is not None:
            asked[MIXED] = question
    return asked


def linked(pairs: pl.DataFrame, a: str, b: str) -> pl.DataFrame:
    """Each pair of a content of modality a (asked) and one of b (answer) that stand in one row, once."""
    return pairs.select(asked=f"{a}_content", answer=f"{b}_content").drop_nulls().unique()


def question_of(linked: pl.DataFrame, asking: Chosen, answering: Chosen) -> Question | None:
    """Those of one side asked for those of the other, by the contents that `linked` has; None where nothing has an answer."""
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
