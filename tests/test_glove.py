"""GloVe: co-occurrences counted as a double loop counts them, gradients as autograd has them, and words that mean what they should."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest
import torch
from royal_corpus import royal_sentences

from encoders.errors import EncoderError
from encoders.words.cooccurrences import RECORD, Cooccurrences
from encoders.words.glove import Glove, GloveParameters, train_glove


def counted_naively(sentences, window):
    """The matrix as section 4.2 of the paper says it: each context word at distance d counts 1/d, on both sides."""
    counts = defaultdict(float)
    for sentence in sentences:
        for place, word in enumerate(sentence):
            for other in range(max(0, place - window), min(len(sentence), place + window + 1)):
                if other != place:
                    counts[int(word), int(sentence[other])] += 1 / abs(place - other)
    return counts


def drawn_sentences(words, count, longest=40, seed=0):
    rng = np.random.default_rng(seed)
    return [np.minimum(rng.zipf(1.5, rng.integers(0, longest)) - 1, words - 1) for _ in range(count)]


def records_of(blocks):
    return np.concatenate([np.fromfile(block, RECORD) for block in blocks])


@pytest.mark.parametrize("pairs", [60, 500, 1_000_000], ids=["many runs", "some runs", "one run"])
@pytest.mark.parametrize("window", [1, 4, 50])
def test_cooccurrences_are_those_of_a_double_loop_however_often_memory_ran_full(tmp_path, monkeypatch, pairs, window):
    monkeypatch.setattr("encoders.words.cooccurrences._STEP", 8)  # so that parts are cut within these small runs
    sentences = drawn_sentences(words=30, count=60)
    pairs_of = Cooccurrences(tmp_path, 30, window, pairs)
    for start in range(0, len(sentences), 7):
        pairs_of.add(sentences[start : start + 7])
    records = records_of(pairs_of.blocks(np.random.default_rng(0)))
    expected = counted_naively(sentences, window)
    assert len(records) == len(expected)
    found = {(int(r["word"]), int(r["context"])): float(r["count"]) for r in records}
    assert found.keys() == expected.keys()
    for key, count in expected.items():
        assert found[key] == pytest.approx(count, rel=1e-5)


def test_blocks_hold_about_as_many_records_as_memory_may_and_runs_are_gone(tmp_path):
    pairs = Cooccurrences(tmp_path, 500, 5, pairs=2000)
    for start in range(0, 400, 20):
        pairs.add(drawn_sentences(500, 20, seed=start))
    blocks = pairs.blocks(np.random.default_rng(0))
    sizes = [len(np.fromfile(block, RECORD)) for block in blocks]
    assert len(blocks) > 3
    assert max(sizes) < 1.2 * 2000
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(block.name for block in blocks)


def test_blocks_are_dealt_at_random(tmp_path):
    pairs = Cooccurrences(tmp_path, 200, 5, pairs=1000)
    pairs.add(drawn_sentences(200, 400))
    first = np.fromfile(pairs.blocks(np.random.default_rng(0))[0], RECORD)
    assert first["word"].min() < 20  # sorted runs would have put all small numbers into one block
    assert first["word"].max() > 150


def test_one_pass_is_adagrad_on_the_weighted_squares_with_gradients_by_autograd():
    rng = np.random.default_rng(3)
    records = np.empty(300, RECORD)
    records["word"], records["context"] = rng.integers(0, 6, 300), rng.integers(0, 6, 300)
    records["count"] = rng.uniform(0.1, 30, 300)
    model = Glove(6, 5, np.random.default_rng(1), GloveParameters(rate=0.05, most=10.0, power=0.75))
    values = torch.tensor(model.values.astype(np.float64), requires_grad=True)
    squares = torch.ones_like(values)
    total = 0.0
    for word, context, count in records.tolist():
        w, c = values[word], values[6 + context]
        loss = min(1.0, count / 10) ** 0.75 * (w[:-1] @ c[:-1] + w[-1] + c[-1] - np.log(count)) ** 2 / 2
        (gradient,) = torch.autograd.grad(loss, values)
        with torch.no_grad():
            values -= 0.05 * gradient / squares.sqrt()
            squares += (0.05 * gradient) ** 2
        total += float(loss.detach())
    assert model.train(records) == pytest.approx(total, rel=1e-4)
    np.testing.assert_allclose(model.values, values.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(model.squares, squares.numpy(), rtol=1e-4)


@pytest.fixture(scope="module")
def royal(tmp_path_factory):
    """The small language: its words, its records, and what trains on them for some epochs."""
    sentences = royal_sentences(3000)
    words = sorted({word for sentence in sentences for word in sentence})
    index = {word: row for row, word in enumerate(words)}
    pairs = Cooccurrences(tmp_path_factory.mktemp("royal"), len(words), 4, pairs=5000)
    pairs.add([np.array([index[word] for word in sentence]) for sentence in sentences])
    blocks = pairs.blocks(np.random.default_rng(0))

    def trained(epochs):
        rng, heard = np.random.default_rng(1), []
        model = Glove(len(words), 12, rng)
        losses = train_glove(model, blocks, epochs, rng, lambda epoch, loss: heard.append((epoch, loss)))
        assert heard == list(enumerate(losses, start=1))
        return model, losses

    return words, records_of(blocks), trained


def test_the_loss_falls(royal):
    _, _, trained = royal
    losses = trained(25)[1]
    assert losses[-1] < losses[0] / 100
    assert all(later < earlier * 1.02 for earlier, later in pairwise(losses))


def test_products_become_the_logarithms_of_the_counts(royal):
    words, records, trained = royal
    model, _ = trained(1000)
    word, context = model.values[records["word"]], model.values[len(words) + records["context"]]
    products = (word[:, :-1] * context[:, :-1]).sum(1) + word[:, -1] + context[:, -1]
    assert np.corrcoef(products, np.log(records["count"]))[0, 1] > 0.999


def test_king_is_to_man_what_queen_is_to_woman(royal):
    words, _, trained = royal
    vectors = trained(25)[0].vectors
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    king, man, woman = (unit[words.index(word)] for word in ("king", "man", "woman"))
    nearest = [words[row] for row in np.argsort(-(unit @ (king - man + woman))) if words[row] not in ("king", "man", "woman")]
    assert {"queen", "princess"} == set(nearest[:2])


def test_the_same_seed_gives_the_same_vectors_and_another_seed_others(tmp_path):
    def trained(seed):
        folder = tmp_path / f"{seed}-{len([*tmp_path.iterdir()])}"
        folder.mkdir()
        rng = np.random.default_rng(seed)
        pairs = Cooccurrences(folder, 50, 5, pairs=300)
        pairs.add(drawn_sentences(50, 50))
        model = Glove(50, 6, rng)
        train_glove(model, pairs.blocks(rng), 3, rng)
        return model.vectors

    assert (trained(1) == trained(1)).all()
    assert np.abs(trained(1) - trained(2)).max() > 1e-3


def test_texts_without_neighbours_are_refused(tmp_path):
    pairs = Cooccurrences(tmp_path, 5, 3)
    pairs.add([np.array([1]), np.array([2])])
    rng = np.random.default_rng(0)
    with pytest.raises(EncoderError, match="no two words stand near each other"):
        train_glove(Glove(5, 4, rng), pairs.blocks(rng), 2, rng)


def test_a_loss_that_is_no_longer_finite_is_told(tmp_path):
    pairs = Cooccurrences(tmp_path, 50, 5)
    pairs.add(drawn_sentences(50, 50))
    rng = np.random.default_rng(0)
    with pytest.raises(EncoderError, match="smaller rate"):
        train_glove(Glove(50, 4, rng, GloveParameters(rate=1e30)), pairs.blocks(rng), 5, rng)
