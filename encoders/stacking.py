"""From the inputs of single segments to those of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from encoders.spec import Encoder


def stack(inputs: Mapping[str, Sequence[np.ndarray]], rows: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
    """The batch of some rows, as `Encoder.encode` takes it.

    Parameters
    ----------
    inputs : per input name, one array per segment.
    rows : which segments, in order.

    Returns
    -------
    Arrays of two and more axes, all of one shape, are stacked along a new first axis. Vectors (length,) are padded with zeros to
    the longest, (n, longest), and "lengths" int32 (n,) tells how much of each is real.
    """
    batch: dict[str, np.ndarray] = {}
    for name, arrays in inputs.items():
        chosen = [arrays[row] for row in rows]
        if chosen[0].ndim != 1:
            batch[name] = np.stack(chosen)
            continue
        lengths = np.array([len(array) for array in chosen], np.int32)
        padded = np.zeros((len(chosen), int(lengths.max())), chosen[0].dtype)
        for row, array in zip(padded, chosen, strict=True):
            row[: len(array)] = array
        batch[name], batch["lengths"] = padded, lengths
    return batch


def together(prepared: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The batch of some segments, each as `Encoder.prepare` made it."""
    return stack({name: [one[name] for one in prepared] for name in prepared[0]}, range(len(prepared)))


def alone(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The batch of one segment."""
    return together([inputs])


def encoded(encoder: Encoder, prepared: Sequence[Mapping[str, np.ndarray]], batch: int = 64) -> np.ndarray:
    """Vectors of many segments, float32 (n, dimension), in their order; encoded by size, so that little is padded."""
    vectors = np.zeros((len(prepared), encoder.spec.dimension), np.float32)
    order = by_size(prepared)
    for low in range(0, len(order), batch):
        rows = order[low : low + batch]
        vectors[rows] = encoder.encode(together([prepared[row] for row in rows]))
    return vectors


def by_size(prepared: Sequence[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Places of segments, those with the least to encode first: int64 (n,)."""
    return np.argsort([sum(array.size for array in inputs.values()) for inputs in prepared], kind="stable")
