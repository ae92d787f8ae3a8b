"""What an answer is taken from, exactly: filters, the best segment of each object, many questions at once, as a naive search finds them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from asked_table import DIMENSION, NOW, drawn, opened, row, unit

from retrieval import exact
from retrieval.filters import LISTED, Filter
from retrieval.query import COLUMNS, QueryError
from storage.replace import scan

ROWS = [
    one | {"modified": NOW + timedelta(days=k % 5) if k % 7 else None, "uri": one["uri"].replace("p1", "p'1_%")}
    for k, one in enumerate(drawn(1, 60))
]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    return opened(tmp_path_factory.mktemp("filters") / "lance", ROWS)


def queries(n, seed=5):
    return unit(np.random.default_rng(seed).standard_normal((n, DIMENSION)))


def naive(vectors, holds, limit, per_object=False):
    """(uri, segment, score) of the best rows by every window of a question."""
    scored = sorted(
        ((max(float(np.float32(v) @ np.float16(r["vector"]).astype(np.float32)) for v in vectors), r) for r in ROWS if holds(r)),
        key=lambda pair: -pair[0],
    )
    seen, found = set(), []
    for score, r in scored:
        if not per_object or r["uri"] not in seen:
            seen.add(r["uri"])
            found.append((r["uri"], r["segment"], score))
    return found[:limit]


def same(hits, expected):
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    np.testing.assert_allclose(scores, [score for *_, score in expected], atol=1e-3)
    assert {(hit.uri, hit.segment) for hit in hits} == {(uri, segment) for uri, segment, _ in expected}


MANY = frozenset({r["uri"] for r in ROWS if r["size"] % 2} | {f"file:///b/none{k}" for k in range(20_000)})

FILTERS = {
    "everything": (Filter(), lambda r: True),
    "media": (Filter(media=("video",)), lambda r: r["medium"] == "video"),
    "two media": (Filter(media=("video", "image")), lambda r: True),
    "modality": (Filter(modality="audio"), lambda r: r["modality"] == "audio"),
    "prefix with signs of LIKE and a quote": (Filter(prefix="file:///b/p'1_%"), lambda r: r["uri"].startswith("file:///b/p'1_%")),
    "after": (Filter(modified_after=NOW + timedelta(days=2)), lambda r: r["modified"] and r["modified"] >= NOW + timedelta(days=2)),
    "before": (Filter(modified_before=NOW + timedelta(days=2)), lambda r: r["modified"] and r["modified"] < NOW + timedelta(days=2)),
    "size": (Filter(larger=20, smaller=1030), lambda r: 20 < r["size"] < 1030),
    "objects": (Filter(uris=frozenset(r["uri"] for r in ROWS[:9])), lambda r: r["uri"] in {o["uri"] for o in ROWS[:9]}),
    "20,000 objects": (Filter(uris=MANY), lambda r: r["uri"] in MANY),
    "not 20,000 objects": (Filter(without=MANY, modality="image"), lambda r: r["uri"] not in MANY and r["modality"] == "image"),
    "nothing": (Filter(uris=frozenset()), lambda r: False),
    "all at once": (
        Filter(media=("video",), modality="image", larger=1010, uris=MANY, without=frozenset({ROWS[0]["uri"]})),
        lambda r: (
            r["medium"] == "video" and r["modality"] == "image" and r["size"] > 1010 and r["uri"] in MANY and r["uri"] != ROWS[0]["uri"]
        ),
    ),
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("per_object", [False, True])
def test_a_filter_leaves_exactly_the_rows_for_which_it_holds(searcher, name, per_object):
    keep, holds = FILTERS[name]
    limit = 12 if per_object else 2000
    for vectors in (queries(1), queries(3, 6)):
        same(searcher.nearest(vectors, keep=keep, limit=limit, per_object=per_object), naive(vectors, holds, limit, per_object))


def test_a_prefix_holds_whatever_letter_follows_it(tmp_path):
    """Such as one of an alphabet far behind z, by code points or by the bytes of UTF-8."""
    inside = [f"file:///b/{name}.png" for name in ("", "a", "z", "zz", "~", "é", "中文", "\uffee", "😀")]
    searcher = opened(
        tmp_path / "lance", [row(uri, np.ones(DIMENSION)) for uri in [*inside, "file:///a/中.png", "file:///b.png", "file:///c/a.png"]]
    )
    hits = searcher.nearest(queries(1), keep=Filter(prefix="file:///b/"), limit=100)
    assert {hit.uri for hit in hits} == set(inside)


def test_long_lists_are_not_given_to_the_engine():
    assert Filter(uris=MANY).long and Filter(without=MANY).long and not Filter(uris=frozenset(map(str, range(LISTED)))).long
    assert len(Filter(uris=MANY).rest.sql()) == 0


def test_what_there_is_not_is_refused_instead_of_finding_nothing():
    with pytest.raises(QueryError, match="no medium 'smell'; allowed are text, image, audio, video"):
        Filter(media=("image", "smell"))
    with pytest.raises(QueryError, match="no modality 'pictures'"):
        Filter(modality="pictures")
    with pytest.raises(QueryError, match=r"media is the text 'video'; it must be a tuple of names, such as \('video',\)"):
        Filter(media="video")


def test_a_time_without_a_zone_is_utc():
    assert (
        Filter(modified_after=datetime(2026, 1, 2)).sql() == Filter(modified_after=datetime.fromisoformat("2026-01-02T01:00+01:00")).sql()
    )


def test_one_long_video_does_not_crowd_out_other_objects_and_no_object_falls_short(tmp_path):
    rng = np.random.default_rng(2)
    query = rng.standard_normal(DIMENSION)
    long = [row("file:///b/long.mp4", query + 0.1 * rng.standard_normal(DIMENSION), s, "video", "image") for s in range(400)]
    others = [row(f"file:///b/p{k}.png", query + (1 + 0.1 * k) * rng.standard_normal(DIMENSION)) for k in range(30)]
    searcher = opened(tmp_path / "lance", [*long, *others])
    hits = searcher.nearest(unit(query)[None], limit=10, per_object=True)
    assert hits[0].uri == "file:///b/long.mp4" and len({hit.uri for hit in hits}) == 10
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert len(searcher.nearest(unit(query)[None], limit=500, per_object=True)) == 31


@pytest.mark.parametrize("per_object", [False, True])
@pytest.mark.parametrize("windows", [1, 3])
def test_many_questions_in_one_pass_get_the_answers_that_each_gets_alone(searcher, per_object, windows):
    n = 23
    asked, query_of = queries(n * windows, 7), np.repeat(np.arange(n), windows)
    together = searcher.nearest_of_many(asked, query_of, keep=Filter(media=("video",)), limit=6, per_object=per_object)
    for q in range(n):
        same(together[q], naive(asked[query_of == q], lambda r: r["medium"] == "video", 6, per_object))
    assert searcher.nearest_of_many(asked[:0], query_of[:0]) == []


def test_scores_are_cosines_though_rounding_to_float16_leaves_no_row_of_length_one(searcher):
    asked = queries(4, 8)
    found = exact.nearest(searcher.table, asked, np.arange(4), len(ROWS), COLUMNS)
    rounded = {(r["uri"], r["segment"]): np.float16(r["vector"]).astype(np.float64) for r in ROWS}
    lengths = np.array([np.linalg.norm(vector) for vector in rounded.values()])
    assert np.abs(lengths - 1).max() > 5e-5, "far more than the tolerance below"
    told = [rounded[uri, segment] for uri, segment in found.select("uri", "segment").iter_rows()]
    cosines = [asked[q] @ v / np.linalg.norm(v) for q, v in zip(found.get_column("query"), told, strict=True)]
    np.testing.assert_allclose(found.get_column("score"), cosines, atol=2e-6)


def test_a_pass_in_small_blocks_finds_the_same(searcher, monkeypatch):
    asked = queries(5)
    whole = exact.nearest(searcher.table, asked, np.arange(5), 7, COLUMNS, per_object=True)
    monkeypatch.setattr(exact, "SCORES", 15)
    monkeypatch.setattr(exact, "FIRST", 1)
    monkeypatch.setattr(exact, "ROWS", 10)
    assert exact.nearest(searcher.table, asked, np.arange(5), 7, COLUMNS, per_object=True).drop("score").equals(whole.drop("score"))


def test_among_some_rows_alone(searcher):
    read = pl.DataFrame(scan(searcher.table.to_lance(), ["uri", "segment"], addresses=True).to_table())
    some = read.filter(pl.col("segment") == 3)
    hits = searcher.among(some.get_column("_rowaddr").to_numpy(), queries(1), limit=1000)
    assert {(hit.uri, hit.segment) for hit in hits} == set(some.select("uri", "segment").rows())


def test_vectors_of_an_object_come_in_order_of_its_segments_and_of_none_are_refused(searcher):
    uri = next(r["uri"] for r in ROWS if r["segment"] == 5)
    mine = [r["vector"] for r in sorted(ROWS, key=lambda r: r["segment"]) if r["uri"] == uri]
    np.testing.assert_allclose(searcher.vectors_of(uri), mine, atol=1e-3)
    np.testing.assert_allclose(searcher.vectors_of(uri, 5), mine[5:6], atol=1e-3)
    with pytest.raises(QueryError, match="holds no 'file:///b/none'"):
        searcher.vectors_of("file:///b/none")
    hits = searcher.nearest(queries(1), limit=30)
    held = {(r["uri"], r["segment"]): r["vector"] for r in ROWS}
    np.testing.assert_allclose(searcher.vectors_at(hits), [held[hit.uri, hit.segment] for hit in hits], atol=1e-3)


def test_a_question_of_many_windows_scores_by_the_best_of_them(searcher):
    windows = queries(20, 12)
    same(searcher.nearest(windows, limit=15), naive(windows, lambda r: True, 15))
