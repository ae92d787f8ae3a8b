"""Clusters of vectors: k-means, which parts all of them, and HDBSCAN, which leaves out those that lie apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from retrieval.errors import QueryError

NOISE = -1
"""The label of what is in no cluster."""

CLOSE = 0.05
"""Share of the best silhouette that another may lack to be as good."""

_TINY = 1e-12

Found = tuple[np.ndarray, np.ndarray | None, dict[int, float]]
"""Labels in any order, probabilities if the method gives some, silhouettes if it tried several numbers."""


@dataclass(frozen=True)
class ClusterSettings:
    """How vectors are parted.

    Parameters
    ----------
    method : "kmeans" or "hdbscan".
    clusters : how many k-means makes; `None`: the number that `chosen` takes by silhouettes. HDBSCAN finds its own.
    smallest : fewest members of a cluster of HDBSCAN; `None`: half the square root of n, and at least 5.
    seed : the same vectors and seed give the same clusters on the same machine.
    many : of more vectors than this k-means looks at a small batch at a time.
    looked_at : vectors by which the number of clusters is chosen.
    """

    method: str = "kmeans"
    clusters: int | None = None
    smallest: int | None = None
    seed: int = 0
    many: int = 20_000
    looked_at: int = 2_000

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise QueryError(f"there is no method {self.method!r}; allowed are {', '.join(METHODS)}")
        if self.clusters is not None and self.method != "kmeans":
            raise QueryError(f"{self.method} finds the number of clusters itself; leave --clusters out, or ask for kmeans")
        if self.smallest is not None and self.method != "hdbscan":
            raise QueryError(f"{self.method} has no smallest cluster; leave --smallest out, or ask for hdbscan")


@dataclass(frozen=True)
class Clusters:
    """Which cluster each vector is in.

    Parameters
    ----------
    labels : int64 (n,), from 0, the largest cluster first; -1 (`NOISE`): in none.
    membership : float32 (n,), how well each belongs: cosine to the centre (k-means), or HDBSCAN's probability, 0 of noise.
    centres : float32 (clusters, d), of unit length: the means of their members.
    silhouettes : mean silhouette by number of clusters, of the numbers that were tried.
    """

    labels: np.ndarray
    membership: np.ndarray
    centres: np.ndarray
    silhouettes: Mapping[int, float] = field(default_factory=dict)

    @property
    def sizes(self) -> np.ndarray:
        """Members of each cluster, int64 (clusters,)."""
        return np.bincount(self.labels[self.labels != NOISE], minlength=len(self.centres))


def find(vectors: np.ndarray, settings: ClusterSettings | None = None, places: np.ndarray | None = None) -> Clusters:
    """Clusters of vectors.

    Parameters
    ----------
    vectors : float32 (n, d), of unit length. Both methods take the Euclidean distance, which orders unit vectors as cosine does.
    places : (n, 2), to part these places on a plane instead; centres are of the vectors all the same.

    Raises
    ------
    QueryError : there are too few vectors, or too many for the method.
    """
    settings = settings or ClusterSettings()
    if len(vectors) < 3:
        raise QueryError(f"{len(vectors)} vectors make no clusters; at least 3 are needed")
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # threads add up in the order they finish: clusters would differ from run to run
        labels, probabilities, silhouettes = METHODS[settings.method](vectors if places is None else places, vectors, settings)
    labels = _renumbered(labels)
    centres = means_of(vectors, labels)
    membership = np.einsum("nd,nd->n", vectors, centres[labels]) if probabilities is None else probabilities
    return Clusters(labels, membership.astype(np.float32), centres, silhouettes)


def numbers_to_try(n: int) -> list[int]:
    """Numbers of clusters from 2 to the square root of n and at most 64, each about 1.4 times the last."""
    most = max(2, min(64, round(n**0.5)))
    return sorted({min(most, round(2 ** (1 + step / 2))) for step in range(11)})


def chosen(silhouettes: Mapping[int, float]) -> int:
    """The smallest number of clusters whose silhouette is close to the best: where many do about as well, few are easier to look at."""
    best = max(silhouettes.values(), default=0.0)
    return min((number for number, score in silhouettes.items() if score >= best - CLOSE * abs(best)), default=1)


def _kmeans(ground: np.ndarray, vectors: np.ndarray, settings: ClusterSettings) -> Found:
    silhouettes: dict[int, float] = {}
    number = settings.clusters
    if number is None:
        silhouettes = _silhouettes(ground, vectors, settings)
        number = chosen(silhouettes)
    elif not 1 <= number <= len(vectors):
        raise QueryError(f"{len(vectors)} vectors cannot make {number} clusters; give a number from 1 to {len(vectors)}")
    return _parted(ground, number, settings), None, silhouettes


def _parted(vectors: np.ndarray, number: int, settings: ClusterSettings) -> np.ndarray:
    """Labels by k-means (Lloyd 1982, begun as Arthur & Vassilvitskii 2007), the best of 4 beginnings; of many by Sculley 2010's batches."""
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    method = KMeans if len(vectors) <= settings.many else MiniBatchKMeans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different vectors than clusters: empty ones are left out below
        labels = method(number, n_init=4, random_state=settings.seed).fit_predict(vectors)
    return np.asarray(labels, np.int64)


def _silhouettes(ground: np.ndarray, vectors: np.ndarray, settings: ClusterSettings) -> dict[int, float]:
    """Mean silhouette (Rousseeuw 1987) of k-means with several numbers of clusters, on a sample.

    It is that of the vectors, also where a map is parted: a map that is evenly full has its best silhouette at three sectors.
    """
    from sklearn.metrics import pairwise_distances, silhouette_score

    some = np.sort(np.random.default_rng(settings.seed).permutation(len(vectors))[: settings.looked_at])
    sample, distances = ground[some], pairwise_distances(vectors[some])
    found: dict[int, float] = {}

    def score(number: int) -> None:
        labels = _parted(sample, number, settings)
        if 1 < len(np.unique(labels)) < len(sample):
            found[number] = float(silhouette_score(distances, labels, metric="precomputed"))

    for number in numbers_to_try(len(ground)):
        score(number)
    best = max(found, key=lambda k: found[k], default=None)
    for number in _between(best, list(found)) if best else ():
        score(number)
    return dict(sorted(found.items()))


def _between(best: int, tried: list[int]) -> list[int]:
    """Up to 4 numbers on each side of the best that lie before the next one tried."""
    low = max((k for k in tried if k < best), default=best)
    high = min((k for k in tried if k > best), default=best)
    sides = (np.linspace(low, best, 6)[1:-1], np.linspace(best, high, 6)[1:-1])
    return sorted({round(k) for side in sides for k in side} - set(tried))


def _hdbscan(ground: np.ndarray, vectors: np.ndarray, settings: ClusterSettings) -> Found:
    """Campello, Moulavi & Sander 2013; McInnes & Healy 2017. Takes time in the square of n, in more than a few dimensions."""
    from sklearn.cluster import HDBSCAN

    if len(vectors) > settings.many and ground.shape[1] > 3:
        raise QueryError(
            f"hdbscan would compare each of {len(vectors):,} vectors with each other; up to {settings.many:,} are allowed. "
            "Ask for kmeans, for clusters on the plane, or for fewer objects"
        )
    smallest = settings.smallest or max(5, round(len(vectors) ** 0.5 / 2))
    if not 2 <= smallest <= len(vectors):
        raise QueryError(f"the smallest cluster cannot have {smallest} of {len(vectors)} members; give a number from 2 to {len(vectors)}")
    model = HDBSCAN(min_cluster_size=smallest, copy=True).fit(ground)
    return model.labels_.astype(np.int64), model.probabilities_, {}


METHODS: Mapping[str, Callable[[np.ndarray, np.ndarray, ClusterSettings], Found]] = {"kmeans": _kmeans, "hdbscan": _hdbscan}


def means_of(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of each cluster's members, of unit length: float32 (clusters, d)."""
    number = int(labels.max(initial=NOISE)) + 1
    sums = np.zeros((number, vectors.shape[1]), np.float32)
    inside = labels != NOISE
    np.add.at(sums, labels[inside], vectors[inside])
    result: np.ndarray = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), _TINY)
    return result


def _renumbered(labels: np.ndarray) -> np.ndarray:
    """Labels with the largest cluster first, of equal ones that which begins earlier; empty ones are left out."""
    names, firsts, counts = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    order = np.lexsort((firsts, -counts))
    places = {NOISE: NOISE} | {int(names[old]): new for new, old in enumerate(order)}
    return np.array([places[label] for label in labels.tolist()], np.int64)
