"""Objects of a table sorted into classes, by names alone, by a few examples or by many, and judged by what was kept apart.

Objects are classified, not rows: an object of several segments by the mean of its unit vectors (docs/classify.md has it beside the mean of
its segments' probabilities).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from encoders.logit_scale import learned_scale
from retrieval import candidates, known_objects
from retrieval.candidates import Candidates
from retrieval.classify import class_model, classes, classification_report, labelled
from retrieval.classify.class_model import METHODS, ZERO_SHOT, Model
from retrieval.classify.classes import Classes
from retrieval.classify.classifiers import LEARNING
from retrieval.classify.cross_validation import Tried
from retrieval.classify.labelled import Labelled
from retrieval.classify.probabilities import expected_calibration_error, log_loss, softmax
from retrieval.errors import QueryError
from retrieval.filters import EVERYTHING, Filter
from retrieval.means import means
from retrieval.query import Searcher

BLOCK = 8192  # objects classified at once


@dataclass(frozen=True)
class Asked:
    """What to classify, into what, by what.

    Parameters
    ----------
    classes : `None` takes the labels of the examples.
    examples, evaluation : uri and label, as `labelled.read` gives them. The evaluation is never learned from.
    share : of the examples that is kept apart to judge by, where there is no evaluation.
    method : one of `METHODS`; auto takes the one that does best on examples that it did not learn from, or zero-shot without examples.
    least : probability below which an object is given no label.
    keep : what is classified, and which examples are used.
    templates : around the labels, where they are the classes' names; see `classes.parse`.
    seed : of what is kept apart, of the folds and of the intervals.
    """

    classes: Classes | None = None
    examples: pl.DataFrame | None = None
    evaluation: pl.DataFrame | None = None
    share: float = 0.2
    method: str = "auto"
    least: float = 0.0
    keep: Filter = EVERYTHING
    templates: tuple[str, ...] = ()
    seed: int = 1


@dataclass(frozen=True)
class Classified:
    """What became of a question.

    Parameters
    ----------
    report : JSON values.
    labels : uri, medium, content_hash, label (null for none), probability (null without calibration), score; one line an object, in order
        of medium and uri.
    """

    report: dict[str, Any]
    labels: pl.DataFrame


@dataclass(frozen=True)
class Known:
    """Objects of known class: unit vectors (n, d), places of their classes (n,), and the list that they are from."""

    found: Labelled
    vectors: np.ndarray
    labels: np.ndarray


def classify(searcher: Searcher, asked: Asked) -> Classified:
    """Classify what `asked.keep` leaves of a table.

    Raises
    ------
    QueryError : neither classes nor examples, no object to classify, examples that are none of the table's, a label that is no class, a
        class without an example or with a single one where more are needed, a threshold without probabilities.
    """
    _refuse_nonsense(asked)
    held = _held(searcher, asked.keep)
    examples, evaluation = (_matched(searcher, held, rows) for rows in (asked.examples, asked.evaluation))
    names = asked.classes.names if asked.classes else _labels_of(examples)
    model, judged, told = _model(searcher, held, examples, evaluation, names, asked)
    if asked.least and model.scale is None:
        raise QueryError("a threshold needs probabilities, and these scores are not calibrated; give two or more examples of each class")
    labels = _sorted(model, held, names, asked.least)
    counts = Counter(labels.get_column("label").to_list())
    report = {
        "table": searcher.table.name,
        "version": int(searcher.table.version),
        "space": searcher.space.name,
        "generation": searcher.space.generation,
        "objects": labels.height,
        "classes": list(names),
        "method": model.method,
        "setting": model.setting,
        "calibration": model.calibration,
        "scale": model.scale,
        **told,
        "examples": examples and _told(examples),
        "evaluation": judged,
        "labels": {name: counts[name] for name in names},
        "threshold": asked.least,
        "none": counts[None],
    }
    return Classified(report, labels)


def _refuse_nonsense(asked: Asked) -> None:
    if asked.method not in METHODS:
        raise QueryError(f"there is no method {asked.method!r}; allowed are {', '.join(METHODS)}")
    if asked.classes is None and asked.examples is None:
        raise QueryError("nothing says what the classes are; give --classes, as names or a TOML file, or --examples, or both")
    if asked.examples is None and asked.method in LEARNING:
        raise QueryError(f"method {asked.method!r} learns from examples; give --examples, or take {ZERO_SHOT}")
    if asked.examples is None and asked.evaluation is not None:
        raise QueryError("nothing is learned, so all known labels can judge: give them as --examples, with --method zero-shot")
    if not 0 <= asked.share < 1 or not 0 <= asked.least < 1:
        raise QueryError(f"share {asked.share:g} and threshold {asked.least:g} must be 0 or more, and less than 1")


def _held(searcher: Searcher, keep: Filter) -> Candidates:
    held = candidates.read(searcher.table, keep.rest.sql())
    left = held.objects.filter(keep.held(held.objects.get_column("uri")))
    if left.is_empty():
        raise QueryError(f"table {searcher.table.name!r} has no object that passes the filters; widen them")
    return Candidates(left, held.vectors)


def _matched(searcher: Searcher, held: Candidates, rows: pl.DataFrame | None) -> Labelled | None:
    if rows is None:
        return None
    found = labelled.match(rows, held.objects, lambda: known_objects.contents(searcher.table).get_column("uri"))
    if not found.labels:
        left = ", ".join(f"{number} {why}" for why, number in found.counts.items() if number and why != "rows")
        which = f", such as {found.unknown[0]!r}" if found.unknown else ""
        raise QueryError(f"none of the examples is of use ({left or 'the list is empty'}{which}); name URIs as `sensorium search` does")
    return found


def _labels_of(examples: Labelled | None) -> tuple[str, ...]:
    names = tuple(sorted(set(examples.labels))) if examples else ()
    if len(names) < 2:
        raise QueryError(f"all examples have the label {names[0]!r}; give examples of two or more classes")
    return names


def _known(held: Candidates, found: Labelled, names: Sequence[str]) -> Known:
    strange = Counter(label for label in found.labels if label not in names)
    if strange:
        label, number = strange.most_common(1)[0]
        raise QueryError(f"label {label!r} of {number} example(s) is not among the classes {', '.join(names)}; add it, or correct it")
    place = {name: number for number, name in enumerate(names)}
    return Known(found, _vectors(held, found.places), np.array([place[label] for label in found.labels], np.int64))


def _vectors(held: Candidates, places: np.ndarray) -> np.ndarray:
    """One unit vector an object, float32 (n, d)."""
    return means(*held.of(places))


def _model(
    searcher: Searcher, held: Candidates, examples: Labelled | None, evaluation: Labelled | None, names: tuple[str, ...], asked: Asked
) -> tuple[Model, dict[str, Any] | None, dict[str, Any]]:
    """What classifies, how well it does, and what was tried."""
    known = _known(held, examples, names) if examples else None
    named = classes.named(names, asked.templates)
    ways, untried = class_model.ways(asked.method, asked.classes, named, searcher.embed_texts, learns=known is not None)
    if known is None:
        return class_model.by_words(ways, searcher.dimension, learned_scale(searcher.space)), None, _tried([], untried)
    out, judging = _apart(held, known, evaluation, names, asked)
    model, tried = class_model.learned(ways, asked.method, known.vectors[~out], known.labels[~out], names, asked.seed)
    judged = _judged(model, *judging, names, asked) if judging else None
    if out.any():
        model = class_model.again(model, ways, known.vectors, known.labels, len(names))
    return model, judged, _tried(tried, untried)


def _apart(
    held: Candidates, known: Known, evaluation: Labelled | None, names: Sequence[str], asked: Asked
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, dict[str, Any]] | None]:
    """Which examples are kept apart, bool (n,); and vectors and labels to judge by, with where they are from."""
    if evaluation is not None:
        judges = _known(held, evaluation.without(known.found), names)
        if not len(judges.labels):
            raise QueryError("every object of the evaluation is among the examples; give others, or a share of the examples")
        return np.zeros(len(known.labels), bool), (judges.vectors, judges.labels, {"from": "file", "list": _told(judges.found)})
    out = labelled.held_out(known.found.contents, known.labels, asked.share, asked.seed)
    return out, (known.vectors[out], known.labels[out], {"from": "share", "share": asked.share}) if out.any() else None


def _judged(
    model: Model, vectors: np.ndarray, labels: np.ndarray, about: Mapping[str, Any], names: Sequence[str], asked: Asked
) -> dict[str, Any]:
    scores = model.scores(vectors)
    predicted = scores.argmax(axis=1)
    told = {**about, **classification_report.report(labels, predicted, names, asked.seed)}
    if model.scale is None:
        return told
    probabilities = softmax(model.scale * scores)
    told["log_loss"] = log_loss(scores, labels, model.scale)
    told["calibration_error"] = expected_calibration_error(probabilities, labels)
    if asked.least:
        sure = probabilities.max(axis=1) >= asked.least
        right = float((predicted == labels)[sure].mean()) if sure.any() else None
        told["above_threshold"] = {"objects": int(sure.sum()), "accuracy": right}
    return told


def _sorted(model: Model, held: Candidates, names: Sequence[str], least: float) -> pl.DataFrame:
    """The columns of `Classified.labels`, a block of objects after the other."""
    blocks = []
    for low in range(0, held.objects.height, BLOCK):
        scores = model.scores(_vectors(held, np.arange(low, min(low + BLOCK, held.objects.height))))
        columns = {"number": scores.argmax(axis=1), "score": scores.max(axis=1).astype(np.float64)}
        probability = None if model.scale is None else pl.Series(softmax(model.scale * scores).max(axis=1), dtype=pl.Float32)
        blocks.append(pl.DataFrame(columns).with_columns(probability=pl.lit(probability, dtype=pl.Float32)))
    found = pl.concat(blocks)
    label = pl.when(pl.col("probability").fill_null(1.0) >= least).then(pl.Series("label", names).gather(found.get_column("number")))
    frame = found.with_columns(label=label)
    return (
        held.objects.select("uri", "medium", "content_hash")
        .with_columns(frame.get_columns())
        .drop("number")
        .select("uri", "medium", "content_hash", "label", "probability", "score")
    )


def _tried(tried: Sequence[Tried], untried: Mapping[str, str]) -> dict[str, Any]:
    return {"tried": [asdict(one) for one in tried], "untried": dict(untried)}


def _told(found: Labelled) -> dict[str, Any]:
    return {**found.counts, "by_class": dict(sorted(Counter(found.labels).items())), "unknown_uris": list(found.unknown)}
