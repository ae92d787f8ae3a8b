"""A whole search: a question, what is kept, and how its answers are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from retrieval.errors import QueryError
from retrieval.filters import EVERYTHING, Filter
from retrieval.merging import diverse
from retrieval.query import Hit, Searcher
from retrieval.search import hybrid
from retrieval.search.moments import GAP, HITS, MOST, NEAR, Moment, merge, only_timed
from retrieval.search.question import Question, asked_as, asked_with, vectors

if TYPE_CHECKING:
    from retrieval.search.nothing_fits import Fitting

POOL = 5  # candidates for each answer that is wanted, of which diverse ones are chosen, or which two rankings are fused from


@dataclass(frozen=True)
class Manner:
    """How answers are chosen.

    Parameters
    ----------
    limit : most answers.
    per_object : the best segment of each object alone.
    must : words that an answer's text must have, all of them; "" for none. Quoted ones as they stand.
    words : words whose ranking by full text (BM25) is fused with that by vectors; "" for none.
    diversity : 0, by score alone, to 1, by how much an answer differs from those before it (`retrieval.merging.diverse`).
    least : the least score of an answer.
    fits : only what stands out from what nonsense finds in this table (`nothing_fits`), and what has the `words`; so there may be
        no answer at all. The table must be calibrated.

    Raises
    ------
    QueryError : a number is out of its range, or not finite.
    """

    limit: int = 10
    per_object: bool = False
    must: str = ""
    words: str = ""
    diversity: float = 0.0
    least: float | None = None
    fits: bool = False

    def __post_init__(self) -> None:
        """Refuse what would find nothing, instead of finding nothing."""
        if self.limit < 1:
            raise QueryError(f"at most {self.limit} answers are none; give a limit of 1 or more")
        if not 0 <= self.diversity <= 1:
            raise QueryError(f"there is no diversity {self.diversity}; give a number from 0 to 1")
        if self.least is not None and not isfinite(self.least):
            raise QueryError(f"no score can be compared with {self.least}; give a finite number as the least score, or none")

    @property
    def plain(self) -> bool:
        """Whether the nearest are the answers, so that many questions can be answered at once."""
        return not (self.must or self.words or self.diversity or self.fits)


def search(searcher: Searcher, question: Question, keep: Filter = EVERYTHING, manner: Manner | None = None) -> list[Hit]:
    """Answers to a question, best first; the objects it is asked with are none.

    Raises
    ------
    QueryError : the question cannot be asked of this table, or nothing says what fits it.
    MediumError : a file it is asked with is broken, or nothing that is read.
    """
    manner = manner or Manner()
    fitting = fitting_of(searcher, question) if manner.fits else None
    return answers(searcher, vectors(searcher, question), keep.excluding(asked_with(question)), manner, fitting)


def moments(searcher: Searcher, question: Question, keep: Filter, manner: Manner, gap: float = GAP, near: float = NEAR) -> list[Moment]:
    """The stretches of sounds and videos that answer a question, merged as in `retrieval.search.moments.merge`; best first.

    Raises
    ------
    QueryError : as `search`, and where one segment of each object is asked for, which has no neighbours.
    """
    if manner.per_object:
        raise QueryError("moments are merged from several segments of an object; ask for moments, or for the best segment of each object")
    wide = replace(manner, limit=min(HITS * manner.limit, MOST))
    return merge(search(searcher, question, only_timed(keep), wide), gap, near)[: manner.limit]


def fitting_of(searcher: Searcher, question: Question) -> Fitting:
    """What answers to a question must exceed, by the modality of the first thing that it adds."""
    from retrieval.search.nothing_fits import read

    return read(searcher, asked_as(searcher, question))


def answers(searcher: Searcher, queried: np.ndarray, keep: Filter, manner: Manner, fitting: Fitting | None = None) -> list[Hit]:
    """Answers to a question that is embedded already, float32 (windows, dimension), of unit length; `fitting` is what `fits` asks for."""
    only = hybrid.rows_with(searcher, manner.must, keep) if manner.must else None
    wide = manner.limit if manner.plain or (manner.must and not (manner.words or manner.diversity)) else POOL * manner.limit

    def nearest(vectors: np.ndarray, keep: Filter) -> list[Hit]:
        if only is None:
            return searcher.nearest(vectors, keep=keep, limit=wide, per_object=manner.per_object)
        return searcher.among(only, vectors, keep=keep, limit=wide, per_object=manner.per_object)

    hits = nearest(queried, keep) if fitting is None else fitting.found(searcher, queried, keep, nearest)
    if manner.words:
        read = hybrid.nearest_in_text(searcher, manner.words, queried, keep=keep, limit=wide, only=only)
        hits = hybrid.fused([hits, read], per_object=manner.per_object)
    return _chosen(searcher, hits, manner)


def _chosen(searcher: Searcher, hits: Sequence[Hit], manner: Manner) -> list[Hit]:
    """Of candidates, best first, those that score enough and differ enough."""
    good = [hit for hit in hits if manner.least is None or hit.score >= manner.least]
    if not manner.diversity or len(good) < 2:
        return good[: manner.limit]
    scores = np.array([hit.score for hit in good])
    places = diverse(scores, searcher.vectors_at(good), manner.diversity, manner.limit)
    return [good[place] for place in places]
