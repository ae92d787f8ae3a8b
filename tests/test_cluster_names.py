"""Names of clusters: nearest words wherever modalities stand, and class-based TF-IDF against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest
from themed_table import themed, unit

from retrieval.cluster.cluster_names import class_tfidf, distinctive_words, given, mined, nearest_words
from retrieval.errors import QueryError


def test_class_tfidf_is_what_the_paper_says():
    counts = np.random.default_rng(0).integers(0, 9, (4, 7)).astype(float)
    average = sum(sum(row) for row in counts) / 4
    for c in range(4):
        for w in range(7):
            frequency = counts[c, w] / sum(counts[c])
            everywhere = sum(counts[k, w] for k in range(4))
            assert class_tfidf(counts)[c, w] == pytest.approx(frequency * math.log(1 + average / everywhere))


def test_a_class_without_words_and_a_word_of_no_class_weigh_nothing():
    assert class_tfidf(np.array([[2.0, 0, 1], [0, 0, 0]]))[:, 1].tolist() == [0, 0] and class_tfidf(np.zeros((2, 3))).sum() == 0


def test_words_that_set_the_texts_of_a_cluster_apart_name_it():
    texts = ["a big dog", "a small dog", "a big cat", "", "the small cat", "dog cat bird", "只狗狗叫"]
    names = distinctive_words(texts, np.array([0, 0, 1, 1, 1, -1, 0]), most=1)
    assert [str(name) for name in names] == ["dog", "cat"]
    assert distinctive_words(["", ""], np.array([0, 1]))[1].words == ()


def test_a_vocabulary_is_mined_from_what_two_texts_say():
    texts = ["The red dog, the dog", "a red Dog", "red x x", "x 狗 在叫", "狗 sleeping"]
    assert mined(texts) == ["red", "dog", "狗"]
    assert mined(texts, 1) == ["red"] and mined([]) == []


def test_the_nearest_words_name_a_cluster_wherever_modalities_and_words_stand():
    rng = np.random.default_rng(5)
    meanings = np.concatenate([themed(rng, k, 20, 32) for k in range(3)])
    cones = 4 * np.eye(32)[[30, 31]]
    vectors = unit(meanings + cones[np.arange(60) % 2])
    meant = np.concatenate([np.eye(32)[:5], cones.sum(axis=0, keepdims=True)])  # the last is near to every picture and sound
    encoded = unit(meant + 4 * np.eye(32)[29])
    names = nearest_words(
        vectors.astype(np.float32),
        np.repeat(np.arange(3), 20),
        ["image", "audio"] * 30,
        ["dog", "cat", "bird", "train", "sea", "recorded"],
        encoded.astype(np.float32),
        most=2,
    )
    assert [name.words[0] for name in names] == ["dog", "cat", "bird"]
    assert all(len(name.words) == 2 and name.scores[0] > name.scores[1] for name in names)


def test_words_are_given_one_a_line():
    assert given("dog\n\n  a red train \r\ndog\n") == ["dog", "a red train"]
    with pytest.raises(QueryError, match="empty"):
        given(" \n")
