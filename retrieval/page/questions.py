"""What the page asks, and the answers as JSON: by words, by a dropped file, by something that is in the table."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.page.items import Item
from retrieval.page.library import Library
from retrieval.page.passages import passages

if TYPE_CHECKING:
    import numpy as np

    from retrieval.filters import Filter
    from retrieval.page.passages import Passage
    from retrieval.query import Hit, Searcher
    from retrieval.query_encoder import Chosen, QueryEncoder

MEDIA = ("image", "audio", "video", "text")
MOST = 500  # answers of one medium
FEW = {"image": 12, "audio": 6, "video": 8, "text": 6}  # of each where all media are asked: what one screen shows
MANY = 60  # where one is
LONGEST = 4_000  # characters of a question in words: more is a text, which is dropped
WINDOWS = 32  # of a long sound, video or text that is asked with, spread over all of it
ALSO = 5  # further moments told of one object
MOMENT_HITS = 8  # segments looked at for each sound or video
NEAR = 0.9  # share of a moment's best score that its other hits must have: narrow, since a person plays what is marked


def by_words(library: Library, asked: Mapping[str, str]) -> dict[str, Any]:
    """Answers to words: `asked["q"]`, with the conditions of `conditions`. QueryError where they cannot be asked."""
    from retrieval.errors import QueryError

    words = asked.get("q", "").strip()
    if len(words) > LONGEST:
        raise QueryError(f"the question has {len(words):,} characters, allowed are {LONGEST:,}; drop a longer text as a file instead")
    return _answers(library, asked, f"words {words}", lambda queries: queries.choose(words, WINDOWS))


def by_file(library: Library, asked: Mapping[str, str], name: str, data: bytes) -> dict[str, Any]:
    """Answers to the bytes of a file; its name, which says what a text is, is used no further than its extension."""
    from encoders.media.kinds import type_of

    kind = type_of(name)

    def choose(queries: QueryEncoder) -> Chosen:
        with tempfile.TemporaryDirectory(prefix="sensorium-page-") as folder:
            path = Path(folder) / ("dropped" if kind == "(none)" else f"dropped.{kind}")
            path.write_bytes(data)
            return queries.choose(path, WINDOWS)

    return _answers(library, asked, f"file {kind} {hashlib.sha256(data).hexdigest()}", choose)


def by_item(library: Library, asked: Mapping[str, str], item: Item) -> dict[str, Any]:
    """What is nearest to an object, or to its segment `asked["segment"]`: by the vectors of the table, without an encoder.

    QueryError for a segment that is no number, or that the table does not hold.
    """
    from retrieval.query_encoder import spread

    searcher = library.searcher
    vectors = searcher.vectors_of(item.uri, _segment(asked))
    used = vectors[spread(len(vectors), WINDOWS)]
    return _nearest(library, searcher, asked, used, len(vectors), frozenset([item.uri])) | {"like": item.told()}


def conditions(asked: Mapping[str, str]) -> Filter:
    """The filter that the page's fields describe: medium, modality, prefix, after, before (days, in UTC; `before` is included).

    QueryError for what no field allows.
    """
    from encoders.spec import MODALITIES
    from retrieval.errors import QueryError
    from retrieval.filters import Filter

    for field in ("medium", "modality"):
        if asked.get(field) and asked[field] not in MODALITIES:
            raise QueryError(f"there is no {field} {asked[field]!r}; allowed are {', '.join(MODALITIES)}")
    before = _day(asked, "before")
    return Filter(
        media=(asked["medium"],) if asked.get("medium") else (),
        modality=asked.get("modality") or None,
        prefix=asked.get("prefix") or None,
        modified_after=_day(asked, "after"),
        modified_before=before and before + min(timedelta(days=1), datetime.max.replace(tzinfo=UTC) - before),
    )


def _day(asked: Mapping[str, str], field: str) -> datetime | None:
    from retrieval.errors import QueryError

    if not asked.get(field):
        return None
    try:
        return datetime.strptime(asked[field], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise QueryError(f"{field} is {asked[field]!r}; give a day as 2026-01-31") from None


def _segment(asked: Mapping[str, str]) -> int | None:
    from retrieval.errors import QueryError

    given = asked.get("segment", "")
    if not given:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 9):
        raise QueryError(
            f"segment is {given[:40]!r}; give a number from 0 to 999999999, as an answer of the page tells it, or leave it out"
        )
    return int(given)


def _answers(library: Library, asked: Mapping[str, str], key: str, choose: Callable[[QueryEncoder], Chosen]) -> dict[str, Any]:
    conditions(asked)  # refused before anything is embedded
    searcher = library.searcher  # of one version from the question to its answers
    return _nearest(library, searcher, asked, *library.vectors(searcher, key, choose))


def _nearest(
    library: Library, searcher: Searcher, asked: Mapping[str, str], vectors: np.ndarray, of: int, without: frozenset[str] = frozenset()
) -> dict[str, Any]:
    """Answers medium by medium: side by side, what a space puts nearer for its medium alone would leave no place for others.

    Parameters
    ----------
    vectors : of at most `WINDOWS` parts of the question, which has `of`.
    """
    start = time.perf_counter()
    keep = conditions(asked)
    groups = [
        _group(library, searcher, vectors, replace(keep, media=(medium,), without=without), _limit(asked, medium))
        for medium in keep.media or MEDIA
    ]
    return {
        "version": int(searcher.table.version),
        "groups": [group for group in groups if group["answers"]],
        "windows": {"used": len(vectors), "all": of},
        "seconds": round(time.perf_counter() - start, 4),
    }


def _limit(asked: Mapping[str, str], medium: str) -> int:
    given = asked.get("limit", "")[:6]
    if given.isascii() and given.isdigit():
        return min(MOST, max(1, int(given)))
    return MANY if asked.get("medium") else FEW[medium]


def _group(library: Library, searcher: Searcher, vectors: np.ndarray, keep: Filter, limit: int) -> dict[str, Any]:
    medium = keep.media[0]
    timed = medium in ("audio", "video")
    wanted = limit + 1  # one more tells whether there are more
    find = _moments if timed else _objects
    found = find(searcher, vectors, keep, wanted)
    items = library.items(answer["hit"].uri for answer in found)
    shown = [answer for answer in found if answer["hit"].uri in items][:limit]
    told = passages(searcher.table, [answer["hit"] for answer in shown]) if medium == "text" else [None] * len(shown)
    answers = [_told(answer, items[answer["hit"].uri], passage) for answer, passage in zip(shown, told, strict=True)]
    return {"medium": medium, "answers": answers, "more": len(found) > limit and limit < MOST}


def _objects(searcher: Searcher, vectors: np.ndarray, keep: Filter, wanted: int) -> list[dict[str, Any]]:
    return [{"hit": hit} for hit in searcher.nearest(vectors, keep=keep, limit=wanted, per_object=True)]


def _moments(searcher: Searcher, vectors: np.ndarray, keep: Filter, wanted: int) -> list[dict[str, Any]]:
    """Each object by its best moment, with further ones of the same object.

    The objects come first and their moments after: among the nearest segments of all, a long sound would leave no place for others.
    """
    from retrieval.search import moments

    best = {hit.uri: hit for hit in searcher.nearest(vectors, keep=keep, limit=wanted, per_object=True)}
    found: dict[str, list[moments.Moment]] = {}
    for moment in moments.merge(_segments(searcher, vectors, keep, best), near=NEAR):
        found.setdefault(moment.uri, []).append(moment)
    return [
        {"hit": first.best, "start": first.start, "end": first.end, "also": [_moment(each) for each in others[:ALSO]]}
        for first, *others in found.values()
    ]


def _segments(searcher: Searcher, vectors: np.ndarray, keep: Filter, best: Mapping[str, Hit]) -> list[Hit]:
    """Of each object its best segment and the next ones: `MOMENT_HITS`, or all that score near to the best.

    Objects that have theirs are left out when the others are looked at again; each time some have.
    """
    found = {(hit.uri, hit.segment): hit for hit in best.values()}
    left = frozenset(best)
    while left:
        wanted = MOMENT_HITS * len(left)
        hits = searcher.nearest(vectors, keep=replace(keep, uris=left, without=frozenset()), limit=wanted)
        found |= {(hit.uri, hit.segment): hit for hit in hits}
        if len(hits) < wanted:
            break
        taken = Counter(hit.uri for hit in hits)
        left = frozenset(uri for uri in left if taken[uri] < MOMENT_HITS and hits[-1].score >= NEAR * best[uri].score)
    return list(found.values())


def _moment(moment: Any) -> dict[str, Any]:
    return {"start": moment.start, "end": moment.end, "score": round(moment.score, 4), "segment": moment.best.segment}


def _told(answer: dict[str, Any], item: Item, passage: Passage | None) -> dict[str, Any]:
    hit: Hit = answer["hit"]
    told = item.told() | {"segment": hit.segment, "modality": hit.modality, "score": round(hit.score, 4)}
    if passage is not None:
        return told | {"passage": passage.parts, "cut": passage.cut}
    return told | {"start": answer.get("start"), "end": answer.get("end"), "also": answer.get("also", [])}
