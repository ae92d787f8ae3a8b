"""A map: places for vectors on a plane, where neighbours stay neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

COMPONENTS = 50  # principal components that t-SNE starts from (van der Maaten & Hinton 2008, section 4.2)
PERPLEXITY = 30.0  # about how many neighbours a point holds on to
FEWEST = 8  # of fewer points, neighbours mean little: principal components place them
MOST = 10_000  # points laid out against each other; the others are put among their nearest of these
NEAREST = 5
FEWEST_OF_GROUP = 10
_BLOCK = 1024


def plane(vectors: np.ndarray, seed: int = 0, most: int = MOST) -> np.ndarray:
    """Places for vectors on a plane, so that near vectors have near places.

    t-SNE (van der Maaten & Hinton 2008; in the tree approximation of van der Maaten 2014) as scikit-learn has it, on the first 50
    principal components and begun at the first two, which keeps the large shape as well (Kobak & Berens 2019). Of a map, believe who is
    near to whom; distances between far groups, and how large a group looks, mean little. It takes one thread: on a small machine 6 s for
    2,000 points and 20 to 60 s for 5,000; the points beyond `most` are placed in a second or two.

    Parameters
    ----------
    vectors : (n, d) of any float type, any n; near is meant as cosine, so lengths do not matter.
    seed : the same vectors and seed give the same places on the same machine.
    most : points that are laid out; of more, a random choice is, and every other lies at the mean of its five nearest chosen ones,
        weighted by cosine.

    Returns
    -------
    float32 (n, 2), each within -1 to 1, the middle of all at 0.

    Raises
    ------
    ValueError : `vectors` is not (n, d), or holds what is not finite.
    """
    if vectors.ndim != 2 or not vectors.shape[1]:
        raise ValueError(f"a map needs vectors of shape (n, d), got {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("a map needs finite vectors; some hold infinity or NaN")
    if len(vectors) <= most:
        return _scaled(_laid_out(_unit(vectors), seed))
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:most])
    return _scaled(_put_among(vectors, chosen, _laid_out(_unit(vectors[chosen]), seed)))


def centred(vectors: np.ndarray, modalities: Sequence[str]) -> np.ndarray:
    """Vectors less the mean of their modality, of unit length again: float32 (n, d).

    Without this a map shows modalities first and meaning second: each lies in a narrow cone of its own (Liang et al. 2022, "Mind the
    Gap"). `modalities` names each row's, or any other group whose place is of no interest. Groups of fewer than ten, whose own mean is
    most of what they are, are taken from the mean of all.
    """
    moved = np.asarray(vectors, np.float32).copy()
    names, everywhere = np.asarray(modalities), moved.mean(axis=0) if len(moved) else 0.0
    for name, count in zip(*np.unique(names, return_counts=True), strict=True):
        moved[names == name] -= moved[names == name].mean(axis=0) if count >= FEWEST_OF_GROUP else everywhere
    return _unit(moved)


def _laid_out(vectors: np.ndarray, seed: int) -> np.ndarray:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # threads add up in the order they finish: places would differ from run to run, and with the number of cores
        return _places(vectors, seed)


def _places(vectors: np.ndarray, seed: int) -> np.ndarray:
    n = len(vectors)
    components = _components(vectors, seed)
    if n < FEWEST or not components.any():
        return components[:, :2]
    from sklearn.manifold import TSNE

    begin = components[:, :2] / components[:, 0].std() * 1e-4  # the step size that scikit-learn chooses is meant for this spread
    return np.asarray(TSNE(perplexity=min(PERPLEXITY, (n - 1) / 3), init=begin, random_state=seed).fit_transform(components))


def _components(vectors: np.ndarray, seed: int) -> np.ndarray:
    """The first principal components, (n, 2 to 50); columns of zeros where vectors have fewer."""
    from sklearn.decomposition import PCA

    kept = min(COMPONENTS, *vectors.shape)
    found = np.zeros((len(vectors), max(kept, 2)), np.float32)
    if len(vectors) > 1 and np.ptp(vectors, axis=0).any():  # alike, they have none
        found[:, :kept] = PCA(kept, random_state=seed).fit_transform(vectors)
    return found


def _put_among(vectors: np.ndarray, chosen: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Places of all vectors, (n, 2): the given ones of `chosen`, the others from their nearest chosen."""
    everywhere = np.zeros((len(vectors), 2), np.float32)
    everywhere[chosen] = places
    landmarks = _unit(vectors[chosen])
    others = np.setdiff1d(np.arange(len(vectors)), chosen)
    for low in range(0, len(others), _BLOCK):
        rows = others[low : low + _BLOCK]
        cosines = _unit(vectors[rows]) @ landmarks.T  # (rows, most)
        nearest = np.argpartition(-cosines, min(NEAREST, len(chosen)) - 1, axis=1)[:, :NEAREST]
        weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 1e-6)
        everywhere[rows] = (places[nearest] * weights[:, :, None]).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    return everywhere


def _scaled(places: np.ndarray) -> np.ndarray:
    if not len(places):
        return np.zeros((0, 2), np.float32)
    moved = places - (places.max(axis=0) + places.min(axis=0)) / 2
    scaled: np.ndarray = (moved / max(np.abs(moved).max(), 1e-12)).astype(np.float32)
    return scaled


def _unit(vectors: np.ndarray) -> np.ndarray:
    wide = np.asarray(vectors, np.float32)
    unit: np.ndarray = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    return unit
