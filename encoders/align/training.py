"""One loop for heads on frozen vectors, for fine-tuning and for training from scratch.

What a step does is a function of the weights, the seed and the step's number alone, so a training that is killed and started again on the
same machine ends with the same bits as one that was left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from torch import Tensor
from torch.nn import Module

from encoders.align.objective import Objective
from encoders.align.sampling import Order
from encoders.spec import Modality

Outputs = Mapping[Modality, Tensor | Mapping[str, Tensor]]
"""What towers returned: vectors (n, d), or {"vectors": (n, d), …} with whatever else `extra` wants, each with n rows."""


class Examples(Protocol):
    """What is trained on: row i of all modalities belongs together."""

    ids: Mapping[Modality, np.ndarray]
    """int64 (n,) by modality: equal where the contents are equal, -1 where a row lacks the modality."""

    def __len__(self) -> int:
        """Rows."""
        ...

    def inputs(self, modality: Modality, rows: np.ndarray) -> dict[str, Tensor]:
        """A tower's inputs of some rows (all of which have the modality), each with len(rows) along its first axis.

        What is random here (such as augmentation) draws from torch's generator, which is seeded for every step; a generator of numpy's is
        made by `np.random.default_rng(torch.initial_seed())`.
        """
        ...


@dataclass(frozen=True)
class Options:
    """How to train.

    Parameters
    ----------
    batch : examples of a step, each of which has the others as negatives: thousands for heads.
    chunk : examples that go through a tower at once (GradCache), with the same gradients in less memory; 0 for all.
    steps, epochs : how long; one of them is 0.
    learning_rate : the highest, after the warm-up.
    warm_up : share of the steps in which the learning rate rises from 0.
    floor : share of the learning rate at which the cosine ends.
    weight_decay : of matrices; biases, norms, scales and other vectors have none.
    betas : of AdamW; 0.98 is CLIP's second, steadier than 0.999 in short trainings.
    clip : highest norm of all gradients together, 0 for none.
    seed : of the order of examples and of all that is random in a step.
    evaluate_every : steps between two calls of `validate`, which is also called before the first step and after the last; 0 for these two.
    metric : name of what decides which weights are the best, of those that `validate` returns; "" keeps the last weights.
    lower : whether a lower metric is better.
    patience : evaluations without a better one after which training stops, 0 for none.
    checkpoint_every : seconds between two checkpoints; 0 writes one after every step.
    device : a torch device.
    dtype : what the towers compute in: "float32", "bfloat16", or "auto" for bfloat16 where the hardware has it; weights are float32.
    """

    batch: int = 1024
    chunk: int = 0
    steps: int = 0
    epochs: int = 0
    learning_rate: float = 1e-3
    warm_up: float = 0.05
    floor: float = 0.0
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 0.0
    seed: int = 0
    evaluate_every: int = 0
    metric: str = ""
    lower: bool = False
    patience: int = 0
    checkpoint_every: float = 30.0
    device: str = "cpu"
    dtype: str = "float32"


@dataclass(frozen=True)
class Batch:
    """What one step saw.

    Parameters
    ----------
    step : its number, from 0.
    rows : examples, int64 (n,).
    encoded : by modality the examples that the tower got, in its order: those of `rows` that have the modality, then hard negatives.
    ids : int64 (n,) by modality, of `rows`.
    """

    step: int
    rows: np.ndarray
    encoded: Mapping[Modality, np.ndarray]
    ids: Mapping[Modality, Tensor]


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


def train(
    towers: Mapping[Modality, Module],
    objective: Objective,
    examples: Examples,
    options: Options,
    *,
    folder: Path,
    validate: Callable[[], Mapping[str, float]] | None = None,
    note: Callable[[Step], None] = lambda _: None,
    extra: Callable[[Batch, Outputs], Tensor] | None = None,
    negatives: Mapping[Modality, np.ndarray] | None = None,
    order: Order | None = None,
) -> History:
    """Train towers and objective in place; afterwards they have the best weights and are in evaluation mode.

    Parameters
    ----------
    towers : by modality; maps `examples.inputs` to vectors (n, d) of any length, or to a mapping with "vectors". Parameters that require
        no gradient are neither trained nor stored.
    folder : of the checkpoint. If it holds one of this very training, that one goes on; after its end the weights are there at once.
    validate : called with the towers in evaluation mode and without gradients.
    note : hears of every step.
    extra : a further loss of training alone, added to the objective's; if it is a Module, it is trained and stored along.
    negatives : by modality, rows of `examples` whose items are hard negatives of each example, int64 (n, k), -1 for none: `sampling.mine`.
    order : rows of each step, by default `sampling.Shuffled`.

    Raises
    ------
    EncoderError : options or examples that cannot be trained on, a loss or metric that is not finite, a metric that `validate` does not
        return, or a folder with the checkpoint of another training.
    """
    raise NotImplementedError
