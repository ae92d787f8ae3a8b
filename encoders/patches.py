"""From pixels to the square patches that a vision transformer reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from encoders.scaling import RESAMPLES, scale

FITS = ("crop", "stretch")


def resize_and_crop(picture: np.ndarray, size: int, resample: str = "bicubic", fit: str = "crop", edge: int | None = None) -> np.ndarray:
    """Scale a picture and take the square in its middle.

    Equal, to two of 255, to the Pillow image processors of transformers, which compute all that is then cut away; here a picture of
    1 x 100,000 pixels costs no more than another. Filters are widened when scaling down (antialiasing). The width is scaled before the
    height, as in every Pillow before 13, which models were trained with; Pillow 13 turns that round for some tall pictures, where
    rounding in between makes up to 5 of 255.

    Parameters
    ----------
    picture : uint8 (height, width, 3).
    size : side of the square, in pixels.
    resample : filter, one of `RESAMPLES`.
    fit : "crop" scales the shorter side to `edge` and keeps the shape (CLIP); "stretch" makes it `edge` x `edge` (ViT, SigLIP, DeiT).
    edge : side before cropping; None for `size`, so that "stretch" cuts nothing. Some checkpoints scale to 256 and then take 224.

    Returns
    -------
    uint8 (size, size, 3)
    """
    edge = size if edge is None else edge
    _check_picture(picture)
    if resample not in RESAMPLES or fit not in FITS:
        raise ValueError(f"resample is one of {', '.join(RESAMPLES)} and fit one of {', '.join(FITS)}, not {resample!r} and {fit!r}")
    if not 1 <= size <= edge:
        raise ValueError(f"a square of {size} pixels cannot be cut from an edge of {edge}; choose 1 <= size <= edge")
    height, width = picture.shape[:2]
    shorter = min(height, width)
    tall, wide = (edge, edge) if fit == "stretch" else (edge * height // shorter, edge * width // shorter)
    left, right = _span(width, wide, size)
    top, bottom = _span(height, tall, size)
    # Rows that the filter of no output pixel reaches (at most three pixels of the smaller scale to either side) are left out.
    reach = 3 * max(1.0, height / tall) + 2
    first, last = max(0, int(top - reach)), min(height, int(bottom + reach) + 1)
    return scale(picture[first:last], size, size, resample, (left, top - first, right, bottom - first))


def prepared_square(picture: np.ndarray, how: Mapping[str, Any]) -> np.ndarray:
    """The square that a model sees, by the parameters of its spec's preprocessing: "size", "fit", "crop", "resample"."""
    return resize_and_crop(picture, how["crop"], how["resample"], how["fit"], edge=how["size"])


def _span(length: int, scaled: int, size: int) -> tuple[float, float]:
    """The part of a side of `length` pixels that becomes the middle `size` of `scaled` ones."""
    first = (scaled - size) // 2
    return first * length / scaled, min((first + size) * length / scaled, float(length))


def resize_to_patches(picture: np.ndarray, patch: int, most: int, resample: str = "bilinear") -> np.ndarray:
    """Scale a picture, small or large, to as many whole patches as fit; its shape is kept to the nearest patch.

    Equal, to two of 255, to the Siglip2ImageProcessor of transformers with Pillow. The width is scaled before the height, as in
    `resize_and_crop`.

    Parameters
    ----------
    picture : uint8 (height, width, 3).
    patch : side p of a patch, in pixels.
    most : most patches of the result.
    resample : filter, one of `RESAMPLES`.

    Returns
    -------
    uint8 (rows * p, columns * p, 3), with rows * columns <= most as `patch_grid` says.
    """
    _check_picture(picture)
    if resample not in RESAMPLES:
        raise ValueError(f"resample is one of {', '.join(RESAMPLES)}, not {resample!r}")
    rows, columns = patch_grid(picture.shape[0], picture.shape[1], patch, most)
    return scale(picture, columns * patch, rows * patch, resample)


def patch_grid(height: int, width: int, patch: int, most: int) -> tuple[int, int]:
    """Rows and columns of the patches that a picture of any shape is scaled to.

    The largest scale, up to a hundredfold, at which both sides, rounded up to whole patches, make no more than `most` patches. It is found
    by halving, to 1e-5, step by step as SigLIP 2 does (big_vision/pp/proj/image_text/ops_naflex.py of
    https://github.com/google-research/big_vision), for the last steps decide where a side falls between two patches.

    Parameters
    ----------
    height, width : in pixels.
    patch : side p of a patch, in pixels.
    most : most patches.
    """
    if patch < 1 or most < 1:
        raise ValueError(f"{most} patches of {patch} pixels hold no picture; both must be at least 1")
    low, high, precision = 1e-6, 100.0, 1e-5
    while high - low >= precision:
        scale = (low + high) / 2
        fits = _patches(height * scale, patch) * _patches(width * scale, patch) <= most
        low, high = (scale, high) if fits else (low, scale)
    return _patches(height * low, patch), _patches(width * low, patch)


def _patches(length: float, patch: int) -> int:
    return max(1, math.ceil(length / patch))


def _check_picture(picture: np.ndarray) -> None:
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or 0 in picture.shape:
        raise ValueError(f"a picture is uint8 (height, width, 3), not {picture.dtype} {picture.shape}")


def patchify(picture: np.ndarray, patch: int) -> np.ndarray:
    """Cut a picture into square patches, each flattened: what a patch embedding multiplies with its weights.

    The order is that of SigLIP 2's `convert_image_to_patches`: patches row by row from the top left, inside a patch pixels row by row,
    and the channels of a pixel together. For a convolution's weights (out, channels, p, p) the embedding is
    `patches @ weights.transpose(2, 3, 1, 0).reshape(-1, out)`.

    Parameters
    ----------
    picture : (height, width, channels); both sides are multiples of `patch`.
    patch : side p of a patch, in pixels.

    Returns
    -------
    (height / p * width / p, p * p * channels), of the picture's type
    """
    height, width, channels = picture.shape
    if patch < 1 or height % patch or width % patch:
        raise ValueError(f"a picture of {height} x {width} pixels cannot be cut into patches of {patch}; resize it to a multiple first")
    rows, columns = height // patch, width // patch
    grid = picture.reshape(rows, patch, columns, patch, channels).transpose(0, 2, 1, 3, 4)  # (rows, columns, p, p, channels)
    return grid.reshape(rows * columns, patch * patch * channels)


def unpatchify(patches: np.ndarray, patch: int, rows: int, columns: int) -> np.ndarray:
    """The inverse of `patchify`, for one picture or a batch.

    Parameters
    ----------
    patches : (..., rows * columns, p * p * channels).
    patch : side p of a patch, in pixels.
    rows, columns : of the grid of patches.

    Returns
    -------
    (..., rows * p, columns * p, channels)
    """
    *batch, count, length = patches.shape
    if patch < 1 or count != rows * columns or length % (patch * patch):
        raise ValueError(f"{count} patches of {length} values are no grid of {rows} x {columns} patches of {patch} x {patch} pixels")
    channels = length // (patch * patch)
    grid = patches.reshape(*batch, rows, columns, patch, patch, channels)
    return np.moveaxis(grid, -3, -4).reshape(*batch, rows * patch, columns * patch, channels)
