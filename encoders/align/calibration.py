"""The modality gap: in one list of texts, pictures and sounds the query's own modality comes first. Measured, and closed.

Two things push a right answer of another modality down. Modalities lie apart: each has a mean of its own (Liang et al. 2022, "Mind the Gap:
Understanding the Modality Gap in Multi-modal Contrastive Representation Learning"), and vectors of one mean score each other. And each
modality also tells what no other can tell (the wording of a text, the pose in a picture), by which only its own kind is alike. The remedies
are maps of all vectors of a modality, queries and rows alike, and stand in the head:

- "half", "shift": move the modalities' means half or all of the way to each other (Liang et al., section 4).
- "center": take away each modality's mean (Zhang et al. 2024, "Connect, Collapse, Corrupt"; for mixed lists Li et al. 2025, "Closing the
  Modality Gap for Mixed Modality Search", GR-CLIP).
- "standard": the same, and each number divided by its deviation within the modality.
- "shared k": the same as "center", and then only the k directions in which paired modalities vary together most: the leading eigenvectors
  of the symmetric cross-covariance, as in partial least squares (Wold 1985; Bookstein 1994). What only one modality tells is left out.

Which one, if any, is chosen by recall in mixed lists of validation pairs, and none that would harm lists of one modality.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import torch

from encoders.align.frozen import FrozenVectors
from encoders.align.heads import Head
from encoders.align.unit import unit
from encoders.errors import EncoderError
from encoders.spec import Modality

TOP = 10
MARGIN = 0.005  # of recall, by which a more complicated remedy must be better
TOLERANCE = 0.02  # of recall@1 in lists of one modality, that a remedy may cost
MOST = 2_000  # examples that are ranked: 2,000 lists of 6,000 are 50 MB of scores
TIE = 1e-6  # float32 sums of unit vectors differ by less; of equal scores the wrong one comes first

Centers = Mapping[Modality, np.ndarray]


@dataclass(frozen=True)
class Calibration:
    """What is done to the vectors of each modality.

    Parameters
    ----------
    name : of the remedy; "none" leaves all as it is.
    centers : (d,) by modality.
    projections : (d, d) by modality.
    """

    name: str = "none"
    centers: Centers = field(default_factory=dict)
    projections: Mapping[Modality, np.ndarray] = field(default_factory=dict)

    def apply(self, vectors: Mapping[Modality, np.ndarray]) -> dict[Modality, np.ndarray]:
        """Unit vectors (n, d) by modality, float32, as heads with this calibration give them."""
        return {modality: self._applied(modality, np.asarray(given, np.float32)) for modality, given in vectors.items()}

    def on(self, heads: Mapping[Modality, Head]) -> dict[Modality, Head]:
        """Heads with this calibration in the place of theirs."""
        return {
            modality: head.calibrated(_tensor(self.centers, modality), _tensor(self.projections, modality))
            for modality, head in heads.items()
        }

    def alone(self) -> dict[Modality, Head]:
        """Heads that do nothing else: for the encoders of a space whose vectors are otherwise good as they are; {} for "none"."""
        return self.on({modality: Head("identity", len(center), len(center)) for modality, center in self.centers.items()})

    def _applied(self, modality: Modality, vectors: np.ndarray) -> np.ndarray:
        if modality not in self.centers:
            return vectors
        centred = unit(vectors) - self.centers[modality]
        return unit(centred @ self.projections[modality] if modality in self.projections else centred)


@dataclass(frozen=True)
class Choice:
    """The remedy that was chosen, and what each did.

    Parameters
    ----------
    figures : by the remedy's name, what `measure` gives.
    """

    calibration: Calibration
    figures: Mapping[str, Mapping[str, Any]]


def choose(
    validation: FrozenVectors, training: FrozenVectors | None = None, *, fixed: Collection[Modality] = (), tolerance: float = TOLERANCE
) -> Choice:
    """The remedy with the highest recall in mixed lists on the validation side; the simplest of those within 0.005 of it.

    That is the mean of mixed recall@1 and @10: among few candidates the latter alone soon tells remedies apart no longer, and tables hold
    more than a validation side does.

    Parameters
    ----------
    validation : vectors after their heads, and which belong together.
    training : from which means and directions are taken; by default from the validation side itself, which flatters the costlier remedies.
    fixed : modalities whose vectors must stay as they are; the others are then shifted to them, and nothing else is tried.
    tolerance : how much recall@1, in lists of one other modality, a remedy may cost.

    Raises
    ------
    EncoderError : fewer than two modalities, or vectors of different lengths.
    """
    if len({vectors.shape[1] for vectors in validation.vectors.values()}) != 1 or len(validation.vectors) < 2:
        sizes = ", ".join(f"{modality}: {vectors.shape[1]}" for modality, vectors in validation.vectors.items())
        raise EncoderError(f"calibration takes vectors of one length, of at least two modalities; got {sizes}")
    seen = _some(validation)
    remedies = candidates(training or validation, fixed) if len(seen) > 1 else [Calibration()]
    figures = {remedy.name: measure(remedy.apply(seen.vectors), seen.ids) for remedy in remedies}
    enough = figures["none"]["alone recall@1"] - tolerance
    allowed = [remedy for remedy in remedies if remedy.name == "none" or figures[remedy.name]["alone recall@1"] >= enough]
    recalls = {
        remedy.name: (figures[remedy.name]["mixed recall@1"] + figures[remedy.name][f"mixed recall@{TOP}"]) / 2 for remedy in allowed
    }
    best = max(recalls.values())
    return Choice(next(remedy for remedy in allowed if recalls[remedy.name] >= best - MARGIN), figures)


def candidates(side: FrozenVectors, fixed: Collection[Modality] = ()) -> list[Calibration]:
    """Every remedy with its numbers from these vectors, the simplest first."""
    units = {modality: unit(np.asarray(vectors, np.float64)) for modality, vectors in side.vectors.items() if len(vectors)}
    means = {modality: vectors.mean(axis=0) for modality, vectors in units.items()}
    fixed = set(fixed) & set(means)
    meeting = np.mean([means[modality] for modality in fixed or means], axis=0)  # (d,)
    to_it = {modality: mean - meeting for modality, mean in means.items() if modality not in fixed}
    moved = [Calibration(), Calibration("half", _float({m: c / 2 for m, c in to_it.items()})), Calibration("shift", _float(to_it))]
    centred = {modality: unit(vectors - means[modality]) for modality, vectors in units.items()}
    deviations = {modality: vectors.std(axis=0) for modality, vectors in centred.items()}
    if fixed or min(d.max() for d in deviations.values()) <= TIE:  # of one item, or several alike, nothing is left around their mean
        return moved
    standard = {modality: np.diag(d.mean() / np.maximum(d, 0.01 * d.mean())) for modality, d in deviations.items()}
    dimension = len(meeting)
    shared = _shared(centred, side.ids)
    kept = sorted(
        {k for k in (int((shared[0] > 0).sum()), dimension // 2, dimension // 4, dimension // 8) if 0 < k < dimension}, reverse=True
    )
    return [
        *moved,
        Calibration("center", _float(means)),
        Calibration("standard", _float(means), _float(standard)),
        *(Calibration(f"shared {k}", _float(means), _float(dict.fromkeys(means, _onto(shared[1][:, :k])))) for k in kept),
    ]


def measure(vectors: Mapping[Modality, np.ndarray], ids: Mapping[Modality, np.ndarray]) -> dict[str, Any]:
    """What lists of all modalities at once hold.

    Every item asks for the items of other modalities that belong to it, among all items but itself. Items of its own modality that belong
    to the same ones, such as another caption of its picture, are neither right nor wrong and left out.

    Parameters
    ----------
    vectors : unit vectors (items, d) by modality.
    ids : int64 (n,) by modality: item of each example, -1 where it lacks the modality.

    Returns
    -------
    "mixed recall@1", "mixed recall@10" : share of the right answers, of at most 1 or 10, among the first 1 or 10; the mean over modalities.
    "alone recall@1" : how often the first of one modality is right; the mean over directions, that to the query's own modality among them
        where several of its items belong together.
    "gap" : mean distance of two modalities' means.
    "top ten" : {"text": {"image": share of the first ten that are pictures, …}, …} by the query's modality.
    """
    present = [modality for modality, places in ids.items() if len(vectors[modality]) and (places >= 0).any()]
    if len(present) < 2:
        return {"mixed recall@1": 0.0, f"mixed recall@{TOP}": 0.0, "alone recall@1": 0.0, "gap": 0.0, "top ten": {}}
    right = {(a, b): _right(ids[a], ids[b], len(vectors[a]), len(vectors[b])) for a in present for b in present if a != b}
    mixed = [found for modality in present if (found := _mixed(modality, present, vectors, right)) is not None]
    akin = {(a, a): _akin(a, right) & ~np.eye(len(vectors[a]), dtype=bool) for a in present}
    alone = [_first_right(vectors[a] @ vectors[b].T, answers, a == b) for (a, b), answers in {**right, **akin}.items() if answers.any()]
    gaps = [float(np.linalg.norm(vectors[a].mean(axis=0) - vectors[b].mean(axis=0))) for a, b in combinations(present, 2)]
    recalls = {f"mixed recall@{k}": _mean([found[k] for found in mixed]) for k in (1, TOP)}
    return {
        **recalls,
        "alone recall@1": _mean(alone),
        "gap": _mean(gaps),
        "top ten": {found["modality"]: found["shares"] for found in mixed},
    }


def _mixed(
    asked: Modality, present: list[Modality], vectors: Mapping[Modality, np.ndarray], right: Mapping[tuple[Modality, Modality], np.ndarray]
) -> dict[Any, Any] | None:
    """Recall and shares of the lists that items of one modality get."""
    akin = _akin(asked, right)
    answers = np.concatenate([np.zeros_like(akin) if m == asked else right[asked, m] for m in present], axis=1)  # (queries, candidates)
    hidden = np.concatenate([akin if m == asked else np.zeros_like(right[asked, m]) for m in present], axis=1)
    queries = answers.any(axis=1)
    if not queries.any():
        return None
    answers, hidden = answers[queries], hidden[queries]
    scores = vectors[asked][queries] @ np.concatenate([vectors[m] for m in present]).T - TIE * answers
    scores[hidden] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :TOP]
    hits, listed = np.take_along_axis(answers, order, 1), ~np.take_along_axis(hidden, order, 1)
    count = answers.sum(axis=1)
    of = np.concatenate([np.full(len(vectors[m]), number) for number, m in enumerate(present)])[order]
    recalls: dict[Any, Any] = {k: float((hits[:, :k].sum(axis=1) / np.minimum(k, count)).mean()) for k in (1, TOP)}
    shares = {modality: float((of == number)[listed].mean()) for number, modality in enumerate(present)}
    return recalls | {"modality": asked, "shares": shares}


def _right(a: np.ndarray, b: np.ndarray, items_a: int, items_b: int) -> np.ndarray:
    """Which items of b belong to which of a, bool (items_a, items_b)."""
    both, answers = (a >= 0) & (b >= 0), np.zeros((items_a, items_b), bool)
    answers[a[both], b[both]] = True
    return answers


def _akin(asked: Modality, right: Mapping[tuple[Modality, Modality], np.ndarray]) -> np.ndarray:
    """Which items of a modality share a right answer, bool (items, items); each with itself."""
    answers = np.concatenate([found for (a, _), found in right.items() if a == asked], axis=1).astype(np.float32)
    akin: np.ndarray = answers @ answers.T > 0
    np.fill_diagonal(akin, True)
    return akin


def _first_right(scores: np.ndarray, answers: np.ndarray, own: bool) -> float:
    queries = answers.any(axis=1)
    if own:
        np.fill_diagonal(scores, -np.inf)
    first = np.argmax(scores[queries] - TIE * answers[queries], axis=1)
    return float(answers[queries][np.arange(len(first)), first].mean())


def _shared(centred: Mapping[Modality, np.ndarray], ids: Mapping[Modality, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (d,), falling, and eigenvectors (d, d) of the mean symmetric cross-covariance of all pairs of modalities."""
    dimension, covariances = next(iter(centred.values())).shape[1], []
    for a, b in combinations(centred, 2):
        both = (ids[a] >= 0) & (ids[b] >= 0)
        if both.any():
            cross = centred[a][ids[a][both]].T @ centred[b][ids[b][both]] / both.sum()
            covariances.append((cross + cross.T) / 2)
    values, directions = np.linalg.eigh(np.mean(covariances, axis=0) if covariances else np.zeros((dimension, dimension)))
    return values[::-1], directions[:, ::-1]


def _onto(directions: np.ndarray) -> np.ndarray:
    """The projection (d, d) onto orthonormal directions (d, k): whichever signs and turns those have, it is the same."""
    projection: np.ndarray = directions @ directions.T
    return projection


def _some(side: FrozenVectors) -> FrozenVectors:
    """At most `MOST` examples, evenly spread, with the items they name."""
    rows = np.unique(np.linspace(0, len(side) - 1, min(MOST, len(side))).astype(np.int64)) if len(side) else np.zeros(0, np.int64)
    vectors, ids = {}, {}
    for modality, places in side.ids.items():
        items, numbers = np.unique(places[rows], return_inverse=True)
        lacking = int(len(items) and items[0] < 0)
        vectors[modality] = unit(side.vectors[modality][items[lacking:]].astype(np.float32))
        ids[modality] = numbers.reshape(-1).astype(np.int64) - lacking
    return FrozenVectors(vectors, ids)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _float(values: Mapping[Modality, np.ndarray]) -> dict[Modality, np.ndarray]:
    return {modality: array.astype(np.float32) for modality, array in values.items()}


def _tensor(values: Mapping[Modality, np.ndarray], modality: Modality) -> torch.Tensor | None:
    return torch.from_numpy(values[modality]) if modality in values else None
