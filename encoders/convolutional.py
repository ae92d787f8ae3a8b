"""Pictures through convolutional networks: what ResNet, ConvNeXt and VGG share, and those two of them that transformers has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from encoders.errors import EncoderError
from encoders.image import CONVOLUTIONAL, PictureEncoder, scaled
from encoders.patches import prepared_square
from encoders.pooling import unwrap
from encoders.pretrained import read_model, setting
from encoders.processor import picture_preprocessing
from encoders.resnet import read_resnet, resnet_dimension
from encoders.spec import Spec
from encoders.weights import Origin, locate, origin, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

RESNET_POOLINGS = ("mean", "max")
_CONVNEXTS = tuple(kind for kind, encoder in CONVOLUTIONAL.items() if encoder == "convnext")


class ConvolutionalEncoder(PictureEncoder):
    """What all convolutional networks share: whole pictures go in and are normalised on the device."""

    name: ClassVar[str]

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """Resize and crop a picture.

        Parameters
        ----------
        medium : uint8 (height, width, 3), RGB.

        Returns
        -------
        {"pixels": uint8 (crop, crop, 3)}
        """
        return {"pixels": prepared_square(medium, self.spec.preprocessing)}

    def pixels(self, patches: Tensor, model: Module) -> Tensor:
        """The model's input (n, 3, crop, crop) from uint8 pictures (n, crop, crop, 3): (pixel / 255 - mean) / std."""
        return scaled(patches.permute(0, 3, 1, 2), self.spec.preprocessing, model)

    @classmethod
    def spec_of(cls, folder: Path, source: Origin, dimension: int, pooling: str) -> Spec:
        """The spec of a checkpoint's folder."""
        return Spec(
            encoder=cls.name,
            modality=cls.modality,
            dimension=dimension,
            inputs="pixels",
            preprocessing=picture_preprocessing(folder),
            pooling=pooling,
            **source,
        )


class ResNet(ConvolutionalEncoder):
    """A ResNet, of transformers or with torchvision's names, pooled over its last feature map."""

    name = "resnet"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", pooling: str = "mean") -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        pooling : "mean" averages the last feature map, as the network's own classifier does; "max" takes the largest value of each channel.
        """
        check_pooling(pooling, RESNET_POOLINGS)
        folder = locate(weights, revision)
        return cls.spec_of(folder, origin(folder, weights, revision, licence), resnet_dimension(folder), pooling)

    def load(self, folder: Path) -> Module:
        """The network without its classifier."""
        return read_resnet(folder)

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The pooled feature map (n, channels)."""
        features = model(pixel_values=self.pixels(inputs["pixels"], model)).last_hidden_state  # (n, channels, rows, columns)
        pooled: Tensor = features.float().mean((2, 3)) if self.spec.pooling == "mean" else features.float().amax((2, 3))
        return pooled


class ConvNext(ConvolutionalEncoder):
    """A ConvNeXt, ConvNeXt V2 or DINOv3 ConvNeXt: its feature map averaged, then the model's own last normalisation."""

    name = "convnext"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "") -> Spec:
        """The spec of a checkpoint, from its configuration files."""
        folder = locate(weights, revision)
        kind = read_json(folder, "config.json").get("model_type", "no named model")
        if kind not in _CONVNEXTS:
            raise EncoderError(f"{folder} holds {kind}, and convnext takes {', '.join(_CONVNEXTS)}; try vit, resnet or clip-image")
        return cls.spec_of(folder, origin(folder, weights, revision, licence), int(setting(folder, "hidden_sizes")[-1]), "pooler")

    def load(self, folder: Path) -> Module:
        """The network without its classifier."""
        model: Module = read_model(folder)
        return model

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The model's own pooled output (n, channels)."""
        return unwrap(model(pixel_values=self.pixels(inputs["pixels"], model)))


def check_pooling(pooling: str, allowed: Sequence[str]) -> None:
    """EncoderError for a pooling that the family does not have."""
    if pooling not in allowed:
        raise EncoderError(f"pooling {pooling!r} is unknown for this family; use {', '.join(allowed)}")
