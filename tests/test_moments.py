"""Neighbouring hits of a sound or video become moments, and what was heard when something was seen is a join on time."""

from __future__ import annotations

import random

import polars as pl

from retrieval.query import Hit
from retrieval.search.moments import merge, together


def hit(start: float | None, end: float | None, score: float, *, uri: str = "v", medium: str = "video", modality: str = "image") -> Hit:
    return Hit(uri, medium, modality, round(10 * (start or 0)), start, end, None, score)


def spans(hits: list[Hit], **how: float) -> list[tuple[str, float, float, float, int]]:
    return [(m.uri, m.start, m.end, m.score, m.hits) for m in merge(hits, **how)]


def test_neighbours_are_one_moment_with_the_score_of_its_best():
    assert spans([hit(2, 4, 0.8), hit(4, 6, 0.9), hit(6, 8, 0.85), hit(30, 32, 0.7)]) == [("v", 2, 8, 0.9, 3), ("v", 30, 32, 0.7, 1)]
    assert merge([hit(2, 4, 0.8), hit(4, 6, 0.9)])[0].best.start == 4


def test_hits_at_most_the_gap_apart_are_neighbours():
    apart = [hit(0, 2, 0.9), hit(3, 4, 0.9)]
    assert len(merge(apart, gap=1.0)) == 1
    assert len(merge(apart, gap=0.9)) == 2


def test_what_is_seen_and_what_is_heard_make_one_moment():
    assert spans([hit(2, 4, 0.9), hit(3, 13, 0.8, modality="audio")]) == [("v", 2, 13, 0.9, 2)]


def test_a_neighbour_that_scores_much_less_is_a_moment_of_its_own_and_one_within_a_better_one_is_none():
    assert spans([hit(0, 2, 0.9), hit(2, 4, 0.3)]) == [("v", 0, 2, 0.9, 1), ("v", 2, 4, 0.3, 1)]
    assert spans([hit(0, 10, 0.9, modality="audio"), hit(2, 4, 0.3)]) == [("v", 0, 10, 0.9, 1)]
    assert spans([hit(0, 2, 0.9), hit(2, 4, 0.3)], near=0.3) == [("v", 0, 4, 0.9, 2)]


def test_moments_are_of_one_object_and_best_first_in_whatever_order_hits_come():
    hits = [hit(2 * k, 2 * k + 2, 0.5 + k % 7 / 20, uri=uri) for k in range(40) for uri in "abc"]
    first = spans(hits)
    assert {uri for uri, *_ in first} == set("abc") and [row[3] for row in first] == sorted((row[3] for row in first), reverse=True)
    for seed in range(5):
        assert spans(random.Random(seed).sample(hits, len(hits))) == first


def test_pictures_and_texts_have_no_moments():
    assert merge([hit(None, None, 0.9, medium="image"), hit(0, 99, 0.9, medium="text", modality="text")]) == []


def test_what_was_heard_when_this_was_seen_is_every_pair_that_shares_time():
    rng = random.Random(1)
    rows = []
    for uri in ("a", "b"):
        for modality, length, shift in (("image", 2.0, 0.0), ("audio", 3.1, 0.4)):
            for k in range(20):
                rows.append((uri, modality, k, k * length + shift, (k + 1) * length + shift))
    rng.shuffle(rows)
    frame = pl.DataFrame(rows, schema=["uri", "modality", "segment", "start", "end"], orient="row")
    expected = sorted(
        (s[0], s[2], h[2], round(min(s[4], h[4]) - max(s[3], h[3]), 9))
        for s in rows
        for h in rows
        if s[1] == "image" and h[1] == "audio" and s[0] == h[0] and s[3] < h[4] and h[3] < s[4]
    )
    found = together(frame).select("uri", "segment", "segment_heard", pl.col("shared").round(9)).rows()
    assert sorted(found) == expected and expected
    assert together(frame.filter(pl.col("modality") == "image")).is_empty()
