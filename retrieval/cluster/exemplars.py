"""What stands for a cluster, and what lies apart from all others."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

NEIGHBOURS = 20
COMPARED = 20_000  # vectors whose neighbourhoods are known; of more, the others are held against a sample of these


@dataclass(frozen=True)
class Outlier:
    """Something that lies apart.

    Parameters
    ----------
    place : its row.
    factor : local outlier factor: about 1 among its like, more where it is lonelier than its neighbours are.
    """

    place: int
    factor: float


def exemplars(vectors: np.ndarray, labels: np.ndarray, centres: np.ndarray, contents: Sequence[str], most: int = 3) -> list[list[int]]:
    """For each cluster the rows nearest to its centre, nearest first, no content twice.

    Parameters
    ----------
    vectors, centres : (n, d) and (clusters, d), of unit length.
    labels : (n,) int, the cluster of each.
    contents : n names of contents, such as hashes.
    """
    found: list[list[int]] = []
    for cluster, centre in enumerate(centres):
        members = np.flatnonzero(labels == cluster)
        nearest = members[np.argsort(-(vectors[members] @ centre), kind="stable")]
        first = {contents[row]: int(row) for row in reversed(nearest.tolist())}  # of one content the nearest is the last to stay
        kept = set(first.values())
        found.append([row for row in nearest.tolist() if row in kept][:most])
    return found


def outliers(vectors: np.ndarray, contents: Sequence[str], most: int = 10, seed: int = 0) -> list[Outlier]:
    """The rows that lie most apart, loneliest first: by local outlier factor (Breunig et al. 2000), each content once.

    Parameters
    ----------
    vectors : (n, d), of unit length.
    contents : n names of contents; copies would make a dense neighbourhood of one place.
    """
    _, firsts = np.unique(np.asarray(contents), return_index=True)
    places = np.sort(firsts)
    if len(places) < 3:
        return []
    factors = _factors(vectors[places], seed)
    order = np.argsort(-factors, kind="stable")[:most]
    return [Outlier(int(places[k]), float(factors[k])) for k in order]


def _factors(vectors: np.ndarray, seed: int) -> np.ndarray:
    """Local outlier factor of each, (n,)."""
    from sklearn.neighbors import LocalOutlierFactor

    neighbours = min(NEIGHBOURS, len(vectors) - 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Duplicate values are leading to incorrect results")  # different contents, one vector: rare
        if len(vectors) <= COMPARED:
            return -np.asarray(LocalOutlierFactor(n_neighbors=neighbours).fit(vectors).negative_outlier_factor_)
        sample = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:COMPARED])
        model = LocalOutlierFactor(n_neighbors=neighbours, novelty=True).fit(vectors[sample])
        factors = -model.score_samples(vectors)
        factors[sample] = -model.negative_outlier_factor_  # not held against themselves
    return np.asarray(factors)
