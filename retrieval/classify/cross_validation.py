"""Which way to classify is best for some examples, and how sure it may be: each is judged by examples that it did not learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from retrieval.classify.classification_report import accuracy, confusion, macro_f1
from retrieval.classify.classifiers import Fit
from retrieval.classify.probabilities import fit_scale, log_loss

FOLDS = 5
MOST = 10_000  # examples that methods are compared on: more tell them apart no better, and take their time


@dataclass(frozen=True)
class Tried:
    """What a method reached on examples that it did not learn from.

    Parameters
    ----------
    setting : the method's name, with its setting if it has several.
    accuracy, macro_f1, log_loss : the last one of calibrated probabilities, in nats.
    scale : what makes its scores probabilities (see `retrieval.classify.probabilities.fit_scale`).
    examples : on which it was judged.
    """

    method: str
    setting: str
    accuracy: float
    macro_f1: float
    log_loss: float
    scale: float
    examples: int


def compare(ways: Mapping[str, Mapping[str, Fit]], vectors: np.ndarray, labels: np.ndarray, classes: int, seed: int = 0) -> list[Tried]:
    """Every setting of every method, best first: by accuracy, and of the same accuracy by log loss.

    Parameters
    ----------
    ways : settings by method.
    vectors, labels : examples, (n, d) and (n,); at least two of each class. Of more than 10,000 a part is taken, as many of each class as
        is its share.
    """
    chosen = _some(labels, seed)
    parts = list(_folds(labels[chosen], seed))
    tried = [
        judged(method, setting, out_of_fold(fit, vectors[chosen], labels[chosen], classes, parts), labels[chosen])
        for method, settings in ways.items()
        for setting, fit in settings.items()
    ]
    return sorted(tried, key=lambda one: (-one.accuracy, one.log_loss))


def out_of_fold(fit: Fit, vectors: np.ndarray, labels: np.ndarray, classes: int, parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Scores of each example by a classifier that learned from the other folds: float64 (n, classes)."""
    scores = np.empty((len(vectors), classes))
    for learned, judged in parts:
        scores[judged] = fit(vectors[learned], labels[learned], classes)(vectors[judged])
    return scores


def _folds(labels: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedKFold

    number = min(FOLDS, int(np.unique(labels, return_counts=True)[1].min()))
    yield from StratifiedKFold(number, shuffle=True, random_state=seed).split(labels, labels)


def _some(labels: np.ndarray, seed: int) -> np.ndarray:
    """Places of at most about `MOST` examples, ascending, with two or more of each class."""
    if len(labels) <= MOST:
        return np.arange(len(labels))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    members = [shuffled[labels[shuffled] == label] for label in np.unique(labels)]
    return np.sort(np.concatenate([some[: max(2, len(some) * MOST // len(labels))] for some in members]))


def judged(method: str, setting: str, scores: np.ndarray, labels: np.ndarray) -> Tried:
    """What a method reached, from its scores (n, classes) of examples that it did not learn from."""
    counts, scale = confusion(labels, scores.argmax(axis=1), scores.shape[1]), fit_scale(scores, labels)
    return Tried(method, setting, accuracy(counts), macro_f1(counts), log_loss(scores, labels, scale), scale, len(labels))
