"""What somebody's taste is in the space: one vector or a few, with shares, from the vectors of what was liked and disliked. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.errors import QueryError
from retrieval.means import TINY

MOST_CLUSTERED = 1_000  # liked vectors whose distances are all held: 8 MB; lighter ones join the nearest cluster
BETA_AT_MOST = 1_000  # float16 resolves one part in 2,048


@dataclass(frozen=True)
class TasteSettings:
    """How a taste is made.

    Parameters
    ----------
    most : most vectors of one taste; 1 is Rocchio's single vector. PinnerSage shows users three or more of theirs.
    apart : least mean silhouette, -1 to 1, at which likes are parted into several vectors; below, one is enough. Kaufman & Rousseeuw 1990,
        chapter 2.3, call 0.25 and less "no substantial structure".
    beta : how much of the mean of the disliked is taken off, at most 1,000: tables hold float16, in which likes are lost beside more.
        Manning, Raghavan & Schütze 2008, section 9.1.1: 0.15 for 0.75 of the liked.
    """

    most: int = 3
    apart: float = 0.25
    beta: float = 0.2

    def __post_init__(self) -> None:
        _require("most", self.most >= 1, self.most, "at least 1")
        _require("apart", -1 <= self.apart <= 1, self.apart, "a silhouette from -1 to 1")
        _require("beta", 0 <= self.beta <= BETA_AT_MOST, self.beta, f"a number from 0 to {BETA_AT_MOST:,}")


@dataclass(frozen=True)
class Taste:
    """Somebody's taste.

    Parameters
    ----------
    vectors : float32 (tastes, d), of unit length, the one with the largest share first; none where likes and dislikes cancel each other.
    shares : float64 (tastes,), how much of the liked weight each stands for; they add up to 1.
    of : int64 (liked,), the vector that each liked one went into, -1 for one whose cluster cancelled out.
    """

    vectors: np.ndarray
    shares: np.ndarray
    of: np.ndarray


def taste(
    liked: np.ndarray,
    weights: np.ndarray,
    disliked: np.ndarray,
    disliked_weights: np.ndarray,
    settings: TasteSettings | None = None,
) -> Taste:
    """The vectors of a taste: of each cluster of likes the weighted mean, less `beta` times the weighted mean of all dislikes.

    Rocchio 1971, "Relevance feedback in information retrieval", for each cluster; several of them as in Pal et al. 2020, "PinnerSage",
    sections 4.1 and 4.3: Ward's clusters, weighed by recency. There a cluster is its medoid, here Rocchio's vector; there a distance sets
    how many there are, here the silhouette, so that no distance has to be known of a space.

    Parameters
    ----------
    liked, disliked : (n, d) and (m, d) unit vectors, one for each thing.
    weights, disliked_weights : (n,) and (m,), positive.
    """
    settings = settings or TasteSettings()
    labels = clusters(liked, weights, settings.most, settings.apart)
    away = settings.beta * _mean(disliked, disliked_weights)  # (d,), 0 without dislikes
    totals = np.bincount(labels, weights, minlength=1)
    order = np.argsort(-totals, kind="stable")[: np.count_nonzero(totals)]
    means = np.array([_mean(liked[labels == c], weights[labels == c]) - away for c in order]).reshape(len(order), liked.shape[1])
    lengths = np.linalg.norm(means, axis=1)
    there = lengths > TINY
    place = np.full(len(totals), -1)
    place[order[there]] = np.arange(there.sum())
    shares = totals[order[there]]
    vectors = (means[there] / lengths[there, None]).astype(np.float32)
    return Taste(vectors, shares / shares.sum() if len(shares) else shares, place[labels])


def clusters(vectors: np.ndarray, weights: np.ndarray, most: int, apart: float) -> np.ndarray:
    """A cluster, 0, 1, …, for each of (n, d) unit vectors: int64 (n,); all 0 where no parting has a mean silhouette of `apart`.

    Ward's tree (Ward 1963), cut into the number from 2 to `most` that has the best silhouette (Rousseeuw 1987) by cosine distance.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    n = len(vectors)
    if n < 3 or most < 2:
        return np.zeros(n, np.int64)  # two things tell nothing of what lies between them
    heavy = np.argsort(-weights, kind="stable")[:MOST_CLUSTERED]
    some = vectors[heavy].astype(np.float64)
    distances = 1 - some @ some.T
    tree = linkage(some, "ward")
    best, labels = apart, np.zeros(len(some), np.int64)
    for number in range(2, min(most, len(some) - 1) + 1):
        cut = fcluster(tree, number, "maxclust").astype(np.int64) - 1
        score = silhouette(distances, cut)
        if score > best:
            best, labels = score, cut
    return _joined(vectors, heavy, labels)


def silhouette(distances: np.ndarray, labels: np.ndarray) -> float:
    """Mean silhouette of clusters 0, 1, …, each with at least one member: distances (n, n), labels (n,).

    Rousseeuw 1987: (b - a) / max(a, b), where a is the mean distance to the others of one's cluster and b that to the nearest other
    cluster; 0 for one that is alone in its cluster. 0 if there is only one cluster.
    """
    members = np.eye(labels.max() + 1)[labels]  # (n, clusters)
    sizes = members.sum(axis=0)
    if len(sizes) < 2:
        return 0.0
    sums = distances @ members  # (n, clusters)
    rows = np.arange(len(labels))
    others = sizes[labels] - 1
    within = sums[rows, labels] / np.maximum(others, 1)
    means = sums / sizes
    means[rows, labels] = np.inf
    nearest = means.min(axis=1)
    widest = np.maximum(within, nearest)
    values = np.where((others > 0) & (widest > TINY), (nearest - within) / np.maximum(widest, TINY), 0.0)
    return float(values.mean())


def _joined(vectors: np.ndarray, heavy: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels of the heaviest spread to all: the others go to the cluster whose mean is nearest."""
    means = np.stack([vectors[heavy[labels == c]].mean(axis=0) for c in range(labels.max() + 1)])
    means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), TINY)
    everywhere: np.ndarray = (vectors @ means.T).argmax(axis=1)
    everywhere[heavy] = labels
    return everywhere


def _mean(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean, float64 (d,); 0 of none."""
    if not len(vectors):
        return np.zeros(vectors.shape[1])
    mean: np.ndarray = weights @ vectors.astype(np.float64) / weights.sum()
    return mean


def _require(name: str, holds: bool, came: object, allowed: str) -> None:
    if not holds:
        raise QueryError(f"{name} is {came!r}; it must be {allowed}")
