"""Moments of sounds and videos: neighbouring hits merged, and what was heard when something was seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from retrieval.filters import EVERYTHING, Filter
from retrieval.query import Hit, QueryError, Searcher

TIMED = ("audio", "video")
HITS = 10  # hits looked at for each moment that is wanted: its neighbours must be among them
MOST = 10_000  # hits looked at in all
GAP = 1.0  # seconds
NEAR = 0.8  # share of the best score


@dataclass(frozen=True)
class Moment:
    """A stretch of one object that answers a query.

    Parameters
    ----------
    start, end : seconds.
    score : of the best segment, a cosine similarity.
    hits : how many segments were merged.
    best : the best of them.
    """

    uri: str
    medium: str
    start: float
    end: float
    score: float
    hits: int
    best: Hit


def find(
    searcher: Searcher,
    query: str | Path,
    *,
    keep: Filter = EVERYTHING,
    limit: int = 10,
    gap: float = GAP,
    near: float = NEAR,
) -> list[Moment]:
    """The moments nearest to words, or to a picture, sound, video or text file; best first.

    Parameters
    ----------
    keep : what is looked at, of sounds and videos: `modality` tells what was seen ("image", "video") or heard ("audio").
    limit : most moments; they are merged from the nearest ten times as many segments.
    gap, near : how hits are merged, see `merge`.
    """
    hits = searcher.search(query, keep=only_timed(keep), limit=min(HITS * limit, MOST))
    return merge(hits, gap, near)[:limit]


def only_timed(keep: Filter) -> Filter:
    """The same of sounds and videos alone: nothing else has moments.

    Raises
    ------
    QueryError : it asks for other media.
    """
    if keep.media and not set(keep.media) <= set(TIMED):
        raise QueryError(f"objects of medium {', '.join(keep.media)} have no moments; ask for {' or '.join(TIMED)}, or without moments")
    return keep if keep.media else replace(keep, media=TIMED)


def merge(hits: Iterable[Hit], gap: float = GAP, near: float = NEAR) -> list[Moment]:
    """Join hits of one object that overlap or lie at most `gap` seconds apart, whatever they were encoded as; best first.

    A moment grows from its best hit over neighbours that score at least `near` times as much. What scores less begins a moment of its
    own, unless it lies within a better one. Hits without a time (pictures) or with one in characters (texts) are left out.
    """
    objects: dict[str, list[Hit]] = {}
    for hit in hits:
        if hit.medium in TIMED and hit.start is not None and hit.end is not None:
            objects.setdefault(hit.uri, []).append(hit)
    moments = [moment for timed in objects.values() for moment in _moments(sorted(timed, key=_start), gap, near)]
    return sorted(moments, key=lambda moment: (-moment.score, moment.uri, moment.start))


def together(rows: pl.DataFrame, seen: str = "image", heard: str = "audio") -> pl.DataFrame:
    """What was heard when something was seen: a join on time.

    Parameters
    ----------
    rows : uri, modality, segment, start, end, and any further columns, as they stand in the table.
    seen, heard : two modalities: "video" instead of "image" where clips were encoded.

    Returns
    -------
    One row for each pair of segments of one object that share time, in order of uri and start; the columns of the one heard end in
    "_heard", and "shared" is the time both have, in seconds. A frame stands for the time until the next one that was taken.
    """
    left = rows.filter(pl.col("modality") == seen)
    right = rows.filter(pl.col("modality") == heard).rename(lambda name: f"{name}_heard")
    shared = pl.min_horizontal("end", "end_heard") - pl.max_horizontal("start", "start_heard")
    pairs = left.join_where(
        right, pl.col("uri") == pl.col("uri_heard"), pl.col("start") < pl.col("end_heard"), pl.col("start_heard") < pl.col("end")
    )
    return pairs.drop("uri_heard").with_columns(shared=shared).sort("uri", "start", "start_heard")


def _moments(timed: list[Hit], gap: float, near: float) -> list[Moment]:
    """Moments of one object from its hits in order of time, best first."""
    free = dict(enumerate(timed))
    moments: list[Moment] = []
    for place in sorted(free, key=lambda place: (-timed[place].score, place)):
        if (best := free.get(place)) is None:
            continue
        good = {n: hit for n, hit in free.items() if hit.score >= near * best.score}
        taken, start, end = {place}, _start(best), _end(best)
        for n in [*(n for n in good if n > place), *(n for n in reversed(good) if n < place)]:
            if _start(good[n]) <= end + gap and _end(good[n]) >= start - gap:
                taken.add(n)
                start, end = min(start, _start(good[n])), max(end, _end(good[n]))
        free = {n: hit for n, hit in free.items() if n not in taken and not (start <= _start(hit) and _end(hit) <= end)}
        moments.append(Moment(best.uri, best.medium, start, end, best.score, len(taken), best))
    return moments


def _start(hit: Hit) -> float:
    return hit.start or 0.0


def _end(hit: Hit) -> float:
    return hit.end or 0.0
