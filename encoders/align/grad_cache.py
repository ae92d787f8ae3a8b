"""Gradients of one large batch in the memory of a small one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from encoders.errors import EncoderError
from encoders.spec import Modality

Output = Tensor | Mapping[str, Tensor]
Outputs = Mapping[Modality, Output]
"""What towers returned: vectors (n, d), or {"vectors": (n, d), …} with whatever else a loss wants, each with n rows."""

Inputs = Mapping[Modality, Mapping[str, Tensor]]
LossOf = Callable[[Outputs], tuple[Tensor, Any]]
"""From outputs to a scalar, and to anything that is handed on as it is."""

_VECTORS = "vectors"
_OTHER = 0.02  # of the length of a chunk's outputs: kernels with and without gradients may round otherwise, another dropout is far more


def backward(towers: Mapping[Modality, Module], inputs: Inputs, loss_of: LossOf, chunk: int = 0) -> tuple[Tensor, Any]:
    """Forward and backward: adds the loss's gradients to all parameters and returns what `loss_of` returned, without gradients.

    With a chunk, this is GradCache (Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"): all
    outputs are computed chunk by chunk without gradients, the loss gives the gradients of the outputs, and each chunk is computed once
    more, with gradients, to hand them on. Random numbers (dropout) are those of the first time. The gradients are the whole batch's, for
    about 4/3 of its time; memory holds what one chunk needs.

    Parameters
    ----------
    inputs : by modality, tensors with the rows of the batch along their first axis.
    chunk : rows that go through a tower at once; 0 for all.

    Raises
    ------
    EncoderError : a tower gave other outputs the second time, so its gradients would be wrong.
    """
    if not chunk or all(_rows(given) <= chunk for given in inputs.values()):
        loss, told = loss_of({modality: tower(inputs[modality]) for modality, tower in towers.items() if modality in inputs})
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), told
    devices = sorted({tensor.device.index for given in inputs.values() for tensor in given.values() if tensor.is_cuda})
    states: dict[Modality, list[_Random]] = {}
    outputs: dict[Modality, Output] = {}
    with torch.no_grad():
        for modality, given in inputs.items():
            states[modality], parts = [], []
            for some in _chunks(given, chunk):
                states[modality].append(_Random(devices))
                parts.append(_named(towers[modality](some)))
            outputs[modality] = _leaf(parts, towers[modality])
    loss, told = loss_of(outputs)
    loss.backward()  # type: ignore[no-untyped-call]
    after = _Random(devices)
    for modality, given in inputs.items():
        if _trains(towers[modality]):
            for number, (some, state) in enumerate(zip(_chunks(given, chunk), states[modality], strict=True)):
                state.restore()
                _hand_on(modality, _named(towers[modality](some)), _named(outputs[modality]), number * chunk)
    after.restore()
    return loss.detach(), told


def vectors_of(output: Output) -> Tensor:
    """Vectors (n, d) of what a tower returned."""
    return output if isinstance(output, Tensor) else output[_VECTORS]


class _Random:
    """The state of torch's generators, of the CPU and of the devices in use."""

    def __init__(self, devices: list[int]) -> None:
        self.cpu = torch.get_rng_state()
        self.cuda = {device: torch.cuda.get_rng_state(device) for device in devices}

    def restore(self) -> None:
        torch.set_rng_state(self.cpu)
        for device, state in self.cuda.items():
            torch.cuda.set_rng_state(state, device)


def _rows(given: Mapping[str, Tensor]) -> int:
    return len(next(iter(given.values())))


def _chunks(given: Mapping[str, Tensor], chunk: int) -> Iterator[dict[str, Tensor]]:
    for first in range(0, _rows(given), chunk):
        yield {name: tensor[first : first + chunk] for name, tensor in given.items()}


def _named(output: Output) -> Mapping[str, Tensor]:
    return {_VECTORS: output} if isinstance(output, Tensor) else output


def _leaf(parts: list[Mapping[str, Tensor]], tower: Module) -> Output:
    """The outputs of all chunks as if they had come from nowhere, so that the loss's gradients stop here."""
    trains = _trains(tower)
    whole = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    leaves = {name: tensor.requires_grad_(trains and tensor.is_floating_point()) for name, tensor in whole.items()}
    return leaves[_VECTORS] if set(leaves) == {_VECTORS} else leaves


def _trains(tower: Module) -> bool:
    return any(parameter.requires_grad for parameter in tower.parameters())


def _hand_on(modality: Modality, again: Mapping[str, Tensor], cached: Mapping[str, Tensor], first: int) -> None:
    """The loss's gradients of one chunk's outputs into the tower."""
    tensors, gradients = [], []
    for name, tensor in again.items():
        rows = slice(first, first + len(tensor))
        before, gradient = cached[name].detach()[rows], cached[name].grad
        if (tensor.detach() - before).double().norm() > _OTHER * before.double().norm():
            raise EncoderError(
                f"the {modality} tower gave other {name} for the same chunk the second time; with chunks its randomness must come from "
                "torch's generator, and nothing in it may change in between; or train it with chunk = 0"
            )
        if gradient is not None and tensor.requires_grad:
            tensors.append(tensor)
            gradients.append(gradient[rows])
    torch.autograd.backward(tensors, gradients)
