"""Encoders as modules that can be trained, wholly or in their last blocks, and saved again as the checkpoints that they came from.

::

    text = tower(spec, "last:2")             # takes what the encoder's `prepare` makes, stacked; gives vectors (n, d) with gradients
    …                                        # training.train({"text": text, …}, …)
    spec = tower_folder.save(text, folder)   # a folder that registry.describe reads like any other

Training from scratch begins with `tower_folder.fresh`, which writes a checkpoint of random weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module, ModuleList

from encoders import registry
from encoders.align.heads import Head
from encoders.errors import EncoderError
from encoders.pooling import normalise
from encoders.pretrained import Pretrained
from encoders.spec import Spec
from encoders.stacking import alone, together
from encoders.weights import locate, verify

FAMILIES = ("clip-text", "clip-image", "vit", "bert", "ast")


class Tower(Module):
    """An encoder's model: its `prepare`d inputs, stacked, go in; vectors (n, dimension) that are not normalised come out, with gradients.

    Parameters that play no part in the vectors never require a gradient. In training mode, modules without a trainable parameter stay in
    evaluation mode, so that frozen blocks compute the same at every step.

    Parameters
    ----------
    encoder : says how media are prepared and how a model's states become vectors; its own weights are not used.
    model : what `encoder.load` gave.
    """

    def __init__(self, encoder: Pretrained, model: Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.model = model

    @property
    def spec(self) -> Spec:
        """The encoder's, from before training; `save` returns that of the trained one."""
        return self.encoder.spec

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Vectors, float32 (n, dimension)."""
        device = next(self.model.parameters()).device
        return self.encoder.vectors(self.model, {name: values.to(device) for name, values in inputs.items()}).float()

    def stacked(self, prepared: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
        """Inputs of a batch, of what `encoder.prepare` made of each medium."""
        batch = together(prepared)
        return {name: torch.from_numpy(values) for name, values in batch.items()}

    def train(self, mode: bool = True) -> Tower:
        """Switch dropout on (or off) in all modules that have something to train."""
        super().train(mode)
        for module in self.model.modules():
            own = list(module.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                module.eval()
        return self


class HeadedTower(Module):
    """A tower with a head behind it, both trained: for encoders whose own dimensions differ.

    Parameters
    ----------
    tower : its vectors are brought to length one before the head, as everywhere else.
    """

    def __init__(self, tower: Tower, head: Head) -> None:
        super().__init__()
        self.tower = tower
        self.head = head

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Unit vectors, float32 (n, head.form.dimension)."""
        vectors: Tensor = self.head(normalise(self.tower(inputs)))
        return vectors


def tower(spec: Spec, train: str = "all") -> Tower:
    """An encoder's weights as a trainable module, on the CPU in float32 and in evaluation mode.

    Parameters
    ----------
    spec : of an encoder of one of `FAMILIES`, without a head.
    train : "all", or "last:N" for the last N blocks and all that comes after them (normalisation, pooler, projection); "last:0" for what
        comes after the blocks alone.

    Raises
    ------
    EncoderError : another family, a spec with a head, weights that have changed, or `train` asks for what the model does not have.
    """
    last = parse_train(train)
    if spec.encoder not in FAMILIES:
        raise EncoderError(f"the weights of encoder {spec.encoder!r} cannot be trained; that is for {', '.join(FAMILIES)}: train a head")
    encoder = registry.build(spec)
    if not isinstance(encoder, Pretrained):
        raise EncoderError(f"the encoder {spec.encoder!r} has a head already; fine-tune the encoder without it, or train a head of its own")
    folder = locate(spec.weights, spec.revision)
    verify(folder, spec.digest)
    with seeded(0):  # a part that plays no role in the vectors may be missing, and is made up
        made = Tower(encoder, encoder.load(folder))
    _choose(made, last)
    return made


def parse_train(train: str) -> int | None:
    """Blocks that "last:N" names; None for "all"."""
    kind, _, number = train.partition(":")
    if train == "all":
        return None
    if kind == "last" and number.isdecimal():
        return int(number)
    raise EncoderError(f'what to train is "all" or "last:N" with a number of blocks, such as last:2; got {train!r}')


def blocks(model: Module) -> Sequence[Module]:
    """The transformer's blocks in order: of all lists of modules of one class, the one with most parameters."""
    lists = [
        module for module in model.modules() if isinstance(module, ModuleList) and len({type(child) for child in module.children()}) == 1
    ]
    if not lists:
        raise EncoderError(f"{type(model).__name__} has no list of blocks; train all of it")
    return list(max(lists, key=_size).children())


def _size(module: Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _choose(made: Tower, last: int | None) -> None:
    """Let what is wanted require gradients, by what a backward pass reaches: names differ from family to family."""
    made.requires_grad_(True)
    used = _reached(made)
    chosen = used if last is None else _last(made, last, used)
    if not chosen:
        raise EncoderError(f"{made.spec.weights} has nothing to train behind its blocks; use last:1 or more")
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(name in chosen)
    made.eval()


def _last(made: Tower, last: int, used: set[str]) -> set[str]:
    layers = blocks(made.model)
    if last > len(layers):
        raise EncoderError(f"{made.spec.weights} has {len(layers)} blocks, so last:{last} is not to be had; give fewer, or all")
    inside = {id(parameter) for block in layers[len(layers) - last :] for parameter in block.parameters()}
    wanted = {name for name, parameter in made.named_parameters() if id(parameter) in inside}
    with _cut_behind(layers[-1]):
        after = _reached(made)
    return (wanted | after) & used


def _reached(made: Tower) -> set[str]:
    """Names of the parameters that a loss of vectors has a gradient for."""
    made.eval()
    for medium in made.encoder.probe()[:1]:
        inputs = {name: torch.from_numpy(values) for name, values in alone(made.encoder.prepare(medium)).items()}
        total = made(inputs).sum()
        if total.requires_grad:
            total.backward()
    found = {name for name, parameter in made.named_parameters() if parameter.grad is not None}
    made.zero_grad(set_to_none=True)
    return found


@contextmanager
def _cut_behind(block: Module) -> Iterator[None]:
    """No gradient from behind a block into it."""

    def cut(_module: Module, _args: Any, output: Any) -> Any:
        return tuple(cut(_module, _args, one) for one in output) if isinstance(output, tuple) else _detached(output)

    hook = block.register_forward_hook(cut)
    try:
        yield
    finally:
        hook.remove()


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's generator seeded within, and as it was afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
