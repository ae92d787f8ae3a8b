"""EfficientNet-Lite: a picture encoder of 4.6 million parameters that a laptop runs, as an encoder of your own.

Reads checkpoints with timm's names, such as timm/tf_efficientnet_lite0.in1k (Tan and Le 2019, https://arxiv.org/abs/1905.11946; the Lite
variants have no squeeze-and-excitation and ReLU6 for an activation).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.convolutional import ConvolutionalEncoder
from encoders.errors import EncoderError
from encoders.spec import Spec
from encoders.timm import shapes, tensors
from encoders.weights import locate, origin

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the first block in each stage; depths, widths and kernels are read off the weights
_EPSILON = 1e-3  # TensorFlow's, in which the weights were trained
# A block's convolutions, each with its normalisation: the first stage's blocks do not widen.
_NARROW = (("conv_dw", "bn1"), ("conv_pw", "bn2"))
_WIDE = (("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3"))


class EfficientNetLite(ConvolutionalEncoder):
    """EfficientNet-Lite 0 to 4: the last feature map, averaged."""

    name = "efficientnet-lite"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "") -> Spec:
        """The spec of a checkpoint, from its configuration files and the headers of its weights."""
        folder = locate(weights, revision)
        head = shapes(folder).get("conv_head.weight")
        if head is None:
            raise EncoderError(f"{folder} holds no EfficientNet with timm's names: no weights are called conv_head.weight")
        return cls.spec_of(folder, origin(folder, weights, revision, licence), head[0], "mean")

    def load(self, folder: Path) -> Module:
        """The network without its classifier."""
        state = {name: tensor for name, tensor in tensors(folder).items() if not name.startswith("classifier.")}
        model = _network({name: tuple(tensor.shape) for name, tensor in state.items()})
        try:
            model.load_state_dict(state)
        except RuntimeError as problem:
            raise EncoderError(f"{folder} is no EfficientNet-Lite, or another variant of it: {problem}") from problem
        return model.eval().requires_grad_(False)

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The averaged feature map (n, channels)."""
        features: Tensor = model(self.pixels(inputs["pixels"], model))  # (n, channels, rows, columns)
        return features.float().mean((2, 3))


def _network(found: dict[str, tuple[int, ...]]) -> Module:
    """The layers, as wide and as deep as the weights say."""
    from torch import nn
    from torch.nn import functional

    class Convolution(nn.Conv2d):
        """A convolution that pads as TensorFlow does: on the right and below, where the padding is odd."""

        def forward(self, x: Tensor) -> Tensor:
            sides = []
            for size in (x.shape[3], x.shape[2]):
                step, kernel = self.stride[0], self.kernel_size[0]
                padding = max((math.ceil(size / step) - 1) * step + kernel - size, 0)
                sides += [padding // 2, padding - padding // 2]
            return super().forward(functional.pad(x, sides))

    def convolution(name: str, stride: int = 1) -> Module:
        outputs, inputs, kernel, _ = found[f"{name}.weight"]
        depthwise = name.endswith("conv_dw")
        return Convolution(outputs if depthwise else inputs, outputs, kernel, stride, groups=outputs if depthwise else 1, bias=False)

    class Block(nn.Module):
        def __init__(self, name: str, stride: int) -> None:
            super().__init__()
            self.parts = _WIDE if f"{name}.conv_pwl.weight" in found else _NARROW
            for conv, norm in self.parts:
                self.add_module(conv, convolution(f"{name}.{conv}", stride if conv == "conv_dw" else 1))
                self.add_module(norm, nn.BatchNorm2d(found[f"{name}.{conv}.weight"][0], eps=_EPSILON))

        def forward(self, x: Tensor) -> Tensor:
            y = x
            for conv, norm in self.parts:
                y = self.get_submodule(norm)(self.get_submodule(conv)(y))
                y = y if conv == self.parts[-1][0] else functional.relu6(y)
            return x + y if x.shape == y.shape else y

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_stem, self.conv_head = convolution("conv_stem", 2), convolution("conv_head")
            self.bn1, self.bn2 = (nn.BatchNorm2d(found[f"{name}.weight"][0], eps=_EPSILON) for name in ("conv_stem", "conv_head"))
            self.blocks = nn.Sequential(*(nn.Sequential(*_stage(number, stride)) for number, stride in enumerate(_STRIDES)))

        def forward(self, x: Tensor) -> Tensor:
            x = self.blocks(functional.relu6(self.bn1(self.conv_stem(x))))
            return functional.relu6(self.bn2(self.conv_head(x)))

    def _stage(number: int, stride: int) -> list[Module]:
        depth = sum(f"blocks.{number}.{block}.conv_dw.weight" in found for block in range(len(found)))
        return [Block(f"blocks.{number}.{block}", stride if block == 0 else 1) for block in range(depth)]

    return Network()
