"""How well objects of known class were classified: accuracy, macro F1, figures of each class and who was taken for whom, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from retrieval.ranking import LEVEL, SAMPLES, SCORES, Figure

MISTAKES = 10  # the most frequent ones that a report names


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """How often each class (row) was taken for each (column): int64 (classes, classes)."""
    return np.bincount(truth * classes + predicted, minlength=classes**2).reshape(classes, classes)


def accuracy(counts: np.ndarray) -> float:
    """Share of a confusion matrix that stands on its diagonal."""
    return float(np.trace(counts) / counts.sum())


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of each class, float64 (classes,): the harmonic mean of precision and recall; not a number for a class that never occurs."""
    with np.errstate(invalid="ignore"):
        values: np.ndarray = 2 * np.diag(counts) / (counts.sum(axis=0) + counts.sum(axis=1))
    return values


def macro_f1(counts: np.ndarray) -> float:
    """Mean F1 of the classes that occur, as the right answer or as a given one: rare classes count as much as frequent ones."""
    return float(np.nanmean(f1(counts)))


def report(truth: np.ndarray, predicted: np.ndarray, names: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Every figure as JSON values.

    Parameters
    ----------
    truth, predicted : integers (n,), places in `names`.
    seed : of the intervals: the same answers and seed give the same.
    """
    counts = confusion(truth, predicted, len(names))
    return {
        "objects": len(truth),
        "accuracy": asdict(Figure(accuracy(counts), *accuracy_interval(counts))),
        "macro_f1": {"value": macro_f1(counts), **_ends(macro_f1_interval(counts, seed))},
        "classes": _by_class(counts, names),
        "confusion": counts.tolist(),
        "mistakes": _mistakes(counts, names),
    }


def accuracy_interval(counts: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval (1927), which stays honest where everything, or nothing, was right."""
    from scipy.stats import binomtest

    found = binomtest(int(np.trace(counts)), int(counts.sum())).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def macro_f1_interval(counts: np.ndarray, seed: int = 0, samples: int = SAMPLES, level: float = LEVEL) -> tuple[float, float] | None:
    """Percentile bootstrap interval (Efron 1979); `None` where all objects stand on the diagonal, of which it could only repeat the value.

    Whole objects are drawn with replacement, as often as there are. Those in one cell of the matrix are alike, so cells are drawn instead.
    """
    rows, columns = np.nonzero(counts)
    if (rows == columns).all():
        return None
    n, share = int(counts.sum()), counts[rows, columns] / counts.sum()
    in_row, in_column = (np.eye(len(counts))[places] for places in (rows, columns))  # (cells, classes)
    rng = np.random.default_rng(seed)
    means = []
    at_once = max(1, SCORES // max(len(rows), len(counts)))
    for first in range(0, samples, at_once):
        drawn = rng.multinomial(n, share, size=min(at_once, samples - first))  # (samples, cells)
        with np.errstate(invalid="ignore"):
            means.append(np.nanmean(2 * ((drawn * (rows == columns)) @ in_row) / (drawn @ in_row + drawn @ in_column), axis=1))
    low, high = np.quantile(np.concatenate(means), ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def _ends(interval: tuple[float, float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def _by_class(counts: np.ndarray, names: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    right, given, due = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    return {
        name: {
            "precision": float(right[k] / given[k]) if given[k] else None,
            "recall": float(right[k] / due[k]) if due[k] else None,
            "f1": float(f1(counts)[k]) if given[k] + due[k] else None,
            "objects": int(due[k]),
        }
        for k, name in enumerate(names)
    }


def _mistakes(counts: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """The cells off the diagonal with most objects, most first."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    cells = [np.unravel_index(place, wrong.shape) for place in order if wrong.flat[place]]
    return [{"is": names[row], "taken_for": names[column], "objects": int(wrong[row, column])} for row, column in cells]
