"""Items that belong together, ranked in every direction between their modalities: text>image asks with texts and answers with pictures."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations

import numpy as np

from encoders.spec import Modality
from retrieval import ranking
from retrieval.score.geometry import alignment, modality_gap, uniformity

Vectors = Mapping[Modality, np.ndarray]
"""(items, d) unit vectors by modality."""
Ids = Mapping[Modality, np.ndarray]
"""int64 (n,) by modality: the item of each of n tuples, -1 where it lacks the modality."""

UNIFORM = 5_000  # items from which uniformity is taken, of which it needs all pairs


def positions(vectors: Vectors, ids: Ids) -> dict[str, np.ndarray]:
    """`ranking.positions` of each direction; candidates are all items of its second modality.

    Directions of which no tuple has both modalities are left out.
    """
    found = {}
    for a, b in permutations(vectors, 2):
        right = pairs(ids, a, b)
        if len(right):
            queries, numbers = np.unique(right[:, 0], return_inverse=True)
            found[f"{a}>{b}"] = ranking.positions(vectors[a][queries], vectors[b], np.stack([numbers, right[:, 1]], axis=1))
    return found


def means(positions: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Every metric of every direction ("text>image recall@1"), and their means over all directions ("recall@1")."""
    values = {direction: {name: float(each.mean()) for name, each in ranking.by_query(p).items()} for direction, p in positions.items()}
    told = {name: float(np.mean([each[name] for each in values.values()])) for name in ranking.METRICS}
    return told | {f"{direction} {name}": value for direction, each in values.items() for name, value in each.items()}


def shape(vectors: Vectors, ids: Ids) -> dict[str, dict[str, float]]:
    """Gap and alignment of each two modalities ("text-image"), and uniformity of each modality, under "gap", "alignment", "uniformity"."""
    told: dict[str, dict[str, float]] = {"gap": {}, "alignment": {}, "uniformity": {}}
    for a, b in permutations(vectors, 2):
        right = pairs(ids, a, b)
        if len(right) and f"{b}-{a}" not in told["gap"]:
            told["gap"][f"{a}-{b}"] = modality_gap(vectors[a], vectors[b])
            told["alignment"][f"{a}-{b}"] = alignment(vectors[a][right[:, 0]], vectors[b][right[:, 1]])
    told["uniformity"] = {m: uniformity(each[:UNIFORM]) for m, each in vectors.items() if len(each) > 1}
    return told


def pairs(ids: Ids, a: Modality, b: Modality) -> np.ndarray:
    """(pairs, 2) the items of two modalities that belong together, each pair once."""
    both = (ids[a] >= 0) & (ids[b] >= 0)
    return np.unique(np.stack([ids[a][both], ids[b][both]], axis=1), axis=0)
