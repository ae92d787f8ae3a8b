"""Places on a plane: neighbours stay neighbours, the same seed gives the same map, and any number of points has one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from themed_table import themed, unit

from retrieval import plane as planes
from retrieval.plane import centred, plane


@pytest.fixture(scope="module")
def groups():
    """Six groups in 32 dimensions, and which each is of."""
    rng = np.random.default_rng(3)
    return np.concatenate([themed(rng, k, 40, 32, 0.1) for k in range(6)]).astype(np.float32), np.repeat(np.arange(6), 40)


@pytest.fixture(scope="module")
def placed(groups):
    return plane(groups[0], seed=4)


def test_neighbours_on_the_plane_are_neighbours_in_the_space(groups, placed):
    assert trustworthiness(groups[0], placed, n_neighbors=10) > 0.93
    nearest = np.linalg.norm(placed[:, None] - placed[None], axis=2) + 9 * np.eye(len(placed))
    assert (groups[1][nearest.argmin(axis=1)] == groups[1]).mean() > 0.98


def test_the_same_seed_gives_the_same_places(groups, placed):
    assert np.array_equal(plane(groups[0].astype(np.float16).astype(np.float32), seed=4), plane(groups[0].astype(np.float16), seed=4))
    assert placed.dtype == np.float32 and placed.shape == (240, 2)
    assert np.abs(placed).max() == 1 and np.allclose(placed.max(axis=0), -placed.min(axis=0))


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 8, 9])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_few_points_have_places_too(n, d):
    vectors = np.random.default_rng(n).standard_normal((n, d))
    found = plane(vectors)
    assert found.shape == (n, 2) and np.isfinite(found).all() and np.abs(found).max(initial=0) <= 1
    if n > 1 and d > 1:
        assert len(np.unique(found, axis=0)) == n


def test_vectors_that_are_all_alike_lie_in_one_place():
    assert np.array_equal(plane(np.ones((20, 4))), np.zeros((20, 2)))


def test_of_many_points_those_that_are_not_laid_out_lie_among_their_nearest(groups):
    vectors, of = groups
    found = plane(vectors, most=120)
    nearest = np.linalg.norm(found[:, None] - found[None], axis=2) + 9 * np.eye(len(found))
    assert (of[nearest.argmin(axis=1)] == of).mean() > 0.95


def test_a_point_among_its_nearest_lies_at_their_mean(monkeypatch):
    monkeypatch.setattr(planes, "NEAREST", 2)
    vectors = unit(np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0.1]]))
    places = np.array([[0.0, 0], [1, 0], [0, 5]], np.float32)
    assert planes._put_among(vectors, np.array([0, 1, 2]), places)[3] == pytest.approx([0.5, 0])


def test_centring_takes_away_where_a_modality_stands():
    rng = np.random.default_rng(1)
    meaning = themed(rng, 0, 60, 16, 0.5)
    shifted = unit(meaning + np.repeat([5 * np.eye(16)[14], 5 * np.eye(16)[15]], 30, axis=0))
    names = ["image"] * 30 + ["audio"] * 30
    moved = centred(shifted, names)
    assert np.linalg.norm(shifted[:30].mean(axis=0) - shifted[30:].mean(axis=0)) > 1
    assert np.linalg.norm(moved[:30].mean(axis=0) - moved[30:].mean(axis=0)) < 0.2
    assert np.allclose(np.linalg.norm(moved, axis=1), 1)
    alone = centred(shifted, [*names[:-1], "video"])
    assert np.linalg.norm(alone[-1]) == pytest.approx(1)
    assert centred(np.empty((0, 4)), []).shape == (0, 4)


@pytest.mark.parametrize("vectors", [np.ones(3), np.ones((3, 0)), np.array([[1, np.nan]])])
def test_what_is_no_set_of_vectors_is_refused(vectors):
    with pytest.raises(ValueError, match="a map needs"):
        plane(vectors)
