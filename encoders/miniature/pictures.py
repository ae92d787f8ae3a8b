"""A scene as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from encoders.miniature.backdrops import Color, before, behind, jitter, sky
from encoders.miniature.outlines import OUTLINES
from encoders.miniature.scenes import SHAPES, Scene, Thing

PIXELS = 64  # width at which the weights were trained
OVERSAMPLING = 3  # drawn larger and averaged down, for smooth edges

COLORS: Mapping[str, Color] = {
    "red": (214, 38, 38),
    "orange": (242, 133, 25),
    "yellow": (245, 222, 50),
    "green": (40, 160, 60),
    "blue": (40, 80, 215),
    "purple": (135, 45, 170),
    "black": (20, 20, 22),
    "white": (248, 248, 248),
}


@dataclass(frozen=True)
class Spot:
    """Where a thing stands: centre and half of its size, as shares of the picture's width."""

    x: float
    y: float
    radius: float


def picture(scene: Scene, rng: np.random.Generator, pixels: int = PIXELS) -> NDArray[np.uint8]:
    """The scene as seen: uint8 (pixels, pixels, 3), RGB.

    Exposure and grain are random, and so are the exact colours, places and angles. The draws do not depend on colour:
    two scenes that differ in it alone get the same picture but for the paint.
    """
    canvas = sky(scene.weather, rng, pixels).resize((pixels * OVERSAMPLING,) * 2, Image.Resampling.BILINEAR)
    behind(scene.weather, canvas, rng)
    for thing, spot in zip(scene.things, _spots(scene, rng), strict=True):
        _paint(thing, spot, canvas, rng)
    before(scene.weather, canvas, rng)
    return _develop(canvas.resize((pixels, pixels), Image.Resampling.BOX), rng)


def paints(color: str, rng: np.random.Generator) -> dict[str, Color]:
    """Paint by the name that `OUTLINES` uses, for a thing of this colour; details stay visible on black and on white."""
    body = jitter(COLORS[color], rng, 16)
    red, green, blue = body
    return {
        "body": body,
        "shade": (70, 70, 75) if color == "black" else (int(red * 0.55), int(green * 0.55), int(blue * 0.55)),
        "dark": (110, 110, 115) if color == "black" else (25, 25, 25),
        "light": (170, 190, 205) if color == "white" else (235, 240, 245),
        "iris": (240, 220, 80),
        "horn": (235, 150, 40),
        "red": (210, 30, 30),
        "blue": (60, 110, 250),
        "smoke": (215, 215, 220),
    }


def _spots(scene: Scene, rng: np.random.Generator) -> list[Spot]:
    """Random spots that agree with the relation and keep the things apart and, if 60 tries suffice, inside the picture."""
    radii = [_radius(thing, scene, rng) for thing in scene.things]
    if scene.relation is None:
        return [Spot(rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), radii[0])]
    for _ in range(60):
        spots = _pair(scene.relation, radii, rng)
        if all(0.9 * s.radius < place < 1 - 0.9 * s.radius for s in spots for place in (s.x, s.y)):
            break
    return spots


def _radius(thing: Thing, scene: Scene, rng: np.random.Generator) -> float:
    radius = rng.uniform(0.10, 0.125) if thing.size == "small" else rng.uniform(0.19, 0.235)
    return radius * (1.12 if scene.world == "B" else 1) * (1.25 if len(scene.things) == 1 else 1)


def _pair(relation: str, radii: list[float], rng: np.random.Generator) -> list[Spot]:
    half = rng.uniform(max(0.2, sum(radii) / 2 + 0.02), 0.3)  # of the distance between the centres
    across = rng.uniform(-0.13, 0.13)
    x, y = rng.uniform(0.44, 0.56), rng.uniform(0.44, 0.56)
    dx, dy = {"left": (-half, across), "right": (half, across), "above": (across, -half), "below": (across, half)}[relation]
    return [Spot(x + dx, y + dy, radii[0]), Spot(x - dx, y - dy, radii[1])]


def _paint(thing: Thing, spot: Spot, canvas: Image.Image, rng: np.random.Generator) -> None:
    angle = 0.0 if thing.kind == "circle" else rng.uniform(-0.22, 0.22)
    mirror = -1 if rng.random() < 0.5 and thing.kind not in SHAPES else 1
    stretch = rng.uniform(0.92, 1.08)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    palette, draw = paints(thing.color, rng), ImageDraw.Draw(canvas)
    for paint, outline in OUTLINES[thing.kind]:
        points = (outline * (mirror * stretch, 1) @ turn * spot.radius + (spot.x, spot.y)) * canvas.width
        draw.polygon([(x, y) for x, y in points.tolist()], fill=palette[paint])


def _develop(canvas: Image.Image, rng: np.random.Generator) -> NDArray[np.uint8]:
    exposed = np.asarray(canvas, np.float32) * rng.uniform(0.88, 1.1) + rng.uniform(-8, 8)
    grain = rng.normal(0, rng.uniform(1, 6), exposed.shape)
    return (exposed + grain).clip(0, 255).astype(np.uint8)
