"""VGG: 3 x 3 convolutions and three fully connected layers (Simonyan and Zisserman 2014, https://arxiv.org/abs/1409.1556).

transformers has none, so the network is built here from the names and shapes of its weights: torchvision numbers the layers of `features`
through, so that the gaps tell where a batch normalisation, a ReLU or a pooling stands.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.convolutional import ConvolutionalEncoder, check_pooling
from encoders.errors import EncoderError
from encoders.spec import Spec
from encoders.timm import shapes, tensors
from encoders.weights import locate, origin

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

VGG_POOLINGS = ("fc7", "mean")
_DEPTHS = {8: 11, 10: 13, 13: 16, 16: 19}  # convolutions, and the network's name, which counts the fully connected layers too
_FEATURE = re.compile(r"features\.(\d+)\.weight")
_POOLINGS = 5
_GRID = 7  # cells of a side that the fully connected layers see
# timm's names of the fully connected layers, the first of which it stores as a convolution over the whole grid.
_TIMM = {"pre_logits.fc1.": "classifier.0.", "pre_logits.fc2.": "classifier.3.", "head.fc.": "classifier.6."}


class Vgg(ConvolutionalEncoder):
    """VGG-11, 13, 16 or 19, with or without batch normalisation, with torchvision's or timm's names."""

    name = "vgg"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", pooling: str = "fc7") -> Spec:
        """The spec of a checkpoint, from its configuration files and the headers of its weights.

        Parameters
        ----------
        pooling : "fc7" takes the 4096 numbers after the second fully connected layer and its ReLU, "mean" averages the last feature map
            (512), for which the fully connected layers, nine tenths of the weights, are not needed.
        """
        check_pooling(pooling, VGG_POOLINGS)
        folder = locate(weights, revision)
        found = {_renamed(name): shape for name, shape in shapes(folder).items()}
        channels = _channels(folder, found)
        if pooling == "fc7":
            _check_connected(folder, found, channels)
        dimension = found["classifier.3.weight"][0] if pooling == "fc7" else channels
        return cls.spec_of(folder, origin(folder, weights, revision, licence), dimension, pooling)

    def load(self, folder: Path) -> Module:
        """The network up to the layer that is used."""
        import torch

        state = {_renamed(name): tensor for name, tensor in tensors(folder).items()}
        if self.spec.pooling == "fc7":
            state |= {f"classifier.{number}.weight": state[f"classifier.{number}.weight"].flatten(1) for number in (0, 3)}
        model = _network(folder, {name: tuple(tensor.shape) for name, tensor in state.items()}, self.spec.pooling)
        counters = {name: torch.tensor(0) for name in model.state_dict() if name.endswith(".num_batches_tracked")}
        named = {name: tensor for name, tensor in state.items() if name in model.state_dict()}
        try:
            model.load_state_dict(counters | named, assign=True)
        except RuntimeError as problem:
            raise EncoderError(f"{folder} is a variant of VGG that is not known: {problem}") from problem
        return model.eval().requires_grad_(False)

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """What the last layer that is used gives (n, dimension)."""
        features: Tensor = model(self.pixels(inputs["pixels"], model))
        return features


def _renamed(name: str) -> str:
    """torchvision's name of a tensor with timm's name; others stay as they are."""
    for theirs, ours in _TIMM.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def _network(folder: Path, found: Mapping[str, tuple[int, ...]], pooling: str) -> Module:
    """The layers up to the one that is used, without memory for their weights."""
    import torch
    from torch import nn

    with torch.device("meta"):
        features = nn.Sequential(*_features(folder, found))
        if pooling == "mean":
            return nn.Sequential(OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten()))
        (first, seen), (second, _) = found["classifier.0.weight"], found["classifier.3.weight"]
        classifier = nn.Sequential(nn.Linear(seen, first), nn.ReLU(), nn.Dropout(), nn.Linear(first, second), nn.ReLU())
        parts = OrderedDict(features=features, avgpool=nn.AdaptiveAvgPool2d(_GRID), flatten=nn.Flatten(), classifier=classifier)
        return nn.Sequential(parts)


def _features(folder: Path, found: Mapping[str, tuple[int, ...]]) -> Iterator[Module]:
    """The layers of `features` in their order: each convolution with its normalisation, ReLU and pooling."""
    from torch import nn

    for index, normalised, pooled in _convolutions(folder, found):
        outputs, inputs, *_ = found[f"features.{index}.weight"]
        yield nn.Conv2d(inputs, outputs, kernel_size=3, padding=1)
        if normalised:
            yield nn.BatchNorm2d(outputs)
        yield nn.ReLU()
        if pooled:
            yield nn.MaxPool2d(kernel_size=2, stride=2)


def _convolutions(folder: Path, found: Mapping[str, tuple[int, ...]]) -> list[tuple[int, bool, bool]]:
    """Every convolution: its number in `features`, whether it is normalised, and whether a pooling follows it."""
    numbers = sorted(int(match[1]) for name in found if (match := _FEATURE.fullmatch(name)) and found[name][2:] == (3, 3))
    normalised = [f"features.{number + 1}.running_mean" in found for number in numbers]
    # After the last convolution a pooling always stands.
    following = [*numbers[1:], numbers[-1] + 3 + normalised[-1]] if numbers else []
    gaps = [after - number - 2 - norm for number, norm, after in zip(numbers, normalised, following, strict=True)]
    if len(numbers) not in _DEPTHS or set(gaps) != {0, 1} or sum(gaps) != _POOLINGS or len(set(normalised)) > 1:
        known = ", ".join(f"VGG-{depth}" for depth in _DEPTHS.values())
        raise EncoderError(
            f"{folder} holds no VGG: {len(numbers)} convolutions of 3 x 3 called features.N.weight, {sum(gaps)} poolings between them; "
            f"known are {known} with torchvision's or timm's names"
        )
    return list(zip(numbers, normalised, map(bool, gaps), strict=True))


def _channels(folder: Path, found: Mapping[str, tuple[int, ...]]) -> int:
    """Channels of the last feature map."""
    last, *_ = _convolutions(folder, found)[-1]
    return found[f"features.{last}.weight"][0]


def _check_connected(folder: Path, found: Mapping[str, tuple[int, ...]], channels: int) -> None:
    """EncoderError unless the fully connected layers are there and see the last feature map as 7 x 7 cells."""
    first = found.get("classifier.0.weight", ())
    if "classifier.3.weight" not in found or math.prod(first[1:]) != channels * _GRID * _GRID:
        raise EncoderError(
            f"{folder} has no fully connected layers over {_GRID} x {_GRID} cells of {channels} channels "
            f"(classifier.0.weight is {first or 'not there'}); use the pooling mean"
        )
