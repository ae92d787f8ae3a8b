"""Checkpoints with torchvision's names of weights and timm's config.json, such as timm/resnet50.tv_in1k and timm/vgg16.tv_in1k."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.errors import EncoderError
from encoders.weights import read_json

if TYPE_CHECKING:
    from torch import Tensor

_FILTERS = ("nearest", "bilinear", "bicubic", "lanczos")


def is_timm(folder: Path) -> bool:
    """Whether a folder says how to prepare pictures in timm's way, and not in transformers'."""
    if (folder / "preprocessor_config.json").is_file():
        return False
    return "pretrained_cfg" in read_json(folder, "config.json")


def timm_preprocessing(folder: Path) -> dict[str, Any]:
    """The parameters of `processor.picture_preprocessing` from the "pretrained_cfg" of timm's config.json.

    timm resizes the shorter edge to input_size / crop_pct, rounded down, and takes the square in the middle.

    Raises
    ------
    EncoderError : it wants another crop than the square in the middle, or a filter that is not known.
    """
    given = read_json(folder, "config.json")["pretrained_cfg"]
    _, height, width = given.get("input_size", (3, 224, 224))
    mode, resample = given.get("crop_mode", "center"), given.get("interpolation", "bicubic")
    if height != width or mode != "center" or resample not in _FILTERS:
        raise EncoderError(
            f"{folder} wants pictures of {height} x {width} pixels, crop {mode!r}, filter {resample!r}; "
            f"only squares from the middle can be encoded, with {', '.join(_FILTERS)}"
        )
    size = math.floor(height / (given.get("crop_pct") or 0.875))
    return {"size": size, "fit": "crop", "crop": height, "resample": resample, "mean": given["mean"], "std": given["std"], "alpha": "white"}


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor in a folder's safetensors files, from their headers."""
    from safetensors import safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - not a mapping
    return found


def tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor in a folder's safetensors files, in float32."""
    from safetensors.torch import load_file

    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in load_file(path).items()}
    return found
