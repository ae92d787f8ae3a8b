"""From a picture's bytes to its pixels: upright, eight bits, red green blue, on white."""

from __future__ import annotations

import re
import struct
import warnings
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from encoders.errors import LimitError, UnreadableError
from encoders.media.kinds import Limits, Source, check_bytes, is_cut_short, open_source

# Only these decoders may run: no PostScript, no PDF, no format that nobody tested here.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

# What decoders raise on bytes that are no whole picture.
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
)
_CUT = re.compile(r"truncat|unexpected end|premature|incomplete|not processed|unrecognized data stream", re.IGNORECASE)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112

_PILLOW_IS_QUIET = ("ignore", None, Warning, re.compile("PIL"), 0)


def decode(source: Source, limits: Limits | None = None) -> np.ndarray:
    """The pixels of a picture as a person would see it.

    The orientation of its EXIF data is applied; transparency is laid on white; of an animation or of several pages the first is taken;
    CMYK is converted without its colour profile, as the processors of image models do. Sixteen bits are scaled to eight, not clipped.
    Grey values of 32 bits or floating point are taken as 0..1, 0..255 or 0..65535, the smallest range that holds them all, or else
    stretched from their minimum to their maximum.

    Parameters
    ----------
    source : JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.
    limits : the size is read from the header and checked before a pixel is decoded.

    Returns
    -------
    uint8 array (height, width, 3)

    Raises
    ------
    EmptyError("empty"), LimitError("too many bytes" | "too many pixels"), UnreadableError("truncated" | "corrupt")
    """
    limits = limits or Limits()
    check_bytes(source, limits)
    _silence_pillow()
    with open_source(source) as stream:
        try:
            with Image.open(stream, formats=FORMATS) as image:
                _check_pixels(image.size, limits)
                return pixels(image)
        except Image.DecompressionBombError as error:
            raise LimitError("too many pixels", f"{error}; Pillow's own bound is {2 * (Image.MAX_IMAGE_PIXELS or 0):,}") from error
        except _BROKEN as error:
            raise _unreadable(error, source) from error


def pixels(image: Image.Image) -> np.ndarray:
    """As `decode`, of a picture that Pillow has opened or made: uint8 (height, width, 3)."""
    image.load()
    return np.array(_upright(_rgb(image), _orientation(image)))


def _check_pixels(size: tuple[int, int], limits: Limits) -> None:
    width, height = size
    if width * height > limits.pixels:
        raise LimitError(
            "too many pixels",
            f"the picture has {width:,} x {height:,} pixels, allowed are {limits.pixels:,}; raise the limit or scale it down",
        )


def _silence_pillow() -> None:
    """Turn off Pillow's warnings, which are about files, and which say less than our errors.

    A filter is added rather than `warnings.catch_warnings` entered, because that one is not safe with threads: the first to leave
    restores the filters under the others.
    """
    if not warnings.filters or warnings.filters[0] != _PILLOW_IS_QUIET:
        warnings.filterwarnings("ignore", module="PIL")


def _unreadable(error: Exception, source: Source) -> UnreadableError:
    cause = f"no decoder of {', '.join(FORMATS)} knows it" if isinstance(error, UnidentifiedImageError) else str(error)
    if isinstance(error, EOFError) or _CUT.search(cause) or is_cut_short(source):
        return UnreadableError("truncated", f"the picture's data ends early ({cause}); upload it again")
    return UnreadableError("corrupt", f"the picture cannot be decoded ({cause}); replace it, or remove it")


def _orientation(image: Image.Image) -> int:
    """1 to 8 as EXIF defines it; 1 where the EXIF data are broken, for the pixels are not."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _BROKEN:
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image), sixteen=image.mode.startswith("I;16"))).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _eight_bits(grey: np.ndarray, sixteen: bool) -> np.ndarray:
    """Grey values of more than eight bits as uint8."""
    grey = np.nan_to_num(grey.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = float(grey.min()), float(grey.max())
    if sixteen:
        low, high = 0.0, 65535.0
    elif low >= 0.0 and high <= 65535.0:
        low, high = 0.0, next(top for top in (1.0, 255.0, 65535.0) if high <= top)
    return np.rint((grey - low) * (255.0 / max(high - low, 1e-300))).astype(np.uint8)
