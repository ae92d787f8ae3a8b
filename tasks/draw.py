"""Draw what an encoder sees: a spectrogram with its axes, a wave, a picture with the grid of its patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

# Sixteen evenly spaced colours of matplotlib's viridis (CC0); between them, at most 7 of 255 away from it.
_VIRIDIS = np.array(
    [
        (68, 1, 84), (72, 26, 108), (71, 47, 125), (65, 68, 135), (57, 86, 140), (49, 104, 142), (42, 120, 142), (35, 136, 142),
        (31, 152, 139), (34, 168, 132), (53, 183, 121), (84, 197, 104), (122, 209, 81), (165, 219, 54), (210, 226, 27), (253, 231, 37),
    ]
)  # fmt: skip
_WIDE, _HIGH = 960, 320  # pixels of a spectrogram, about
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 96, 34, 44
_INK, _PAPER, _END = (40, 40, 40), (255, 255, 255), (255, 90, 90)
_GRID = ((255, 255, 255, 90), (0, 0, 0, 60))
_HERTZ = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000)


def viridis(values: np.ndarray) -> np.ndarray:
    """Colours of numbers from 0 to 1: uint8 (…, 3), dark blue to yellow; equal steps look equally large."""
    place = np.clip(values, 0.0, 1.0) * (len(_VIRIDIS) - 1)
    below = np.minimum(place.astype(int), len(_VIRIDIS) - 2)
    share = (place - below)[..., None]
    return np.asarray(np.rint(_VIRIDIS[below] * (1 - share) + _VIRIDIS[below + 1] * share), np.uint8)


@dataclass(frozen=True)
class Spectrogram:
    """What is drawn of a spectrogram.

    Parameters
    ----------
    mel : (frames, bands).
    hertz : (bands,), where each band has its peak.
    start, seconds : time at which the first frame begins, and what all frames span.
    unit : of the numbers.
    sound : seconds after which there is no more sound, if that is before the end.
    grid : frames and bands from the beginning of one patch to the next, 0 for none.
    """

    mel: np.ndarray
    hertz: np.ndarray
    start: float
    seconds: float
    unit: str
    sound: float | None = None
    grid: tuple[int, int] = (0, 0)


def spectrogram(what: Spectrogram, title: str) -> Image.Image:
    """A spectrogram with axes in seconds and hertz, and a scale of its colours."""
    low, high = float(what.mel.min()), float(what.mel.max())
    frames, bands = what.mel.shape
    scaled = (what.mel - low) / ((high - low) or 1.0)
    width, height = _stretched(frames, _WIDE), _stretched(bands, _HIGH)
    field = Image.fromarray(viridis(scaled.T[::-1])).resize((width, height), _filter(frames, width))
    field = _with_grid(field, (what.grid[0] * width / frames, what.grid[1] * height / bands))
    sheet, draw = _sheet(field, title)
    _time_axis(draw, field, what.start, what.seconds)
    _frequency_axis(draw, field, what.hertz)
    _colour_scale(sheet, draw, field, (low, high), what.unit)
    if what.sound is not None and what.sound < what.seconds:
        x = _LEFT + width * what.sound / what.seconds
        draw.line([(x, _TOP), (x, _TOP + height)], fill=_END, width=2)
    return sheet


def wave(samples: np.ndarray, start: float, seconds: float, title: str) -> Image.Image:
    """The samples of a sound over time, as lines from the least to the greatest within each pixel."""
    field = Image.new("RGB", (_WIDE, _HIGH), (245, 245, 245))
    pen = ImageDraw.Draw(field)
    most = float(np.abs(samples).max()) or 1.0
    for x, part in enumerate(np.array_split(samples, min(_WIDE, len(samples)))):
        ends = [_HIGH / 2 * (1 - float(value) / most) for value in (part.max(), part.min())]
        at = x * _WIDE / min(_WIDE, len(samples))
        pen.line([(at, ends[0]), (at, ends[1])], fill=tuple(int(c) for c in _VIRIDIS[5]))
    sheet, draw = _sheet(field, title)
    _time_axis(draw, field, start, seconds)
    for share, value in ((0.0, most), (0.5, 0.0), (1.0, -most)):
        _tick_left(draw, _TOP + _HIGH * share, f"{value:.3g}")
    return sheet


def picture(pixels: np.ndarray, patch: int, title: str) -> Image.Image:
    """A picture with the grid of its patches.

    Parameters
    ----------
    pixels : uint8 (height, width, 3), as the model is given it.
    patch : edge of a patch in pixels, 0 for none.
    """
    height, width = pixels.shape[:2]
    scale = max(1, round(512 / max(height, width)))
    field = Image.fromarray(pixels).resize((width * scale, height * scale), Image.Resampling.NEAREST)
    field = _with_grid(field, (patch * scale, patch * scale))
    return _sheet(field, title)[0]


def joined(patches: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The picture that was cut: uint8 (rows * p, columns * p, 3) from patches (rows * columns, p * p * 3), row by row."""
    p = round((patches.shape[1] / 3) ** 0.5)
    return patches.reshape(rows, columns, p, p, 3).swapaxes(1, 2).reshape(rows * p, columns * p, 3)


def _sheet(field: Image.Image, title: str) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    sheet = Image.new("RGB", (_LEFT + field.width + _RIGHT, _TOP + field.height + _BOTTOM), _PAPER)
    sheet.paste(field, (_LEFT, _TOP))
    draw = ImageDraw.Draw(sheet)
    draw.text((_LEFT, _TOP / 2), title, fill=_INK, font=font(15), anchor="lm")
    return sheet, draw


def _with_grid(field: Image.Image, step: tuple[float, float]) -> Image.Image:
    """Faint lines over a picture, every so many pixels to the right and from the bottom up; 0 for none."""
    if not min(step):
        return field
    grid = Image.new("RGBA", field.size, (0, 0, 0, 0))
    pen = ImageDraw.Draw(grid)
    for shift, colour in enumerate(_GRID):  # seen on dark and on light grounds
        for x in np.arange(step[0], field.width, step[0]) + shift:
            pen.line([(x, 0), (x, field.height)], fill=colour)
        for y in field.height - np.arange(step[1], field.height, step[1]) + shift:
            pen.line([(0, y), (field.width, y)], fill=colour)
    return Image.alpha_composite(field.convert("RGBA"), grid).convert("RGB")


def _frequency_axis(draw: ImageDraw.ImageDraw, field: Image.Image, hertz: np.ndarray) -> None:
    free = float("inf")
    for mark in (f for f in _HERTZ if hertz[0] <= f <= hertz[-1]):
        band = float(np.interp(mark, hertz, np.arange(len(hertz)))) + 0.5
        y = _TOP + field.height * (1 - band / len(hertz))
        _tick_left(draw, y, f"{mark:,} Hz" if y < free - 14 else "")
        free = min(free, y) if y < free - 14 else free


def _time_axis(draw: ImageDraw.ImageDraw, field: Image.Image, start: float, seconds: float) -> None:
    bottom = _TOP + field.height
    for time in round_steps(start, start + seconds, 8):
        x = _LEFT + field.width * (time - start) / seconds
        draw.line([(x, bottom), (x, bottom + 5)], fill=_INK)
        draw.text((x, bottom + 8), f"{time:g} s", fill=_INK, font=font(13), anchor="ma")


def _tick_left(draw: ImageDraw.ImageDraw, y: float, text: str) -> None:
    draw.line([(_LEFT - 5, y), (_LEFT, y)], fill=_INK)
    draw.text((_LEFT - 8, y), text, fill=_INK, font=font(13), anchor="rm")


def _colour_scale(sheet: Image.Image, draw: ImageDraw.ImageDraw, field: Image.Image, ends: tuple[float, float], unit: str) -> None:
    low, high = ends
    x = _LEFT + field.width + 16
    ramp = viridis(np.linspace(1, 0, field.height)[:, None].repeat(14, axis=1))
    sheet.paste(Image.fromarray(ramp), (x, _TOP))
    for y, value in ((_TOP, high), (_TOP + field.height / 2, (low + high) / 2), (_TOP + field.height - 1, low)):
        draw.text((x + 20, y), f"{value:.3g}", fill=_INK, font=font(13), anchor="lm")
    draw.text((sheet.width - 8, _TOP / 2), unit, fill=_INK, font=font(13), anchor="rm")


def round_steps(low: float, high: float, most: int) -> Sequence[float]:
    """Round numbers within a range, at most so many: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [round(float(n * step), 9) for n in range(int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9)) + 1)]


def _stretched(count: int, wanted: int) -> int:
    """Pixels for so many frames or bands: a whole number for each, or what is wanted where there are more of them."""
    return count * max(1, round(wanted / count)) if count <= wanted else wanted


def _filter(frames: int, width: int) -> Image.Resampling:
    return Image.Resampling.NEAREST if width >= frames else Image.Resampling.BOX


def font(size: int) -> Any:
    return ImageFont.load_default(size)
