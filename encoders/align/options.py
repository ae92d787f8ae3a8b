"""How to train: what can be chosen, and which choices are refused."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from encoders import hardware
from encoders.errors import EncoderError


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


def check(options: Options, validated: bool) -> None:
    """EncoderError for options that mean nothing.

    Parameters
    ----------
    validated : whether there is something that gives metrics.
    """
    if (options.steps > 0) == (options.epochs > 0) or min(options.steps, options.epochs) < 0:
        raise EncoderError(f"steps = {options.steps} and epochs = {options.epochs}: give one of them, above 0")
    if not (options.learning_rate > 0 and math.isfinite(options.learning_rate)):
        raise EncoderError(f"learning_rate = {options.learning_rate} is not above 0; heads begin with 1e-3, fine-tuning with 1e-5")
    for name in ("warm_up", "floor"):
        if not 0 <= getattr(options, name) <= 1:
            raise EncoderError(f"{name} = {getattr(options, name)} is a share, from 0 to 1")
    for name in ("chunk", "weight_decay", "clip", "evaluate_every", "patience", "checkpoint_every"):
        if getattr(options, name) < 0:
            raise EncoderError(f"{name} = {getattr(options, name)} is below 0; 0 is none")
    if options.metric and not validated:
        raise EncoderError(f"metric = {options.metric!r} needs a validation that gives it; none was given")
    if options.patience and not (options.metric and options.evaluate_every):
        raise EncoderError(f"patience = {options.patience} needs a metric and evaluate_every above 0")


def dtype_of(options: Options) -> torch.dtype:
    """float32, or bfloat16 where the hardware has it; float16 would need a scaled loss."""
    wanted = hardware.dtypes(options.device, options.dtype)[0]
    if options.dtype == "float16":
        raise EncoderError("dtype float16 is too narrow for gradients; give float32, bfloat16 or auto")
    if options.dtype == "bfloat16" and hardware.dtypes(options.device)[0] != "bfloat16":
        raise EncoderError(f"{options.device} has no bfloat16 of its own and emulates it, hundreds of times slower; give float32 or auto")
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32
