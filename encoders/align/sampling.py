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
