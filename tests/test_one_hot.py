"""One-hot words and hashed bags of words: what they count, and why they are only a baseline."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from tiny_words import words

from encoders import registry
from encoders.errors import EmptyError, EncoderError
from encoders.stacking import alone, stack

TEXTS = ["The king and the queen, the bank.", "a small red bird sings in the rain", "river bank", "一只红色的小鸟在雨中唱歌"]


def vectors(encoder, texts):
    return np.concatenate([encoder.encode(alone(encoder.prepare(text))) for text in texts])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return words(tmp_path_factory.mktemp("words") / "folder", vectors=False)


@pytest.mark.parametrize("binary", [False, True])
def test_one_hot_vectors_are_those_of_scikit_learns_counts(folder, binary):
    encoder = registry.build(registry.describe("one-hot", str(folder), binary=binary))
    vocabulary = [encoder.vocabulary.word(row) for row in range(len(encoder.vocabulary))]
    assert encoder.spec.dimension == len(vocabulary)
    counted = CountVectorizer(vocabulary=vocabulary, token_pattern=r"(?u)\b\w+\b", binary=binary).transform(TEXTS[:3]).toarray()
    expected = counted / np.linalg.norm(counted, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors(encoder, TEXTS[:3]), expected, atol=1e-6)


def test_all_different_words_are_equally_far_from_each_other(folder):
    encoder = registry.build(registry.describe("one-hot", str(folder)))
    similar = vectors(encoder, ["king", "queen", "bird", "小鸟", "seven"])
    np.testing.assert_allclose(similar @ similar.T, np.eye(5), atol=1e-6)


def test_the_vector_grows_with_the_vocabulary_and_can_be_kept_to_frequent_words(folder):
    spec = registry.describe("one-hot", str(folder), words=100)
    assert spec.dimension == 100
    encoder = registry.build(spec)
    kept = [encoder.vocabulary.word(row) for row in range(100)]
    assert kept[:3] == ["the", "of", "and"]
    assert vectors(encoder, ["the of and"]).shape == (1, 100)
    rare = encoder.vocabulary.word(200)
    with pytest.raises(EmptyError, match="no known words"):
        encoder.prepare(rare)
    with pytest.raises(EncoderError, match="take bag-of-words"):
        registry.describe("one-hot", str(folder), words=100_000)
    with pytest.raises(EncoderError, match="take bag-of-words"):
        registry.describe("one-hot", str(folder), words=-1)


def hashed_naively(text, dimension):
    """Each word's hash, read as one number: its highest bit is the sign, the rest modulo the dimension the place."""
    found = np.zeros(dimension)
    for word, count in Counter(text.lower().replace(",", "").replace(".", "").split()).items():
        number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        found[number % 2**63 % dimension] += -count if number >= 2**63 else count
    return found / np.linalg.norm(found)


@pytest.mark.parametrize("dimension", [2, 64, 1000])
def test_a_bag_of_words_adds_one_at_the_place_that_a_stable_hash_says(dimension):
    encoder = registry.build(registry.describe("bag-of-words", dimension=dimension))
    for text in TEXTS[:3]:
        np.testing.assert_allclose(vectors(encoder, [text])[0], hashed_naively(text, dimension), atol=1e-6)


def test_products_of_bags_are_about_those_of_one_hot_vectors(folder):
    vocabulary = registry.build(registry.describe("one-hot", str(folder))).vocabulary
    rng = np.random.default_rng(0)
    texts = [" ".join(vocabulary.word(int(row)) for row in rng.zipf(1.3, 60) % len(vocabulary)) for _ in range(40)]
    exact = vectors(registry.build(registry.describe("one-hot", str(folder))), texts)
    errors = []
    for dimension in (64, 1024, 16384):
        bags = vectors(registry.build(registry.describe("bag-of-words", dimension=dimension)), texts)
        errors.append(np.abs(bags @ bags.T - exact @ exact.T).mean())
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.02


def test_a_bag_in_binary_counts_each_word_once():
    encoder = registry.build(registry.describe("bag-of-words", binary=True))
    once, often = vectors(encoder, ["red bird", "red red red bird"])
    np.testing.assert_array_equal(once, often)


def test_one_alone_is_as_in_a_batch(folder):
    for name, options in (("one-hot", {"weights": str(folder)}), ("bag-of-words", {})):
        encoder = registry.build(registry.describe(name, **options))
        inputs = [encoder.prepare(text) for text in TEXTS]
        batch = encoder.encode(stack({"words": [one["words"] for one in inputs]}, [2, 0, 3, 1]))
        np.testing.assert_allclose(batch, vectors(encoder, TEXTS)[[2, 0, 3, 1]], atol=1e-6)


def test_a_bag_of_words_takes_no_weights_and_a_sensible_dimension(folder):
    with pytest.raises(EncoderError, match="leave weights and revision out"):
        registry.describe("bag-of-words", str(folder))
    for dimension in (1, 0, -5, 10**6):
        with pytest.raises(EncoderError, match="give a dimension from 2"):
            registry.describe("bag-of-words", dimension=dimension)


def test_one_hot_says_which_command_makes_a_vocabulary(tmp_path):
    for weights in ("", str(tmp_path / "nowhere")):
        with pytest.raises(EncoderError, match="sensorium train-words SOURCE --method vocabulary"):
            registry.describe("one-hot", weights)


@pytest.mark.parametrize("name", ["one-hot", "bag-of-words"])
def test_a_text_without_words_has_no_vector(folder, name):
    encoder = registry.build(registry.describe(name, **({"weights": str(folder)} if name == "one-hot" else {})))
    with pytest.raises(ValueError, match="leave it out"):
        encoder.prepare("  \n")
    with pytest.raises(EmptyError, match="no known words"):
        encoder.prepare("!!! … 🎉")
