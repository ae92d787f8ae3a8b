"""What is to c as b is to a: vectors that add up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from retrieval.filters import EVERYTHING, Filter
from retrieval.query import Hit, Searcher
from retrieval.search.question import Item, Question, Term, vectors

Thing = str | Path | Item


def analogy(searcher: Searcher, a: Thing, b: Thing, c: Thing, *, keep: Filter = EVERYTHING, limit: int = 10) -> list[Hit]:
    """The objects nearest to b - a + c, best first: "man", "king", "woman" should find a queen.

    3CosAdd (Mikolov, Yih & Zweig 2013, "Linguistic regularities in continuous space word representations"): each of the three is brought to
    length 1 first, and the three themselves are left out of the answers, as there; without that c is nearly always the nearest.

    Parameters
    ----------
    a, b, c : words, files, or objects of the table.

    Returns
    -------
    The best segment of each object. Left out are objects that are asked with, and texts that say nothing but the words asked with.
    """
    things = (a, b, c)
    question = [Term(thing, weight) for thing, weight in zip(things, (-1.0, 1.0, 1.0), strict=True)]
    same = {thing.strip().casefold() for thing in things if isinstance(thing, str)}
    left = keep.excluding(thing.uri for thing in things if isinstance(thing, Item))
    return _others(searcher, question, left, limit, same)


def _others(searcher: Searcher, question: Question, keep: Filter, limit: int, same: set[str]) -> list[Hit]:
    queried, out = vectors(searcher, question), frozenset[str]()
    while True:
        hits = searcher.nearest(queried, keep=replace(keep, without=keep.without | out), limit=limit, per_object=True)
        saying = {hit.uri for hit in hits if hit.modality == "text" and (hit.text or "").strip().casefold() in same}
        if not saying:
            return hits
        out |= saying
