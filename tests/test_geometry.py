"""Gap, alignment and uniformity against double loops, scipy and shapes whose values are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from retrieval.score import geometry
from retrieval.score.geometry import alignment, modality_gap, uniformity


def unit(rows: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_the_gap_is_the_distance_of_the_means():
    a, b = unit(30, seed=1), unit(50, seed=2)
    slow = math.sqrt(sum((sum(map(float, a[:, j])) / 30 - sum(map(float, b[:, j])) / 50) ** 2 for j in range(8)))
    assert modality_gap(a, b) == pytest.approx(slow)
    assert modality_gap(a, a[::-1]) == pytest.approx(0, abs=1e-12)
    assert modality_gap(np.eye(3)[[0, 0]], -np.eye(3)[[0, 0, 0]]) == 2


def test_alignment_and_uniformity_are_their_authors_own_code():
    """The functions of github.com/SsnL/align_uniform, as their README prints them."""
    a, b = torch.tensor(unit(200, seed=1), dtype=torch.float64), torch.tensor(unit(200, seed=2), dtype=torch.float64)
    for alpha in (1, 2):
        assert alignment(a.numpy(), b.numpy(), alpha) == pytest.approx((a - b).norm(dim=1).pow(alpha).mean().item())
    for t in (1, 2):
        assert uniformity(a.numpy(), t) == pytest.approx(torch.pdist(a, p=2).pow(2).mul(-t).exp().mean().log().item())


def test_uniformity_in_blocks_is_that_of_all_pairs(monkeypatch):
    vectors = unit(300)
    expected = math.log(np.exp(-2 * pdist(vectors.astype(np.float64), "sqeuclidean")).mean())
    for block in (1, 7, 299, 300, 1000):
        monkeypatch.setattr(geometry, "BLOCK", block)
        assert uniformity(vectors) == pytest.approx(expected)


def test_alike_vectors_are_aligned_and_not_uniform():
    alike = np.repeat(unit(1), 20, axis=0)
    assert alignment(alike, alike) == 0
    assert uniformity(alike) == pytest.approx(0, abs=1e-6)
    assert uniformity(unit(400, 256)) == pytest.approx(-4, abs=0.05)
    assert alignment(np.eye(2), np.eye(2)[::-1]) == pytest.approx(2)


def test_half_precision_will_do():
    a, b = unit(100, seed=1).astype(np.float16), unit(100, seed=2).astype(np.float16)
    assert modality_gap(a, b) == pytest.approx(modality_gap(a.astype(float), b.astype(float)))
    assert alignment(a, b) == pytest.approx(alignment(a.astype(float), b.astype(float)))
    assert uniformity(a) == pytest.approx(uniformity(a.astype(float)))


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="at least one row"):
        modality_gap(unit(0), unit(3))
    with pytest.raises(ValueError, match="one shape"):
        alignment(unit(2), unit(3))
    with pytest.raises(ValueError, match="got 1 rows"):
        uniformity(unit(1))
