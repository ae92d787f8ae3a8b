"""Four ways to a class: by words, by nearest neighbours, by centroids, by logistic regression; each learns from examples and gives scores.

A way is a function of unit vectors (n, d), labels (n,) from 0 to classes - 1, and the number of classes, of which each needs an example. It
returns a function from unit vectors (m, d) to scores (m, classes): the higher the likelier, and of no unit (see `probabilities`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Scores = Callable[[np.ndarray], np.ndarray]
Fit = Callable[[np.ndarray, np.ndarray, int], Scores]

NEIGHBOURS = 20
SHARPNESS = 0.07
SPARE = 0.01  # what a class without a neighbour has, as a share of all votes
ITERATIONS = 2_000
WORTH_THREADS = 1 << 22  # numbers: in steps over fewer, threads wait for each other (1,000 x 128 on two cores: ten times the work)


def zero_shot(described: np.ndarray) -> Fit:
    """Cosine similarity to a vector of each class, (classes, d), as `classes.embed` makes them; learns from no example."""

    def fit(vectors: np.ndarray, labels: np.ndarray, classes: int) -> Scores:
        return lambda asked: asked @ described.T

    return fit


def centroids(vectors: np.ndarray, labels: np.ndarray, classes: int) -> Scores:
    """Nearest mean of a class's examples: minus half the squared distance, the log-density of Gaussians of one width, up to a scale.

    On unit vectors this is the simple classifier that is hard to beat with few examples (Snell et al. 2017, "Prototypical Networks for
    Few-shot Learning", section 2.3; Wang et al. 2019, "SimpleShot").
    """
    means = np.stack([vectors[labels == k].mean(axis=0) for k in range(classes)])  # (classes, d)
    return lambda asked: asked @ means.T - (means**2).sum(axis=1) / 2 - 0.5


def neighbours(vectors: np.ndarray, labels: np.ndarray, classes: int) -> Scores:
    """Logarithms of the shares of votes among the 20 nearest examples, each weighing exp(cosine / 0.07).

    The weights are those of Wu et al. 2018 ("Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4): with
    fewer than 20 examples a class the nearest still decides. A class without a neighbour has a hundredth of all votes, not none.
    """
    from sklearn.neighbors import KNeighborsClassifier

    def weights(distances: np.ndarray) -> np.ndarray:
        nearest = distances.min(axis=1, keepdims=True)
        found: np.ndarray = np.exp((nearest - distances) / SHARPNESS)  # cosine distances; the nearest weighs 1
        return found

    model = KNeighborsClassifier(min(NEIGHBOURS, len(vectors)), weights=weights, algorithm="brute", metric="cosine").fit(vectors, labels)
    return lambda asked: np.log((model.predict_proba(asked) + SPARE / classes) / (1 + SPARE))


def logistic(strength: float) -> Fit:
    """Logits of a multinomial logistic regression, scikit-learn's, with its C: the larger, the less it is held back.

    Unit vectors need a C well above scikit-learn's 1, since their features are small; which one is for cross-validation to say, as for the
    linear probes of Radford et al. 2021, appendix A.3.
    """

    def fit(vectors: np.ndarray, labels: np.ndarray, classes: int) -> Scores:
        from sklearn.linear_model import LogisticRegression
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1 if vectors.size < WORTH_THREADS else None):
            model = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(vectors, labels)

        def scores(asked: np.ndarray) -> np.ndarray:
            found: np.ndarray = model.decision_function(asked)
            return np.stack([-found / 2, found / 2], axis=1) if classes == 2 else found  # of two classes it gives one logit

        return scores

    return fit


STRENGTHS = (1.0, 10.0, 100.0, 1000.0)

LEARNING: dict[str, dict[str, Fit]] = {
    "neighbours": {"neighbours": neighbours},
    "centroids": {"centroids": centroids},
    "logistic": {f"logistic, C = {strength:g}": logistic(strength) for strength in STRENGTHS},
}
"""By method, its settings: those that learn from examples."""
