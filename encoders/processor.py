"""A checkpoint's preprocessor settings as plain parameters; what they leave open is filled in, what is not known is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from encoders.errors import EncoderError
from encoders.timm import is_timm, timm_preprocessing
from encoders.weights import read_json

_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # Pillow's numbers

_OPENAI = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
_HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
_EDGE_224 = {"size": {"shortest_edge": 224}, "do_center_crop": True, "crop_size": 224, "resample": 3, "square": False}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_SQUARE_224 = {"size": 224, "do_center_crop": False, "square": True}

# Defaults of the processors that resize, crop, scale and normalise as ours does. "square" says what a bare number as size means.
_IMAGE_DEFAULTS: dict[str, dict[str, Any]] = {
    "CLIP": {**_OPENAI, **_EDGE_224},
    "ChineseCLIP": {**_OPENAI, **_EDGE_224},
    "Bit": {**_OPENAI, **_EDGE_224},
    "ViT": {**_HALF, **_SQUARE_224, "resample": 2},
    "DeiT": {**_HALF, **_SQUARE_224, "size": 256, "do_center_crop": True, "crop_size": 224, "resample": 3},
    "Siglip": {**_HALF, **_SQUARE_224, "resample": 3, "square": False},
    "ConvNext": {**_HALF, "size": 384, "do_center_crop": False, "resample": 3, "square": False, "crop_pct": 224 / 256},
    # Scales pixels to 0..1 before it resizes them; ours rounds them to 1/255 after, as all others do.
    "DINOv3ViT": {**_IMAGENET, **_SQUARE_224, "resample": 2},
}
_NAFLEX_DEFAULTS: dict[str, Any] = {**_HALF, "resample": 2, "patch_size": 16, "max_num_patches": 256}
_WARPED = 384  # from this edge on, ConvNextImageProcessor stretches pictures and cuts nothing off


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
    if is_timm(folder):
        return timm_preprocessing(folder)
    given = _given(folder)
    defaults = _image_defaults(folder, _kind(given))
    settings = {**defaults, **given}
    return _cropped_by_share(folder, settings) if "crop_pct" in defaults else picture_parameters(folder, settings)


def picture_parameters(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of `picture_preprocessing` from settings that are complete; "square" tells what a bare number as size means."""
    _refuse_other_steps(folder, settings)
    fit, size = _size(folder, settings["size"], settings["square"])
    crop = _square(folder, settings["crop_size"]) if settings["do_center_crop"] else size
    if fit == "crop" and not settings["do_center_crop"]:
        raise EncoderError(f"{folder}: pictures keep their shape (shortest_edge without do_center_crop); only squares can be encoded")
    if crop > size:
        raise EncoderError(
            f"{folder} crops {crop} pixels from pictures of {size}, which would need a border; correct preprocessor_config.json"
        )
    return {"size": size, "fit": fit, "crop": crop, **_colours(settings)}


def naflex_preprocessing(folder: Path) -> dict[str, Any]:
    """Parameters between a picture and the patches of a model that takes pictures of any shape (SigLIP 2 NaFlex).

    Returns
    -------
    {"patch": edge of a patch, "max_patches": most patches of a picture, "resample", "mean", "std", "alpha": as `picture_preprocessing`}

    Raises
    ------
    EncoderError : the settings are missing or not those of Siglip2ImageProcessor.
    """
    given = _given(folder)
    if _family(_kind(given)) != "Siglip2":
        raise EncoderError(f"{folder} preprocesses with {_kind(given) or 'nothing named'}; NaFlex needs Siglip2ImageProcessor")
    settings = {**_NAFLEX_DEFAULTS, **given}
    _refuse_other_steps(folder, settings)
    return {"patch": settings["patch_size"], "max_patches": settings["max_num_patches"], **_colours(settings)}


def _cropped_by_share(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What ConvNextImageProcessor does: below 384 pixels the middle `crop_pct` of a larger picture, from there on all of it, stretched."""
    _refuse_other_steps(folder, settings)
    fit, size = _size(folder, settings["size"], settings["square"])
    if fit != "crop" or settings["do_center_crop"]:
        raise EncoderError(f"{folder} must say its shortest_edge, and no do_center_crop beside crop_pct; correct preprocessor_config.json")
    if size >= _WARPED:
        return {"size": size, "fit": "stretch", "crop": size, **_colours(settings)}
    return {"size": int(size / settings["crop_pct"]), "fit": "crop", "crop": size, **_colours(settings)}


def _colours(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What happens to single pixels, and the filter that makes them."""
    normalised = settings.get("do_normalize", True)
    return {
        "resample": _RESAMPLE[settings["resample"]],
        "mean": settings["image_mean"] if normalised else [0.0, 0.0, 0.0],
        "std": settings["image_std"] if normalised else [1.0, 1.0, 1.0],
        "alpha": "white",
    }


def read_settings(folder: Path, part: str) -> dict[str, Any]:
    """A processor's settings: from preprocessor_config.json, or from processor_config.json, where transformers 5 writes its parts.

    Parameters
    ----------
    part : "image_processor" or "feature_extractor".
    """
    found = read_json(folder, "preprocessor_config.json") or read_json(folder, "processor_config.json").get(part, {})
    if not found:
        raise EncoderError(f"{folder} has no preprocessor_config.json; fetch or save the checkpoint with its processor")
    return dict(found)


def _given(folder: Path) -> dict[str, Any]:
    """The settings of pictures that a checkpoint names; null stands for the processor's own default."""
    return {name: value for name, value in read_settings(folder, "image_processor").items() if value is not None}


def _kind(given: Mapping[str, Any]) -> str:
    return str(given.get("image_processor_type", given.get("feature_extractor_type", "")))


def _family(kind: str) -> str:
    """The name without what tells its variants apart, which do the same steps: ViT for ViTImageProcessorFast."""
    for ending in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(ending)
    return kind


def _image_defaults(folder: Path, kind: str) -> dict[str, Any]:
    name = _family(kind)
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
