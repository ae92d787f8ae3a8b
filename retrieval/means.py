"""Mean directions: one vector for an object of several segments, or for a question of several windows."""

from __future__ import annotations

import numpy as np

from retrieval.errors import QueryError

TINY = 1e-6
"""A vector shorter than this has no direction, to float32's rounding."""


def means(vectors: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """One unit vector for each object, float32 (objects, d): the mean of its segments, each of which counts alike.

    Parameters
    ----------
    vectors : (rows, d) unit vectors, of any float type.
    owner : (rows,) the object of each, 0, 0, 1, …, ascending and without gaps.
    """
    if not len(vectors):
        return np.empty((0, vectors.shape[1]), np.float32)
    sums = np.add.reduceat(vectors.astype(np.float32), np.flatnonzero(np.diff(owner, prepend=-1)), axis=0)
    result: np.ndarray = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), TINY)
    return result


def mean(windows: np.ndarray, what: str) -> np.ndarray:
    """The mean direction of some vectors (n, d), of length one: float32 (d,).

    Raises
    ------
    QueryError : they point against each other; says so of `what`.
    """
    total = windows.mean(axis=0)
    length = float(np.linalg.norm(total))
    if length < TINY:
        raise QueryError(f"the parts of {what} cancel each other out, so that no direction is left; ask with one of them, or other weights")
    direction: np.ndarray = total / length
    return direction
