"""What the page asks, and the answers as JSON: by words, by a dropped file, by something that is in the table."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Mapping, Sequence
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
    from retrieval.query import Hit, Searcher

MEDIA = ("image", "audio", "video", "text")
MOST = 500  # answers of one medium
FEW = {"image": 12, "audio": 6, "video": 8, "text": 6}  # of each where all media are asked: what one screen shows
MANY = 60  # where one is
WINDOWS = 32  # of a long sound, video or text that is asked with, spread over all of it
ALSO = 5  # further moments told of one object
MOMENT_HITS = 8  # hits looked at for each sound or video that is wanted
NEAR = 0.9  # share of a moment's best score that its other hits must have: narrow, since a person plays what is marked


def by_words(library: Library, asked: Mapping[str, str]) -> dict[str, Any]:
    """Answers to words: `asked["q"]`, with the conditions of `conditions`. QueryError where they cannot be asked."""
    words = asked.get("q", "").strip()
    return _answers(library, asked, f"words {words}", lambda searcher: searcher.embed(words))


def by_file(library: Library, asked: Mapping[str, str], name: str, data: bytes) -> dict[str, Any]:
    """Answers to the bytes of a file; its name, which says what a text is, is used no further than its extension."""
    from encoders.media.kinds import type_of

    kind = type_of(name)

    def embed(searcher: Searcher) -> np.ndarray:
        with tempfile.TemporaryDirectory(prefix="sensorium-page-") as folder:
            path = Path(folder) / ("dropped" if kind == "(none)" else f"dropped.{kind}")
            path.write_bytes(data)
            return searcher.embed(path)

    return _answers(library, asked, f"file {kind} {hashlib.sha256(data).hexdigest()}", embed)


def by_item(library: Library, asked: Mapping[str, str], item: Item) -> dict[str, Any]:
    """What is nearest to an object, or to its segment `asked["segment"]`: by the vectors of the table, without an encoder."""
    segment = int(asked["segment"]) if asked.get("segment", "").isascii() and asked.get("segment", "").isdigit() else None
    vectors = library.searcher.vectors_of(item.uri, segment)
    return _nearest(library, asked, vectors, frozenset([item.uri])) | {"like": item.told()}


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
        modified_before=before and before + timedelta(days=1),
    )


def _day(asked: Mapping[str, str], field: str) -> datetime | None:
    from retrieval.errors import QueryError

    if not asked.get(field):
        return None
    try:
        return datetime.strptime(asked[field], "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise QueryError(f"{field} is {asked[field]!r}; give a day as 2026-01-31") from None


def _answers(library: Library, asked: Mapping[str, str], key: str, embed: Any) -> dict[str, Any]:
    conditions(asked)  # refused before anything is embedded
    return _nearest(library, asked, library.vectors(key, embed))


def _nearest(library: Library, asked: Mapping[str, str], vectors: np.ndarray, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Answers medium by medium: side by side, what a space puts nearer for its medium alone would leave no place for others."""
    start = time.perf_counter()
    keep = conditions(asked)
    used = _spread(vectors, WINDOWS)
    searcher = library.searcher
    groups = [
        _group(library, searcher, used, replace(keep, media=(medium,), without=without), _limit(asked, medium))
        for medium in keep.media or MEDIA
    ]
    return {
        "groups": [group for group in groups if group["answers"]],
        "windows": {"used": len(used), "all": len(vectors)},
        "seconds": round(time.perf_counter() - start, 4),
    }


def _limit(asked: Mapping[str, str], medium: str) -> int:
    given = asked.get("limit", "")[:6]
    if given.isascii() and given.isdigit():
        return min(MOST, max(1, int(given)))
    return MANY if asked.get("medium") else FEW[medium]


def _spread(vectors: np.ndarray, most: int) -> np.ndarray:
    """At most so many vectors, evenly from first to last."""
    step = max(1.0, (len(vectors) - 1) / max(1, most - 1))
    places = [round(n * step) for n in range(min(most, len(vectors)))]
    return vectors[places]


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
    """Each object by its best moment, with further ones of the same object."""
    from retrieval.search import moments

    found: dict[str, list[moments.Moment]] = {}
    for moment in moments.merge(searcher.nearest(vectors, keep=keep, limit=MOMENT_HITS * wanted), near=NEAR):
        found.setdefault(moment.uri, []).append(moment)
    return [
        {"hit": best.best, "start": best.start, "end": best.end, "also": [_moment(each) for each in others[:ALSO]]}
        for best, *others in list(found.values())[:wanted]
    ]


def _moment(moment: Any) -> dict[str, Any]:
    return {"start": moment.start, "end": moment.end, "score": round(moment.score, 4), "segment": moment.best.segment}


def _told(answer: dict[str, Any], item: Item, passage: Sequence[str] | None) -> dict[str, Any]:
    hit: Hit = answer["hit"]
    told = item.told() | {"segment": hit.segment, "modality": hit.modality, "score": round(hit.score, 4)}
    if passage is not None:
        return told | {"passage": passage}
    return told | {"start": answer.get("start"), "end": answer.get("end"), "also": answer.get("also", [])}
