"""A classifier that has learned from examples, or from words alone: which methods come into question, and which of them is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from retrieval.classify import classes, cross_validation
from retrieval.classify.classes import Classes
from retrieval.classify.classifiers import LEARNING, Fit, Scores, zero_shot
from retrieval.classify.cross_validation import Tried
from retrieval.errors import QueryError

AUTO, ZERO_SHOT = "auto", "zero-shot"
METHODS = (AUTO, ZERO_SHOT, *LEARNING)
ENOUGH = 2  # examples of each class without which nothing can be compared or calibrated
UNCOMPARED = {"neighbours": "neighbours", "centroids": "centroids", "logistic": "logistic, C = 100"}
"""The setting of a method whose settings cannot be compared, for lack of examples."""

Ways = Mapping[str, Mapping[str, Fit]]
"""Settings by method."""


@dataclass(frozen=True)
class Model:
    """A classifier that has learned.

    Parameters
    ----------
    scores : of unit vectors, (n, classes).
    scale : what makes them probabilities; `None` where nothing is known that would.
    calibration : where the scale is from: "examples", "space" (what the space was trained with), or "none".
    """

    method: str
    setting: str
    scores: Scores
    scale: float | None
    calibration: str


def ways(
    method: str, given: Classes | None, named: Classes, texts: Callable[[Sequence[str]], np.ndarray], *, learns: bool
) -> tuple[Ways, dict[str, str]]:
    """The methods that come into question, and why others do not, by method.

    Parameters
    ----------
    method : one of `METHODS`.
    given : classes as a person described them; where there are none, `named` have their labels for prompts, and may have no vectors.
    texts : see `classes.embed`.
    learns : whether there are examples.
    """
    learning = {name: settings for name, settings in LEARNING.items() if learns and method in (AUTO, name)}
    if method in LEARNING:
        return learning, {}
    try:
        described = classes.embed(given or named, texts)
    except QueryError as problem:
        if given is not None or method == ZERO_SHOT:
            raise
        return learning, {ZERO_SHOT: str(problem)}
    return {ZERO_SHOT: {ZERO_SHOT: zero_shot(described)}, **learning}, {}


def by_words(found: Ways, dimension: int, scale: float | None) -> Model:
    """Zero-shot without any example; `scale` is what the space was trained with."""
    scores = found[ZERO_SHOT][ZERO_SHOT](np.empty((0, dimension)), np.empty(0, np.int64), 0)
    return Model(ZERO_SHOT, ZERO_SHOT, scores, scale, "none" if scale is None else "space")


def learned(
    found: Ways, method: str, vectors: np.ndarray, labels: np.ndarray, names: Sequence[str], seed: int
) -> tuple[Model, list[Tried]]:
    """The best setting, which has learned from all of these examples, and what each setting reached; nothing to tell where none was tried.

    Parameters
    ----------
    vectors, labels : unit vectors (n, d) and places in `names`, (n,).

    Raises
    ------
    QueryError : a method that learns lacks a class's examples, or has too few of it to be compared with others.
    """
    if method == ZERO_SHOT:  # learns from none of them, so a class may lack examples
        model = by_words(found, vectors.shape[1], None)
        tried = [cross_validation.judged(ZERO_SHOT, ZERO_SHOT, model.scores(vectors), labels)]
        return replace(model, scale=tried[0].scale, calibration="examples"), tried
    few = np.bincount(labels, minlength=len(names))
    rare = names[int(few.argmin())]
    if not few.min():
        raise QueryError(f"class {rare!r} has no example that can be used; give it two or more, or take --method {ZERO_SHOT}")
    if few.min() < ENOUGH and method == AUTO:
        raise QueryError(
            f"class {rare!r} has a single example, and methods are compared on examples that they did not learn from: "
            "give it another, or name the method, such as --method centroids"
        )
    if few.min() < ENOUGH:
        setting = UNCOMPARED[method]
        return Model(method, setting, found[method][setting](vectors, labels, len(names)), None, "none"), []
    tried = cross_validation.compare(found, vectors, labels, len(names), seed)
    best = tried[0]
    scores = found[best.method][best.setting](vectors, labels, len(names))
    return Model(best.method, best.setting, scores, best.scale, "examples"), tried


def again(model: Model, found: Ways, vectors: np.ndarray, labels: np.ndarray, classes_: int) -> Model:
    """The same setting and scale, having learned from other examples: all of them, once what was kept apart has judged."""
    return replace(model, scores=found[model.method][model.setting](vectors, labels, classes_))
