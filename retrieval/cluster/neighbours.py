"""The nearest neighbours of each vector among all others: exact, in bounded memory."""

from __future__ import annotations

import numpy as np

BLOCK = 1024  # rows compared with all others at once


def neighbours(vectors: np.ndarray, number: int = 15, block: int = BLOCK) -> tuple[np.ndarray, np.ndarray]:
    """Rows nearest to each by cosine, nearest first, itself left out. Takes time in the square of n.

    Parameters
    ----------
    vectors : (n, d), of unit length.
    number : most neighbours of each.

    Returns
    -------
    ids : int64 (n, m), where m is `number`, or n - 1 if there are fewer.
    distances : float32 (n, m), cosine distances, 0 to 2.
    """
    n = len(vectors)
    kept = max(0, min(number, n - 1))
    ids, distances = np.zeros((n, kept), np.int64), np.zeros((n, kept), np.float32)
    for low in range(0, n if kept else 0, block):
        rows = np.arange(low, min(low + block, n))
        apart = np.clip(1 - vectors[rows] @ vectors.T, 0, 2)  # (rows, n)
        apart[np.arange(len(rows)), rows] = np.inf
        nearest = np.argpartition(apart, kept - 1, axis=1)[:, :kept]
        held = np.take_along_axis(apart, nearest, axis=1)
        order = np.lexsort((nearest, held), axis=1)
        ids[rows], distances[rows] = np.take_along_axis(nearest, order, axis=1), np.take_along_axis(held, order, axis=1)
    return ids, distances
