"""The order of rows, and mined negatives."""

from __future__ import annotations

import numpy as np
import pytest

from encoders.align.sampling import Shuffled, mine
from encoders.errors import EncoderError


def test_an_epoch_takes_every_row_once_but_what_is_left_over():
    order = Shuffled(103, 10, seed=1)
    assert order.steps_per_epoch == 10
    rows = np.concatenate([order(step) for step in range(10)])
    assert len(set(rows.tolist())) == 100 and rows.min() >= 0 and rows.max() < 103


def test_a_step_has_the_same_rows_whenever_it_is_asked_for():
    one, other = Shuffled(50, 7, seed=3), Shuffled(50, 7, seed=3)
    forth = [one(step) for step in range(30)]
    back = [other(step) for step in reversed(range(30))][::-1]
    assert all((a == b).all() for a, b in zip(forth, back, strict=True))


def test_epochs_and_seeds_differ():
    assert (Shuffled(50, 50, 0)(0) != Shuffled(50, 50, 0)(1)).any()
    assert (Shuffled(50, 50, 0)(0) != Shuffled(50, 50, 1)(0)).any()


@pytest.mark.parametrize(
    ("rows", "batch", "told"),
    [(0, 2, "at least two, got 0"), (1, 2, "at least two, got 1"), (9, 10, "batch = 10 is more than the 9"), (9, 1, "batch = 1:")],
)
def test_too_few_rows_are_refused(rows, batch, told):
    with pytest.raises(EncoderError, match=told):
        Shuffled(rows, batch, 0)


def unit(*shape, seed):
    vectors = np.random.default_rng(seed).normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def naive(a, b, ids_a, ids_b, count, most):
    """For each example one sorted list of all items of b that no example pairs with its item of a."""
    paired = {(x, y) for x, y in zip(ids_a.tolist(), ids_b.tolist(), strict=True) if x >= 0 and y >= 0}
    found = []
    for x, y in zip(ids_a.tolist(), ids_b.tolist(), strict=True):
        if x < 0 or y < 0:
            found.append([])
            continue
        own = float(a[x] @ b[y])
        limit = np.inf if not most else most * own if own > 0 else own
        wrong = [item for item in sorted(set(ids_b[ids_b >= 0].tolist())) if (x, item) not in paired and float(a[x] @ b[item]) <= limit]
        found.append(sorted(wrong, key=lambda item: -float(a[x] @ b[item]))[:count])
    return found


@pytest.mark.parametrize("most", [0.0, 0.95])
def test_mined_negatives_are_the_nearest_items_that_are_not_right(most):
    rng = np.random.default_rng(0)
    ids_a, ids_b = rng.integers(0, 40, 300), rng.integers(0, 60, 300)
    ids_a[::17], ids_b[5::23] = -1, -1
    a, b = unit(40, 8, seed=1), unit(60, 8, seed=2)
    found = mine(a, b, ids_a, ids_b, 4, most, block=32)
    assert found.shape == (300, 4)
    for row, expected in enumerate(naive(a, b, ids_a, ids_b, 4, most)):
        there = found[row][found[row] >= 0]
        assert ids_b[there].tolist() == expected
        assert (found[row][len(expected) :] == -1).all()


def test_a_mined_negative_is_never_an_equal_item():
    """Where all captions are nearly one, the hardest candidates are equal ones; they must not be among those that are mined."""
    rng = np.random.default_rng(1)
    ids_a, ids_b = rng.integers(0, 10, 200), rng.integers(0, 12, 200)
    same = np.ones((12, 4), np.float32) / 2
    found = mine(same[:10], same, ids_a, ids_b, 12, most=0)
    paired = set(zip(ids_a.tolist(), ids_b.tolist(), strict=True))
    mined = [(ids_a[row], ids_b[other]) for row in range(200) for other in found[row] if other >= 0]
    assert mined and not paired & {(int(x), int(y)) for x, y in mined}


def test_where_everything_is_right_nothing_is_mined():
    found = mine(unit(1, 4, seed=0), unit(3, 4, seed=1), np.zeros(3, np.int64), np.arange(3), 2)
    assert (found == -1).all()
