"""The shape of a space: the gap between modalities, alignment of pairs, uniformity of a modality; pure functions on unit vectors."""

from __future__ import annotations

import numpy as np

BLOCK = 1024  # rows whose distances to all others are held at once


def modality_gap(a: np.ndarray, b: np.ndarray) -> float:
    """Length of the difference of two modalities' means: 0 where they share one place, 2 where they sit at opposite poles.

    (n, d) and (m, d) unit vectors. Liang et al. 2022, "Mind the Gap", section 2.
    """
    return float(np.linalg.norm(_mean(a) - _mean(b)))


def alignment(a: np.ndarray, b: np.ndarray, alpha: float = 2.0) -> float:
    """Mean distance of pairs to the power `alpha`: 0 where both of each pair lie in one point; lower is better.

    (n, d) both, a[i] belongs to b[i]. Wang & Isola 2020, "Understanding Contrastive Representation Learning through Alignment and
    Uniformity on the Hypersphere", their l_align with alpha = 2.
    """
    if a.shape != b.shape or not len(a):
        raise ValueError(f"alignment is of pairs: both sides need one shape and at least one row, got {a.shape} and {b.shape}")
    distances = np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=1)
    return float(np.mean(distances**alpha))


def uniformity(vectors: np.ndarray, t: float = 2.0) -> float:
    """Log of the mean of exp(-t squared distance) over all pairs of different rows: lower is better, 0 where all are alike.

    (n, d) unit vectors, n at least 2; near -2 t (-4) where many dimensions are filled evenly. Wang & Isola 2020, their
    l_uniform with t = 2. Takes n²/2 distances in blocks of rows.
    """
    n = len(vectors)
    if n < 2:
        raise ValueError(f"uniformity is over pairs of rows; got {n} rows")
    total = 0.0
    for low in range(0, n, BLOCK):
        rows, later = vectors[low : low + BLOCK].astype(np.float64), vectors[low:].astype(np.float64)
        squared = (rows**2).sum(axis=1)[:, None] + (later**2).sum(axis=1) - 2 * rows @ later.T
        total += float(np.triu(np.exp(-t * np.maximum(squared, 0)), k=1).sum())
    return float(np.log(total / (n * (n - 1) / 2)))


def _mean(vectors: np.ndarray) -> np.ndarray:
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"a modality's mean needs vectors of shape (n, d) with at least one row, got {vectors.shape}")
    mean: np.ndarray = vectors.mean(axis=0, dtype=np.float64)
    return mean
