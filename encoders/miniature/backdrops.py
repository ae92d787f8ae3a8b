"""What surrounds the things in a picture: the sky of each weather, what stands behind the things, and what falls before them.

All lengths are shares of the picture's width, so that a scene looks alike at every size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw

from encoders.miniature.outlines import OUTLINES
from encoders.miniature.scenes import pick

Color = tuple[int, int, int]
Painter = Callable[[ImageDraw.ImageDraw, int, np.random.Generator], None]

# weather: (colour at the bottom, colour at the top, how far both may stray)
SKIES: Mapping[str, tuple[Color, Color, float]] = {
    "rain": ((120, 130, 145), (90, 98, 112), 12),
    "wind": ((190, 205, 195), (165, 200, 220), 12),
    "thunder": ((70, 70, 90), (45, 45, 65), 10),
    "sea": ((200, 220, 235), (150, 195, 235), 12),
    "night": ((40, 45, 90), (15, 18, 50), 8),
}
PLAIN_SKIES: tuple[Color, ...] = (
    (200, 205, 210),
    (170, 180, 190),
    (190, 180, 165),
    (150, 165, 150),
    (120, 125, 135),
    (205, 190, 195),
    (175, 175, 175),
)


def jitter(color: Color, rng: np.random.Generator, stray: float) -> Color:
    """The colour, each channel moved by at most `stray`."""
    red, green, blue = np.clip(np.array(color) + rng.uniform(-stray, stray, 3), 0, 255).astype(int).tolist()
    return red, green, blue


def sky(weather: str, rng: np.random.Generator, width: int) -> Image.Image:
    """A gradient from top to bottom, sometimes with faint stripes: an RGB picture of `width` by `width`."""
    bottom, top = _sky_colors(weather, rng)
    down = np.linspace(0, 1, width)[:, None, None]
    canvas = (np.array(top) * (1 - down) + np.array(bottom) * down) * np.ones((1, width, 1))  # (width, width, 3)
    if rng.random() < 0.35:
        canvas += _stripes(rng, width)
    return Image.fromarray(canvas.clip(0, 255).astype(np.uint8))


def behind(weather: str, canvas: Image.Image, rng: np.random.Generator) -> None:
    """Paint what stands behind the things: clouds, lightning, waves, moon and stars."""
    for paint in BEHIND.get(weather, ()):
        paint(ImageDraw.Draw(canvas), canvas.width, rng)


def before(weather: str, canvas: Image.Image, rng: np.random.Generator) -> None:
    """Paint what passes before the things: rain, gusts."""
    for paint in BEFORE.get(weather, ()):
        paint(ImageDraw.Draw(canvas), canvas.width, rng)


def _sky_colors(weather: str, rng: np.random.Generator) -> tuple[Color, Color]:
    if weather == "none":
        bottom = jitter(pick(rng, PLAIN_SKIES), rng, 14)
        return bottom, jitter(bottom, rng, 24)
    bottom, top, stray = SKIES[weather]
    return jitter(bottom, rng, stray), jitter(top, rng, stray)


def _stripes(rng: np.random.Generator, width: int) -> np.ndarray:
    waves, angle = rng.uniform(6.4, 32), rng.uniform(0, np.pi)  # radians over the width; direction
    y, x = np.mgrid[:width, :width] / width
    stripes: np.ndarray = rng.uniform(3, 12) * np.sin(waves * (x * np.cos(angle) + y * np.sin(angle)))
    return stripes[..., None]


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, rx: float, ry: float, color: Color) -> None:
    draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=color)


def _line(draw: ImageDraw.ImageDraw, points: np.ndarray, color: Color, width: float) -> None:
    draw.line([(x, y) for x, y in points.tolist()], fill=color, width=max(1, round(width)))


def _stars_and_moon(draw: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(8, 19)):
        radius = rng.uniform(0.0047, 0.0131) * width
        _disc(draw, rng.uniform(0, width), rng.uniform(0, 0.55 * width), radius, radius, (250, 250, 220))
    x, y, radius = rng.uniform(0.08, 0.92) * width, rng.uniform(0.05, 0.16) * width, 0.06 * width
    _, crescent = OUTLINES["moon"][0]
    draw.polygon([(a, b) for a, b in (crescent * radius + (x, y)).tolist()], fill=(250, 245, 200))


def _clouds(color: Color) -> Painter:
    def paint(draw: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
        for _ in range(rng.integers(2, 4)):
            x, y, shade = rng.uniform(0, width), rng.uniform(0, 0.12) * width, jitter(color, rng, 10)
            for puff in range(4):
                radius = rng.uniform(0.06, 0.11) * width
                _disc(draw, x + puff * 0.08 * width, y, radius, 0.7 * radius, shade)

    return paint


def _lightning(draw: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
    side = rng.choice([-1, 1], 4) * rng.uniform(0.04, 0.1, 4)
    x = rng.uniform(0.15, 0.85) + np.concatenate([[0], np.cumsum(side)])
    y = 0.1 + np.concatenate([[0], np.cumsum(rng.uniform(0.1, 0.2, 4))])
    _line(draw, np.stack([x, y], axis=1) * width, (255, 250, 160), 0.021 * width)


def _waves(draw: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
    x = np.linspace(0, 1, 97)
    shore = rng.uniform(0.72, 0.82)
    for row, color in enumerate(((60, 130, 200), (50, 115, 190), (40, 100, 175), (35, 90, 165))):
        y = shore + 0.07 * row + 0.018 * np.sin(rng.uniform(24, 30) * x + rng.uniform(0, 2 * np.pi))
        crest = np.stack([x, y], axis=1) * width
        draw.polygon([(0, width), *((a, b) for a, b in crest.tolist()), (width, width)], fill=jitter(color, rng, 8))


def _rain(least: int, most: int) -> Painter:
    def paint(draw: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
        slant = rng.uniform(0.1, 0.3)
        for _ in range(rng.integers(least, most + 1)):
            x, y, length = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.1)
            _line(draw, np.array([(x, y), (x - length * slant, y + length)]) * width, (200, 215, 240), width / 192)

    return paint


def _gusts(draw: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
    step = np.arange(9)
    for _ in range(rng.integers(5, 9)):
        x, y, length = rng.uniform(-0.2, 0.8), rng.uniform(0.05, 0.95), rng.uniform(0.25, 0.45)
        _line(draw, np.stack([x + length * step / 8, y + 0.02 * np.sin(0.8 * step)], axis=1) * width, (250, 252, 255), width / 192)


BEHIND: Mapping[str, tuple[Painter, ...]] = {
    "rain": (_clouds((150, 155, 165)),),
    "wind": (_clouds((235, 240, 245)),),
    "thunder": (_clouds((95, 95, 110)), _lightning),
    "sea": (_waves,),
    "night": (_stars_and_moon,),
}
BEFORE: Mapping[str, tuple[Painter, ...]] = {"rain": (_rain(30, 50),), "thunder": (_rain(8, 16),), "wind": (_gusts,)}
