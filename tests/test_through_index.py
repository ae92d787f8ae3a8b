"""Figures through an index that lists what a test says: which of equal objects it lists changes nothing, and what it misses is told."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from retrieval.candidates import Candidates
from retrieval.ranking import FAR
from retrieval.score.questions import Chosen, Question, Scored
from retrieval.score.through_index import positions_in_lists, through_index

COPIES = [f"copy {k:02}" for k in range(30)]


def angle(cosine):
    """A unit vector of this cosine with the query, (1, 0)."""
    return [cosine, np.sqrt(1 - cosine**2)]


def held(medium, vectors):
    """Objects of one row each, by name."""
    names = list(vectors)
    objects = pl.DataFrame({"uri": names, "medium": medium, "content_hash": names, "rows": 1, "first": range(len(names))})
    return Candidates(objects, np.array([*vectors.values()], np.float16))


def asked(pictures, right, listed):
    """What one text gets through an index that lists these pictures, and its exact positions."""
    texts, images = held("text", {"a text": [1, 0]}), held("image", pictures)
    places = {name: place for place, name in enumerate(pictures)}
    question = Question(
        Chosen(texts, np.arange(1)),
        Chosen(images, np.arange(len(pictures))),
        np.array([(0, place) for place in sorted(map(places.get, right))]),
    )
    table = SimpleNamespace(list_indices=lambda: [SimpleNamespace(columns=["vector"])])
    searcher = SimpleNamespace(table=table, nearest=lambda vectors, keep, limit: [SimpleNamespace(uri=name) for name in listed])
    positions = question.positions()
    return through_index(Scored(searcher, images, texts), "text>image", question, positions, seed=0), positions


def alike():
    """Thirty copies that score 0.9, and ten pictures that score less."""
    return dict.fromkeys(COPIES, angle(0.9)) | {f"other {k}": angle(0.5 - k / 100) for k in range(10)}


def figure(index, name):
    return index.figures[name].value


@pytest.mark.parametrize("listed", [COPIES[:10], COPIES[20:], COPIES[9::-1]], ids=["the first", "the last", "the right one last"])
def test_copies_are_as_good_as_each_other_and_the_right_one_comes_last(listed):
    index, positions = asked(alike(), ["copy 00"], listed)
    assert positions[0, 0] == 30
    assert (index.found, index.lost.value, figure(index, "recall@10")) == (1, 0, 0)
    if "copy 00" in listed:
        assert figure(index, "mrr") == pytest.approx(1 / 30)


def test_what_scores_less_than_the_tenth_is_not_found():
    index, _ = asked(alike(), ["copy 00"], [*COPIES[20:26], *(f"other {k}" for k in range(4))])
    assert index.found == pytest.approx(0.6)


def test_a_right_answer_that_the_index_misses_is_lost():
    pictures = {f"picture {k}": angle(0.9 - k / 20) for k in range(15)}
    index, positions = asked(pictures, ["picture 2"], [f"picture {k}" for k in range(12) if k != 2][:10])
    assert positions[0, 0] == 3
    assert (index.lost.value, figure(index, "recall@10"), index.found) == (1, 0, pytest.approx(0.9))


def test_an_index_that_leaves_out_better_wrong_ones_or_sorts_otherwise_is_taken_as_it_lists():
    pictures = {f"picture {k}": angle(0.9 - k / 20) for k in range(15)}
    index, _ = asked(pictures, ["picture 12"], ["picture 0", "picture 14", "picture 12"])
    assert (figure(index, "mrr"), index.lost.value, index.found) == (pytest.approx(1 / 3), -1, pytest.approx(0.1))


def test_fewer_than_ten_objects_can_all_be_found():
    index, _ = asked({f"picture {k}": angle(0.9 - k / 20) for k in range(4)}, ["picture 3"], [f"picture {k}" for k in range(4)])
    assert (index.found, index.lost.value, figure(index, "mrr")) == (1, 0, 0.25)


def test_several_right_answers_stand_behind_the_wrong_ones_that_tie_with_them_and_not_behind_each_other():
    pictures = {"a": [1, 0], "b": angle(0.8), "c": angle(0.8), "d": angle(0.8), "e": angle(0.8), "f": angle(0.3)}
    images, texts = held("image", pictures), held("text", {"a text": [1, 0]})
    question = Question(Chosen(texts, np.arange(1)), Chosen(images, np.arange(6)), np.array([[0, 1], [0, 2], [0, 5]]))  # b, c and f
    scores = np.array([[1, *[float(np.float16(0.8))] * 3]], np.float32)
    found = positions_in_lists(question, [np.array([0, 1, 3, 2])], scores)  # a, b, d, c; the copy e is not listed
    assert found[0].tolist() == [4, 5, FAR, *[0] * 7]
