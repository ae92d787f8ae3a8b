"""Hits become passages: chunks of one text that touch are one stretch, windows one moment, and everything says where it is."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.answers.passages import Passage, cut, passages, trimmed
from retrieval.query import Hit

TEXT = "Dogs bark at night. Cats do not.\n\nA train is blue, and it passes the sea in the rain. Nobody hears it."


def chunk(start: int, end: int, score: float = 0.5, uri: str = "a.txt", segment: int | None = None) -> Hit:
    return Hit(uri, "text", "text", start if segment is None else segment, float(start), float(end), TEXT[start:end], score)


def spans(found: list[Passage]) -> list[tuple[str, float | None, float | None, float, int]]:
    return [(p.uri, p.start, p.end, p.score, p.hits) for p in found]


def test_overlapping_chunks_are_one_passage_in_which_what_they_share_stands_once():
    [whole] = passages([chunk(0, 19, 0.4), chunk(10, 32, 0.7)])
    assert whole == Passage("a.txt", "text", "text", 0.0, 32.0, TEXT[:32], 0.7, 2)


def test_chunks_with_only_white_space_between_them_are_one_passage():
    blank = passages([chunk(0, 19, segment=0), chunk(20, 32, segment=1)])
    paragraph = passages([chunk(34, 52, segment=2), chunk(20, 32, segment=1)])
    assert [p.text for p in blank] == [TEXT[:32]]
    assert [p.text for p in paragraph] == [TEXT[20:52]]


def test_chunks_that_do_not_follow_one_another_may_have_a_word_between_them():
    assert len(passages([chunk(0, 19, segment=0), chunk(20, 32, segment=2)])) == 2


def test_chunks_with_words_between_them_are_two_passages_best_first():
    assert spans(passages([chunk(0, 19, 0.4, segment=0), chunk(34, 52, 0.7, segment=1)])) == [
        ("a.txt", 34, 52, 0.7, 1),
        ("a.txt", 0, 19, 0.4, 1),
    ]


def test_a_chunk_within_another_adds_nothing():
    assert [p.text for p in passages([chunk(0, 32), chunk(5, 19)])] == [TEXT[:32]]


def test_chunks_of_two_texts_are_never_one():
    assert len(passages([chunk(0, 19), chunk(10, 32, uri="b.txt")])) == 2


def test_chunks_that_do_not_share_what_their_places_say_stay_apart():
    other = Hit("a.txt", "text", "text", 1, 10.0, 32.0, "x" * 22, 0.5)
    longer = Hit("a.txt", "text", "text", 1, 10.0, 32.0, TEXT[10:40], 0.5)
    assert len(passages([chunk(0, 19), other])) == 2
    assert len(passages([chunk(0, 19), longer])) == 2


def test_the_same_segment_counts_once_with_its_better_score():
    assert spans(passages([chunk(0, 19, 0.4), chunk(0, 19, 0.6)])) == [("a.txt", 0, 19, 0.6, 1)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(TEXT) - 1), st.integers(1, 40)), min_size=1, max_size=8), st.randoms())
def test_every_hit_stands_in_a_passage_that_is_the_text_at_its_place(places: list[tuple[int, int]], rng: random.Random):
    hits = []
    for number, (start, length) in enumerate(places):
        words = TEXT[start : start + length].strip()
        if words:
            first = TEXT.index(words, start)
            hits.append(chunk(first, first + len(words), rng.random(), segment=2 * number))
    found = passages(hits)
    for passage in found:
        assert passage.start is not None and passage.end is not None and passage.text is not None
        assert passage.text.split() == TEXT[int(passage.start) : int(passage.end)].split()
        assert len(passage.text) == passage.end - passage.start
    for hit in hits:
        assert any(p.start <= hit.start and hit.end <= p.end and p.score >= hit.score for p in found)
    assert [p.score for p in found] == sorted((p.score for p in found), reverse=True)


def test_windows_and_frames_become_moments_and_pictures_stay_alone():
    hits = [
        Hit("rain.wav", "audio", "audio", 0, 0.0, 10.0, None, 0.5),
        Hit("rain.wav", "audio", "audio", 1, 10.0, 20.0, None, 0.6),
        Hit("dog.png", "image", "image", 0, None, None, None, 0.9),
        Hit("walk.mp4", "video", "image", 3, 6.0, 8.0, None, 0.7),
    ]
    found = passages(hits)
    assert [p.citation(n) for n, p in enumerate(found, 1)] == [
        "[1] dog.png",
        "[2] walk.mp4, seconds 6.0 to 8.0",
        "[3] rain.wav, seconds 0.0 to 20.0",
    ]
    assert [p.hits for p in found] == [1, 1, 2]


def test_a_text_is_cited_by_its_characters():
    assert passages([chunk(20, 32)])[0].citation(7) == "[7] a.txt, characters 20 to 32"


def test_a_part_keeps_its_place_in_the_object():
    [passage] = passages([chunk(20, 52)])
    part = cut(passage, 14, 32, 0.25)
    assert (part.start, part.end, part.text, part.score) == (34, 52, TEXT[34:52], 0.25)
    assert trimmed(cut(passage, 0, 14, 0.1)).text == TEXT[20:32]
    assert trimmed(cut(passage, 0, 14, 0.1)).end == 32


@pytest.mark.parametrize("medium", ["image", "audio"])
def test_only_texts_are_trimmed(medium: str):
    other = Passage("x", medium, medium, None, None, "a caption  ", 0.5)
    assert trimmed(other) is other
