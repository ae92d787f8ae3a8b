"""How a training went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """How one step went.

    Parameters
    ----------
    step : steps done, from 1; 0 is the evaluation before the first.
    steps : of how many.
    epoch : epochs done.
    loss : nan at step 0.
    parts : the loss of each pair of modalities ("text-image"), and "extra".
    rate : the learning rate of this step.
    scale : what cosines are multiplied by, after this step.
    metrics : what `validate` returned after this step, {} if it was not asked.
    seconds : since the training began, over all its runs.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    parts: Mapping[str, float]
    rate: float
    scale: float
    metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True)
class History:
    """How a whole training went, over all its runs.

    Parameters
    ----------
    losses : of every step, in order.
    evaluations : {"step": n, name: value, …} in order.
    best_step : whose weights the towers have now; the last where no metric was named.
    best : value of the metric there, None where no metric was named.
    stopped : "steps" when all were done, "patience" when the metric did not get better any more.
    resumed : step at which this run went on, 0 for a training that ran in one go.
    seconds : of all runs together.
    """

    losses: list[float]
    evaluations: list[dict[str, float]]
    best_step: int
    best: float | None
    stopped: str
    resumed: int
    seconds: float
