"""AdamW, what it decays, and how fast it learns."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch.nn import Parameter
from torch.optim import AdamW


def adamw(parameters: Iterable[Parameter], weight_decay: float, betas: tuple[float, float]) -> AdamW:
    """AdamW (Loshchilov & Hutter 2019) over what requires a gradient; matrices decay, and biases, norms, scales and other vectors do not.

    One kernel updates all parameters (fused) where the device has it.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [one for one in trained if one.ndim >= 2], "weight_decay": weight_decay},
        {"params": [one for one in trained if one.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(one.device.type in {"cpu", "cuda"} and torch.is_floating_point(one) for one in trained)
    return AdamW([group for group in groups if group["params"]], lr=0.0, betas=betas, fused=fused)


def set_rate(optimiser: AdamW, rate: float) -> None:
    """The learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def learning_rate(step: int, steps: int, highest: float, warm_up: float = 0.05, floor: float = 0.0) -> float:
    """The rate of a step: it rises in a line, then falls along half a cosine (Loshchilov & Hutter 2017).

    Parameters
    ----------
    step, steps : its number from 0, of how many.
    warm_up : share of the steps in which it rises; the last of them has the highest rate.
    floor : share of the highest rate at which the cosine would end, one step after the last.
    """
    rising = round(warm_up * steps)
    if step < rising:
        return highest * (step + 1) / rising
    done = (step - rising) / (steps - rising)
    return highest * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)
