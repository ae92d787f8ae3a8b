"""GloVe (Pennington, Socher and Manning 2014): vectors whose products are the logarithms of how often words stand near each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import EncoderError
from encoders.words.cooccurrences import RECORD


@dataclass(frozen=True)
class GloveParameters:
    """As in the paper, section 4.2, and in the code that its authors published.

    Parameters
    ----------
    rate : of AdaGrad, whose memory adds up squares of steps (rate times gradient) from one on, so that steps shrink late.
    most : x_max, the count from which on all pairs weigh the same.
    power : alpha of the weight f(x) = (x / x_max) ** alpha.
    """

    rate: float = 0.05
    most: float = 100.0
    power: float = 0.75


class Glove:
    """The model's parameters and AdaGrad's memory of their steps: 16 bytes for each number of a vector.

    Parameters
    ----------
    words, dimension : shape of the vectors; all parameters are drawn from ±0.5 / dimension.
    """

    def __init__(self, words: int, dimension: int, rng: np.random.Generator, parameters: GloveParameters | None = None) -> None:
        self.parameters = parameters or GloveParameters()
        # Rows: the words, then the contexts; in the last column the biases.
        self.values = (rng.random((2 * words, dimension + 1), np.float32) - np.float32(0.5)) / np.float32(dimension)
        self.squares = np.ones_like(self.values)

    @property
    def vectors(self) -> np.ndarray:
        """The sum of each word's vector and its vector as a context, float32 (words, dimension)."""
        words = len(self.values) // 2
        total: np.ndarray = self.values[:words, :-1] + self.values[words:, :-1]
        return total

    def train(self, records: np.ndarray) -> float:
        """One pass over some records (word, context, count) in their order; returns their loss, summed.

        The loss of a record is f(x) (w · c + b + b' - log x)² / 2.
        """
        how = self.parameters
        words, contexts, counts = (np.ascontiguousarray(records[name]) for name in ("word", "context", "count"))
        return float(_step()(self.values, self.squares, words, contexts, counts, how.rate, how.most, how.power))


def train_glove(
    model: Glove, blocks: Sequence[Path], epochs: int, rng: np.random.Generator, told: Callable[[int, float], None] | None = None
) -> list[float]:
    """Train over all blocks, in another order and each shuffled anew in every epoch.

    Parameters
    ----------
    blocks : files that `Cooccurrences.blocks` wrote.
    told : called after each epoch with its number from 1 on, and its loss.

    Returns
    -------
    The mean loss of a record in each epoch.

    Raises
    ------
    EncoderError : there is nothing to learn from, or the loss is no longer finite.
    """
    losses: list[float] = []
    for epoch in range(1, epochs + 1):
        loss, seen = 0.0, 0
        for number in rng.permutation(len(blocks)):
            records = np.fromfile(blocks[number], RECORD)
            rng.shuffle(records)
            loss, seen = loss + model.train(records), seen + len(records)
        if not seen:
            raise EncoderError("no two words stand near each other in these texts; give more text, or a lower --min-count")
        losses.append(loss / seen)
        if not np.isfinite(losses[-1]):
            raise EncoderError(f"the loss of GloVe is {losses[-1]} after epoch {epoch}; train with a smaller rate")
        if told:
            told(epoch, losses[-1])
    return losses


@cache
def _step() -> Any:
    """The pass, compiled: AdaGrad goes record by record, each seeing what the one before changed, which arrays cannot do at once."""
    from numba import njit

    return njit(nogil=True)(_pass)


def _pass(
    values: np.ndarray,
    squares: np.ndarray,
    words: np.ndarray,
    contexts: np.ndarray,
    counts: np.ndarray,
    rate: float,
    most: float,
    power: float,
) -> float:
    n, last = values.shape[0] // 2, values.shape[1] - 1
    loss = 0.0
    for record in range(len(words)):
        word, context, count = words[record], n + contexts[record], counts[record]
        difference = values[word, last] + values[context, last] - np.log(count)
        for k in range(last):
            difference += values[word, k] * values[context, k]
        weighted = difference if count >= most else difference * (count / most) ** power
        loss += 0.5 * weighted * difference
        for k in range(last + 1):
            down = rate * weighted * (values[context, k] if k < last else 1.0)  # the step of the word's part, then of the context's
            across = rate * weighted * (values[word, k] if k < last else 1.0)
            values[word, k] -= down / np.sqrt(squares[word, k])
            values[context, k] -= across / np.sqrt(squares[context, k])
            squares[word, k] += down * down
            squares[context, k] += across * across
    return loss
