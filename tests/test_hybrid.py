"""Words that must appear, and full text fused with vectors, in English and Chinese."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from asked_table import DIMENSION, NOW, opened, row, texts, unit

from retrieval.filters import Filter
from retrieval.query import Hit
from retrieval.search import hybrid
from retrieval.search.question import Term
from retrieval.search.search import Manner, search

WORDS = [
    "Invoice number 4711 of the harbour",
    "the dogs bark at the harbour",
    "a dog and a red cat",
    "a cat that is red, and a dog",
    "雨中有一只红色的小猫在叫",
    "海边有一只小狗在叫",
    "一列蓝色的火车",
]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    pictures = [row(f"file:///b/p{k}.png", np.random.default_rng(k).standard_normal(DIMENSION)) for k in range(5)]
    return opened(tmp_path_factory.mktemp("hybrid") / "lance", [*texts(WORDS), *pictures])


def found(searcher, words, **manner):
    return {hit.text for hit in search(searcher, [Term("anything at all")], manner=Manner(limit=50, must=words, **manner))}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dog", {1, 2, 3}),
        ("DOGS harbour", {1}),
        ("red cat", {2, 3}),
        ('"red cat"', {2}),
        ("4711", {0}),
        ("小猫", {4}),
        ("叫 小狗", {5}),
        ("火车", {6}),
        ("elephant", set()),
        ("dog elephant", set()),
    ],
)
def test_words_that_must_appear_do_and_all_that_have_them_are_found(searcher, words, expected):
    assert found(searcher, words) == {WORDS[k] for k in expected}


def test_words_that_must_appear_keep_the_order_and_score_of_the_vectors_and_every_other_condition(searcher):
    question = [Term("a dog and a red cat")]
    hits = search(searcher, question, manner=Manner(must="dog"))
    assert hits[0].text == WORDS[2] and hits[0].score == pytest.approx(1, abs=1e-3)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    without = Filter(without=frozenset({hits[0].uri} | {f"x{k}" for k in range(2000)}))
    assert search(searcher, question, without, Manner(must="dog")) == hits[1:]
    assert search(searcher, question, Filter(media=("image",)), Manner(must="dog")) == []


def test_full_text_finds_what_vectors_miss_and_its_score_is_still_the_cosine(searcher):
    vector = unit(np.random.default_rng(1).standard_normal(DIMENSION))  # near to a picture, far from every text
    plain = search(searcher, [Term(vector)], manner=Manner(limit=1))
    assert plain[0].uri == "file:///b/p1.png"
    fused = search(searcher, [Term(vector)], manner=Manner(limit=2, words="invoice 4711"))
    assert {hit.uri for hit in fused} == {"file:///b/p1.png", "file:///b/texts/000.txt"}
    for hit in fused:
        assert hit.score == pytest.approx(float(searcher.vectors_of(hit.uri)[0] @ vector), abs=2e-3)


def test_fusion_is_by_the_sum_of_reciprocal_ranks_and_equal_ones_are_by_their_scores():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scored = {place: float(rng.random()) for place in range(30)}
        lists = [rng.permutation(30)[: rng.integers(0, 20)].tolist() for _ in range(2)]
        sums = {place: sum(1 / (60 + each.index(place) + 1) for each in lists if place in each) for place in {*lists[0], *lists[1]}}
        expected = sorted(sums, key=lambda place: (-round(sums[place], 8), -scored[place]))
        made = hybrid.fused([[replace(hit("a", place), score=scored[place]) for place in each] for each in lists])
        assert [found.segment for found in made] == expected


def test_by_object_each_stands_once_where_the_best_of_its_segments_put_it():
    one = [hit("a", 0), hit("a", 1), hit("b", 0), hit("c", 4)]
    two = [hit("c", 3), hit("a", 2), hit("d", 0)]
    assert [(h.uri, h.segment) for h in hybrid.fused([one, two], per_object=True)] == [("a", 0), ("c", 4), ("b", 0), ("d", 0)]
    assert [h.uri for h in hybrid.fused([one, two])].count("a") == 3


def hit(uri, segment):
    return Hit(uri, "text", "text", segment, None, None, None, 0.5)


def test_rows_written_after_the_index_are_found_by_their_words(tmp_path):
    searcher = opened(tmp_path / "lance", texts(["an old harbour", "a new lighthouse"]))
    assert found(searcher, "lighthouse") == {"a new lighthouse"}
    assert {NOW.year, len(hybrid.rows_with(searcher, "lighthouse"))} == {2026, 1}
