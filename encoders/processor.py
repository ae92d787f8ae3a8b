"""A checkpoint's preprocessor settings as plain parameters; what they leave open is filled in, what is not known is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.errors import EncoderError
from encoders.weights import read_json

_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # Pillow's numbers

_OPENAI = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_EDGE_224 = {"size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": 224, "resample": 3, "square": False}
_SQUARE_224 = {"size": 224, "do_center_crop": False, "square": True}

# Defaults of the processors that resize, crop, scale and normalise as ours does. "square" says what a bare number as size means.
_IMAGE_DEFAULTS: dict[str, dict[str, Any]] = {
    "CLIP": {**_OPENAI, **_EDGE_224},
    "ChineseCLIP": {**_OPENAI, **_EDGE_224},
    "Bit": {**_OPENAI, **_EDGE_224},
    "ViT": {**_HALF, **_SQUARE_224, "resample": 2},
    "DeiT": {**_HALF, **_SQUARE_224, "size": 256, "do_center_crop": True, "crop_size": 224, "resample": 3},
    "Siglip": {**_HALF, **_SQUARE_224, "resample": 3, "square": False},
}
_AUDIO_DEFAULTS = {
    "sampling_rate": 16000,
    "num_mel_bins": 128,
    "max_length": 1024,
    "do_normalize": True,
    "mean": -4.2677393,
    "std": 4.5689974,
}


def picture_preprocessing(folder: Path) -> dict[str, Any]:
    """Parameters between a picture and the model's pixels.

    Returns
    -------
    {"size": edge after resizing, "fit": "crop" (the shorter edge gets that size) or "stretch" (both do), "crop": edge of the centre square,
    "resample": Pillow's filter, "mean", "std": per colour after scaling to 0..1, "alpha": what transparency is laid on}

    Raises
    ------
    EncoderError : the settings are missing, or are those of a processor that does something else.
    """
    given = _settings(folder, "image_processor")
    kind = str(given.get("image_processor_type", given.get("feature_extractor_type", "")))
    settings = {**_image_defaults(folder, kind), **given}
    _refuse_other_steps(folder, settings)
    fit, size = _size(folder, settings["size"], settings["square"])
    crop = _square(folder, settings["crop_size"]) if settings["do_center_crop"] else size
    if fit == "crop" and not settings["do_center_crop"]:
        raise EncoderError(f"{folder}: pictures keep their shape (shortest_edge without do_center_crop); only squares can be encoded")
    if crop > size:
        raise EncoderError(
            f"{folder} crops {crop} pixels from pictures of {size}, which would need a border; correct preprocessor_config.json"
        )
    normalised = settings.get("do_normalize", True)
    return {
        "size": size,
        "fit": fit,
        "crop": crop,
        "resample": _RESAMPLE[settings["resample"]],
        "mean": settings["image_mean"] if normalised else [0.0, 0.0, 0.0],
        "std": settings["image_std"] if normalised else [1.0, 1.0, 1.0],
        "alpha": "white",
    }


def audio_preprocessing(folder: Path) -> dict[str, Any]:
    """Parameters between a sound and the mel spectrogram that an AST reads.

    Returns
    -------
    {"sampling_rate", "bands", "frames", "mean", "std"}; the model sees (mel - mean) / (2 * std).

    Raises
    ------
    EncoderError : the settings are missing or not those of ASTFeatureExtractor.
    """
    given = _settings(folder, "feature_extractor")
    if given.get("feature_extractor_type") != "ASTFeatureExtractor":
        raise EncoderError(
            f"{folder} preprocesses with {given.get('feature_extractor_type', 'nothing named')}; only ASTFeatureExtractor is known"
        )
    settings = {**_AUDIO_DEFAULTS, **given}
    return {
        "sampling_rate": settings["sampling_rate"],
        "bands": settings["num_mel_bins"],
        "frames": settings["max_length"],
        "mean": settings["mean"] if settings["do_normalize"] else 0.0,
        "std": settings["std"] if settings["do_normalize"] else 0.5,
    }


def _settings(folder: Path, part: str) -> dict[str, Any]:
    """From preprocessor_config.json, or from processor_config.json, where transformers 5 writes the parts of a processor."""
    found = read_json(folder, "preprocessor_config.json") or read_json(folder, "processor_config.json").get(part, {})
    if not found:
        raise EncoderError(f"{folder} has no preprocessor_config.json; fetch or save the checkpoint with its processor")
    return dict(found)


def _image_defaults(folder: Path, kind: str) -> dict[str, Any]:
    name = kind
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        name = name.removesuffix(ending)
    if name not in _IMAGE_DEFAULTS:
        known = ", ".join(f"{known}ImageProcessor" for known in _IMAGE_DEFAULTS)
        raise EncoderError(f"{folder} preprocesses with {kind or 'nothing named'}, which is not known to work as ours does; known: {known}")
    return _IMAGE_DEFAULTS[name]


def _refuse_other_steps(folder: Path, settings: Mapping[str, Any]) -> None:
    scale = settings.get("rescale_factor", 1 / 255)
    if not settings.get("do_resize", True) or not settings.get("do_rescale", True) or abs(scale * 255 - 1) > 1e-6:
        raise EncoderError(
            f"{folder} does not resize pictures or does not scale them to 0..1 (rescale_factor {scale}); this is not supported"
        )
    if settings["resample"] not in _RESAMPLE:
        raise EncoderError(f"{folder} resamples with number {settings['resample']}; Pillow's filters are {_RESAMPLE}")


def _size(folder: Path, size: Any, square: bool) -> tuple[str, int]:
    """How a picture is fitted, and to which edge."""
    if isinstance(size, Mapping) and set(size) == {"shortest_edge"}:
        return "crop", int(size["shortest_edge"])
    if isinstance(size, int) and not square:
        return "crop", size
    return "stretch", _square(folder, size)


def _square(folder: Path, size: Any) -> int:
    height, width = (size.get("height"), size.get("width")) if isinstance(size, Mapping) else (size, size)
    if height != width or not isinstance(height, int):
        raise EncoderError(f"{folder} wants pictures of size {size}; only squares can be encoded")
    return height
