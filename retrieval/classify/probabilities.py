"""From scores of classes to probabilities that can be believed: one temperature, fitted on scores of objects whose class is known."""

from __future__ import annotations

import math

import numpy as np

RANGE = (1e-4, 1e5)  # scales that are looked at: cosines take 10 to 100, log-probabilities and logits about 1
BINS = 15


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of classes, float64 (n, classes)."""
    from scipy.special import softmax as of

    probabilities: np.ndarray = of(logits.astype(np.float64), axis=1)
    return probabilities


def log_loss(scores: np.ndarray, labels: np.ndarray, scale: float = 1.0) -> float:
    """Mean negative log-likelihood of the right classes under softmax(scale x scores)."""
    return float(-_log_probabilities(scores, scale)[np.arange(len(labels)), labels].mean())


def fit_scale(scores: np.ndarray, labels: np.ndarray) -> float:
    """What scores are multiplied by before the softmax (the inverse of a temperature), so that probabilities say how often they are right.

    Minimises the negative log-likelihood of examples that the classifier has not learned from: temperature scaling (Guo et al. 2017, "On
    Calibration of Modern Neural Networks", section 4.2). It keeps every order of classes, so accuracy stays what it was. The targets are
    smoothed as Platt's are (1999, "Probabilistic Outputs for Support Vector Machines", section 2.2): (n + 1) / (n + 2) for the right class,
    and the rest shared by the others, or a few examples that are all right would make every later answer a certainty.

    Parameters
    ----------
    scores : (n, classes), the higher the likelier: cosines, logits or log-probabilities.
    labels : integers (n,).

    Raises
    ------
    ValueError : there is no example.
    """
    from scipy.optimize import minimize_scalar

    if not len(scores):
        raise ValueError("a temperature needs at least one example")
    targets = _smoothed(labels, scores.shape[1])

    def loss(log_scale: float) -> float:
        return float(-(targets * _log_probabilities(scores, math.exp(log_scale))).sum(axis=1).mean())

    low, high = map(math.log, RANGE)
    start = min(np.linspace(low, high, 64), key=loss)  # in the logarithm the loss is flat at both ends, where a search would stop
    step = (high - low) / 63
    return math.exp(minimize_scalar(loss, bounds=(start - step, start + step), method="bounded", options={"xatol": 1e-6}).x)


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """How far confidence and accuracy lie apart, 0 to 1: their difference in bins of equal width, weighted by how many objects are in each.

    Confidence is the probability of the likeliest class (Guo et al. 2017, section 2, equation 3).
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, confidence - right, bins)
    return float(np.abs(gaps).sum() / len(labels))


def _log_probabilities(scores: np.ndarray, scale: float) -> np.ndarray:
    from scipy.special import log_softmax

    logs: np.ndarray = log_softmax(scale * scores.astype(np.float64), axis=1)
    return logs


def _smoothed(labels: np.ndarray, classes: int) -> np.ndarray:
    n = len(labels)
    targets = np.full((n, classes), 1 / (n + 2) / (classes - 1))
    targets[np.arange(n), labels] = (n + 1) / (n + 2)
    return targets
