"""Pictures through vision transformers: the picture half of CLIP-like checkpoints, and ViT-like ones by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.clip import check_clip_like, dimension, is_clip_like, read_half
from encoders.errors import EncoderError
from encoders.patches import patchify, prepared_square
from encoders.pooling import pool_patches, unwrap
from encoders.pretrained import Pretrained, read_model, setting
from encoders.processor import picture_preprocessing
from encoders.spec import Modality, Spec
from encoders.weights import locate, origin, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

VIT_POOLINGS = ("cls", "mean", "pooler")
CONVOLUTIONAL = {"resnet": "resnet", "convnext": "convnext", "convnextv2": "convnext", "dinov3_convnext": "convnext"}  # types, encoders


class PictureEncoder(Pretrained):
    """What all vision transformers share: patches go in, pixels are restored and normalised on the device."""

    modality: Modality = "image"

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """Resize, crop and cut a picture.

        Parameters
        ----------
        medium : uint8 (height, width, 3), RGB.

        Returns
        -------
        {"patches": uint8 (n, p * p * 3)}, row by row, each patch row by row with its three colours together; n = (crop / p) ** 2.
        """
        how = self.spec.preprocessing
        square = prepared_square(medium, how)
        return {"patches": patchify(square, how["patch"])}

    def pixels(self, patches: Tensor, model: Module) -> Tensor:
        """The model's input (n, 3, crop, crop) from uint8 patches (n, rows * rows, p * p * 3): (pixel / 255 - mean) / std."""
        how = self.spec.preprocessing
        p, rows = how["patch"], how["crop"] // how["patch"]
        whole = patches.reshape(-1, rows, rows, p, p, 3).permute(0, 5, 1, 3, 2, 4).reshape(-1, 3, rows * p, rows * p)
        return scaled(whole, how, model)

    def probe(self) -> Sequence[np.ndarray]:
        """A gradient, a chequerboard and noise."""
        return probes(self.spec.preprocessing["crop"])


class ClipImage(PictureEncoder):
    """The picture half of a CLIP-like checkpoint (CLIP, SigLIP, Chinese-CLIP …): projected into the space it shares with texts."""

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "") -> Spec:
        """The spec of a checkpoint, from its configuration files."""
        folder = locate(weights, revision)
        check_clip_like(folder)
        if setting(folder, "model_type") == "siglip2":
            raise EncoderError(f"{folder} takes pictures of any shape (NaFlex); use the encoder siglip2-naflex")
        return Spec(
            encoder="clip-image",
            modality=cls.modality,
            dimension=dimension(folder),
            inputs="patches",
            preprocessing=_preprocessing(folder, "vision_config"),
            pooling="projection",
            **origin(folder, weights, revision, licence),
        )

    def load(self, folder: Path) -> Module:
        """The model without its text half."""
        half: Module = read_half(folder, "vision")
        return half

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Projected features."""
        return unwrap(model.get_image_features(pixel_values=self.pixels(inputs["patches"], model)))


class Vit(PictureEncoder):
    """A ViT-like checkpoint (ViT, DeiT, DINOv2 with and without registers, DINOv3 …), pooled over its tokens."""

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", pooling: str = "cls") -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        pooling : "cls" takes the class token, "mean" averages the patches, "pooler" takes the model's own pooler_output.
        """
        if pooling not in VIT_POOLINGS:
            raise EncoderError(f"pooling {pooling!r} is unknown for pictures; use {', '.join(VIT_POOLINGS)}")
        folder = locate(weights, revision)
        if is_clip_like(folder):
            raise EncoderError(f"{folder} is a CLIP-like checkpoint with two halves; use the encoders clip-image and clip-text")
        kind = str(read_json(folder, "config.json").get("model_type"))
        if kind in CONVOLUTIONAL:
            raise EncoderError(f"{folder} holds {kind}, a convolutional network; use the encoder {CONVOLUTIONAL[kind]}")
        return Spec(
            encoder="vit",
            modality=cls.modality,
            dimension=setting(folder, "hidden_size"),
            inputs="patches",
            preprocessing=_preprocessing(folder),
            pooling=pooling,
            **origin(folder, weights, revision, licence),
        )

    def load(self, folder: Path) -> Module:
        """The model; a checkpoint trained without a pooler may lack it where it is not used."""
        model: Module = read_model(folder, unused=() if self.spec.pooling == "pooler" else ("pooler.",))
        return model

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Pooled states of the last layer, after the model's own last normalisation."""
        output = model(pixel_values=self.pixels(inputs["patches"], model))
        if self.spec.pooling == "pooler":
            return unwrap(output)
        patches = (self.spec.preprocessing["crop"] // model.config.patch_size) ** 2
        prefix = output.last_hidden_state.shape[1] - patches
        if prefix < 0:
            raise EncoderError(f"{self.spec.weights} has fewer tokens than patches, so it is not ViT-like; try the pooling 'pooler'")
        return pool_patches(output.last_hidden_state, prefix, self.spec.pooling)


def scaled(colours: Tensor, how: Mapping[str, Any], model: Module) -> Tensor:
    """(pixel / 255 - mean) / std of uint8 pictures (…, 3, height, width), in the model's dtype; `how` is the spec's preprocessing."""
    whole = colours.float()
    std = whole.new_tensor(how["std"]).view(3, 1, 1)
    mean = whole.new_tensor(how["mean"]).view(3, 1, 1)
    return whole.mul_(1 / (255 * std)).sub_(mean / std).to(next(model.parameters()).dtype)


def probes(edge: int) -> list[np.ndarray]:
    """A gradient, a chequerboard and noise, uint8 (edge, edge, 3): a few pictures as unlike as pictures get."""
    y, x = np.mgrid[:edge, :edge]
    gradient = np.stack([x * 255 // edge, y * 255 // edge, (x + y) * 127 // edge], axis=-1)
    chequers = np.repeat(((x // 8 + y // 8) % 2 * 255)[..., None], 3, axis=-1)
    noise = np.random.default_rng(0).integers(0, 256, (edge, edge, 3))
    return [picture.astype(np.uint8) for picture in (gradient, chequers, noise)]


def _preprocessing(folder: Path, *part: str) -> dict[str, Any]:
    """The processor's parameters, and the edge of the patches in which pictures travel: the model's own where it divides the picture."""
    how = picture_preprocessing(folder)
    image_size, patch, kind = (setting(folder, *part, "image_size"), setting(folder, *part, "patch_size"), setting(folder, "model_type"))
    if how["crop"] != image_size and not kind.startswith("dino"):
        raise EncoderError(
            f"{folder} prepares pictures of {how['crop']} pixels for a model of {image_size}; correct preprocessor_config.json"
        )
    divisors = (edge for edge in range(min(32, how["crop"]), 0, -1) if how["crop"] % edge == 0)
    return {**how, "patch": patch if how["crop"] % patch == 0 else next(divisors)}
