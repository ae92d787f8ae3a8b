"""What a score must reach, so that a schedule can act on it: "text>image recall@1=0.5"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from encoders.spec import MODALITIES
from retrieval.query import QueryError
from retrieval.ranking import METRICS
from retrieval.score.questions import MIXED
from retrieval.score.scoring import Score

_FORM = re.compile(r"\s*([a-z]+>[a-z]+)\s+([a-z0-9@]+)\s*>?=\s*([0-9.]+)\s*")


@dataclass(frozen=True)
class Threshold:
    """The least value of a metric in a direction, exact."""

    direction: str
    metric: str
    least: float


@dataclass(frozen=True)
class Outcome:
    """A threshold and what came of it."""

    direction: str
    metric: str
    least: float
    value: float
    met: bool


def parse(text: str) -> Threshold:
    """A threshold from "DIRECTION METRIC=VALUE".

    Raises QueryError for another form, a direction or metric that does not exist, or a value beyond 0 to 1.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise QueryError(f'{text!r} is no threshold; write "text>image recall@1=0.5"')
    direction, metric, value = form.groups()
    one, _, other = direction.partition(">")
    if direction != MIXED and (one == other or not {one, other} <= set(MODALITIES)):
        raise QueryError(
            f"{text!r}: there is no direction {direction!r}; give two of {', '.join(MODALITIES)}, such as text>image, or {MIXED}"
        )
    if metric not in METRICS:
        raise QueryError(f"{text!r}: there is no metric {metric!r}; allowed are {', '.join(METRICS)}")
    try:
        least = float(value)
    except ValueError:
        raise QueryError(f"{text!r}: {value!r} is no number") from None
    if not 0 <= least <= 1:
        raise QueryError(f"{text!r}: {value} is not between 0 and 1; 50 % is 0.5")
    return Threshold(direction, metric, least)


def judge(score: Score, thresholds: Sequence[Threshold]) -> list[Outcome]:
    """What came of each threshold.

    Raises QueryError for a direction that was not scored: what cannot be checked must not pass.
    """
    figures = {name: direction.figures for name, direction in score.directions.items()}
    if score.mixed is not None:
        figures[MIXED] = score.mixed.figures
    outcomes = []
    for each in thresholds:
        if each.direction not in figures:
            raise QueryError(f"a threshold is about {each.direction}, which these pairs do not tell of; they tell of {', '.join(figures)}")
        value = figures[each.direction][each.metric].value
        outcomes.append(Outcome(each.direction, each.metric, each.least, value, value >= each.least))
    return outcomes
