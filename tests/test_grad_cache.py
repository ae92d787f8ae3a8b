"""GradCache: the gradients of the whole batch, in chunks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from encoders.align.grad_cache import backward
from encoders.align.objective import Objective
from encoders.errors import EncoderError

N = 22  # no multiple of the chunk


class Small(nn.Module):
    """A tower of two layers, in float64, with dropout or without, that returns its hidden states too if it is asked to."""

    def __init__(self, width, dropout=0.0, named=False):
        super().__init__()
        self.first, self.drop, self.last = nn.Linear(width, 16), nn.Dropout(dropout), nn.Linear(16, 8)
        self.named = named
        self.double()

    def forward(self, inputs):
        hidden = self.drop(torch.tanh(self.first(inputs["x"])))
        out = self.last(hidden)
        return {"vectors": out, "hidden": hidden} if self.named else out


def made(dropout=0.0, named=False):
    torch.manual_seed(1)
    towers = {"text": Small(5, dropout), "image": Small(7, dropout, named), "audio": Small(3, dropout)}
    inputs = {modality: {"x": torch.randn(N, tower.first.in_features, dtype=torch.float64)} for modality, tower in towers.items()}
    return towers, inputs, Objective("info-nce").double()


def loss_of(objective):
    ids = {modality: torch.arange(N) for modality in ("text", "image", "audio")}
    ids["text"][3] = ids["text"][4]

    def loss(outputs):
        vectors = {modality: out if isinstance(out, torch.Tensor) else out["vectors"] for modality, out in outputs.items()}
        value, parts = objective(vectors, ids)
        hidden = 0 if isinstance(outputs["image"], torch.Tensor) else outputs["image"]["hidden"].square().mean()
        return value + hidden, parts

    return loss


def gradients(towers, objective):
    return {name: parameter.grad.clone() for name, parameter in nn.ModuleDict({**towers, "objective": objective}).named_parameters()}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("chunk", [1, 4, 8, N - 1])
def test_gradients_are_the_whole_batchs(chunk, named):
    results = []
    for size in (0, chunk):
        towers, inputs, objective = made(named=named)
        results.append((backward(towers, inputs, loss_of(objective), size), gradients(towers, objective)))
    (whole, parts), expected = results[0]
    (loss, others), found = results[1]
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=0)
    assert parts.keys() == others.keys()
    assert found.keys() == expected.keys() and all(gradient.abs().sum() > 0 for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-12)


def test_in_float32_they_agree_to_a_millionth():
    results = []
    for chunk in (0, 4):
        towers, inputs, objective = made()
        towers = {modality: tower.float() for modality, tower in towers.items()}
        inputs = {modality: {"x": given["x"].float()} for modality, given in inputs.items()}
        objective.float()
        backward(towers, inputs, loss_of(objective), chunk)
        results.append(gradients(towers, objective))
    for name, gradient in results[0].items():
        torch.testing.assert_close(results[1][name], gradient, rtol=1e-5, atol=1e-6)


def test_dropout_is_the_same_the_second_time():
    """The reference goes through the same chunks in the same order, with its whole graph held."""
    towers, inputs, objective = made(dropout=0.4)
    torch.manual_seed(5)
    backward(towers, inputs, loss_of(objective), 4)
    found = gradients(towers, objective)

    towers, inputs, objective = made(dropout=0.4)
    torch.manual_seed(5)
    outputs = {modality: torch.cat([tower({"x": some}) for some in inputs[modality]["x"].split(4)]) for modality, tower in towers.items()}
    loss_of(objective)(outputs)[0].backward()
    for name, gradient in gradients(towers, objective).items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-12)


def test_the_generator_goes_on_where_the_first_pass_left_it():
    """Also where the last tower draws, but is frozen and not gone through again."""
    towers, inputs, objective = made(dropout=0.4)
    towers["audio"].requires_grad_(False)
    torch.manual_seed(5)
    backward(towers, inputs, loss_of(objective), 4)
    after = torch.rand(3)
    torch.manual_seed(5)
    for modality, tower in towers.items():
        for some in inputs[modality]["x"].split(4):
            tower({"x": some})
    assert (torch.rand(3) == after).all()


def test_a_frozen_tower_gets_no_gradient_and_is_computed_once():
    towers, inputs, objective = made()
    towers["audio"].requires_grad_(False)
    calls = []
    towers["audio"].register_forward_hook(lambda *_: calls.append(1))
    backward(towers, inputs, loss_of(objective), 8)
    assert len(calls) == 3
    assert all(parameter.grad is None for parameter in towers["audio"].parameters())
    assert towers["text"].first.weight.grad is not None


def test_a_tower_that_changes_between_the_two_passes_is_refused():
    towers, inputs, objective = made()
    noise = torch.Generator().manual_seed(0)
    towers["image"].last.register_forward_hook(lambda _, __, out: out + 0.1 * torch.randn(out.shape, generator=noise, dtype=out.dtype))
    with pytest.raises(EncoderError, match="image tower gave other vectors for the same chunk"):
        backward(towers, inputs, loss_of(objective), 8)


def test_gradients_add_up_as_backward_does():
    towers, inputs, objective = made()
    for _ in range(2):
        backward(towers, inputs, loss_of(objective), 8)
    twice = gradients(towers, objective)
    towers, inputs, objective = made()
    backward(towers, inputs, loss_of(objective), 8)
    for name, gradient in gradients(towers, objective).items():
        torch.testing.assert_close(twice[name], 2 * gradient)
