"""Which rows a step takes, as a function of seed and step alone; and hard negatives, mined from vectors."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from encoders.errors import EncoderError


class Order(Protocol):
    """The rows of each step: whoever asks for a step again gets the same rows, so that a resumed training goes on as it would have."""

    @property
    def steps_per_epoch(self) -> int:
        """Steps until every row, or every row but a last incomplete batch, was taken once."""
        ...

    def __call__(self, step: int) -> np.ndarray:
        """Rows of a step, int64 (batch,); steps count from 0."""
        ...


class Shuffled:
    """Every epoch all rows in another order, seeded by (seed, epoch); what is left over at its end is dropped.

    Raises
    ------
    EncoderError : there are fewer rows than a batch has, or a batch has fewer than two.
    """

    def __init__(self, rows: int, batch: int, seed: int) -> None:
        if rows < 2:
            raise EncoderError(f"contrastive training sets examples against each other and needs at least two, got {rows}")
        if batch < 2:
            raise EncoderError(f"batch = {batch}: a batch needs two examples at least, for each is the other's negative")
        if batch > rows:
            raise EncoderError(f"batch = {batch} is more than the {rows} examples; give at most {rows}, or more examples")
        self.rows, self.batch, self.seed = rows, batch, seed
        self._epoch, self._shuffled = -1, np.empty(0, np.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch."""
        return self.rows // self.batch

    def __call__(self, step: int) -> np.ndarray:
        """Rows of a step, int64 (batch,)."""
        epoch, number = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._shuffled = epoch, np.random.default_rng([self.seed, epoch]).permutation(self.rows)
        return self._shuffled[number * self.batch : (number + 1) * self.batch]


def mine(
    a: np.ndarray, b: np.ndarray, ids_a: np.ndarray, ids_b: np.ndarray, count: int = 1, most: float = 0.95, block: int = 256
) -> np.ndarray:
    """Hard negatives: for each example's item of a, the nearest items of b that are not right for it.

    Candidates that are nearly as near as the example's own item are passed over, for they are likely right as well and only not known to
    be (the positive-aware mining of NV-Retriever, Moreira et al. 2024).

    Parameters
    ----------
    a, b : unit vectors (items, d) of two modalities in one space, as trained so far.
    ids_a, ids_b : int64 (n,): row of a and of b of each example, -1 for none. What any example pairs is right.
    count : hard negatives for each example.
    most : highest cosine of a candidate, as a share of that of the example's own pair; 0 for no limit.
    block : examples that are compared at once.

    Returns
    -------
    int64 (n, count): examples that hold the negatives, each for another item, the nearest first; -1 where there is none.
    """
    holders = np.flatnonzero(ids_b >= 0)
    items, first = np.unique(ids_b[holders], return_index=True)
    holders, candidates = holders[first], b[items]  # (items,), (items, d)
    rows = np.flatnonzero((ids_a >= 0) & (ids_b >= 0))
    rows = rows[np.argsort(ids_a[rows], kind="stable")]  # those that share an item of a lie together
    columns = np.searchsorted(items, ids_b[rows])
    begin, end = (np.searchsorted(ids_a[rows], ids_a[rows], side) for side in ("left", "right"))
    found = np.full((len(ids_a), count), -1, np.int64)
    for start in range(0, len(rows), block):
        some = slice(start, start + block)
        cosines = a[ids_a[rows[some]]] @ candidates.T  # (block, items)
        own = np.take_along_axis(cosines, columns[some, None], 1)
        if most:
            cosines[cosines > np.where(own > 0, most * own, own)] = -np.inf
        for number, (left, right) in enumerate(zip(begin[some], end[some], strict=True)):
            cosines[number, columns[left:right]] = -np.inf
        nearest = _nearest(cosines, min(count, len(items)))
        there = np.isfinite(np.take_along_axis(cosines, nearest, 1))
        found[rows[some], : nearest.shape[1]] = np.where(there, holders[nearest], -1)
    return found


def _nearest(cosines: np.ndarray, count: int) -> np.ndarray:
    """Columns of the highest, in falling order; (rows, count)."""
    some = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    return np.take_along_axis(some, np.argsort(-np.take_along_axis(cosines, some, 1), axis=1, kind="stable"), 1)
