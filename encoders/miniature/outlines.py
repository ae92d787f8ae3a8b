"""How each kind of thing looks: polygons in a unit frame (x to the right, y down, the thing about 2 wide), painted from back to front."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (corners, 2)
Part = tuple[str, Points]  # name of the paint, see pictures.paints


def _points(*corners: tuple[float, float]) -> Points:
    return np.array(corners, dtype=np.float64)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return _points((left, top), (right, top), (right, bottom), (left, bottom))


def _arc(x: float, y: float, rx: float, ry: float, corners: int = 28, start: float = 0.0, stop: float = 2.0) -> Points:
    """Part of an ellipse, angles in units of pi, clockwise from the right."""
    angle = np.pi * np.linspace(start, stop, corners + 1)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


def _star() -> Points:
    angle, radius = np.pi * np.arange(10) / 5, np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)


def _heart() -> Points:
    t = 2 * np.pi * np.arange(40) / 40
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return 0.062 * np.stack([16 * np.sin(t) ** 3, -y], axis=1)


def _ring() -> Points:
    return np.concatenate([_arc(0, 0, 1, 1, 36), _arc(0, 0, 0.55, 0.55, 36)[::-1]])


def _moon() -> Points:
    return np.concatenate([_arc(0, 0, 1, 1, 24, 0.32, 1.68), _arc(0.42, 0, 0.84, 0.84, 24, 1.62, 0.38)])


def _handset() -> Points:
    grip = _points((0.95, -0.1), (0.6, -0.1), (0.55, -0.32), (-0.55, -0.32), (-0.6, -0.1), (-0.95, -0.1))
    return np.concatenate([_arc(0, -0.35, 0.95, 0.3, 20, 1.0, 2.0), grip])


SHAPES: dict[str, tuple[Part, ...]] = {
    "circle": (("body", _arc(0, 0, 1, 1)),),
    "square": (("body", _box(-0.88, -0.88, 0.88, 0.88)),),
    "triangle": (("body", _points((0, -1), (1, 0.8), (-1, 0.8))),),
    "star": (("body", _star()),),
    "heart": (("body", _heart()),),
    "cross": (("body", _box(-0.33, -1, 0.33, 1)), ("body", _box(-1, -0.33, 1, 0.33))),
    "ring": (("body", _ring()),),
    "moon": (("body", _moon()),),
}

ANIMALS: dict[str, tuple[Part, ...]] = {
    "dog": (
        ("body", _arc(-0.1, 0.25, 0.62, 0.34)),
        ("body", _arc(0.55, -0.3, 0.36, 0.3)),  # head
        ("body", _box(0.7, -0.35, 1.05, -0.1)),  # muzzle
        ("shade", _arc(0.3, -0.25, 0.14, 0.32)),  # ear
        ("body", _box(-0.6, 0.4, -0.42, 1)),
        ("body", _box(0.25, 0.4, 0.43, 1)),
        ("body", _points((-0.65, 0.1), (-1, -0.45), (-0.85, -0.5), (-0.5, 0.1))),  # tail
        ("dark", _arc(1.02, -0.3, 0.09, 0.08)),
        ("dark", _arc(0.6, -0.38, 0.06, 0.06)),
    ),
    "cat": (
        ("body", _arc(0, 0.1, 0.75, 0.66)),
        ("body", _points((-0.72, -0.1), (-0.7, -1), (-0.15, -0.45))),  # ears
        ("body", _points((0.72, -0.1), (0.7, -1), (0.15, -0.45))),
        ("iris", _arc(-0.3, 0, 0.16, 0.14)),
        ("iris", _arc(0.3, 0, 0.16, 0.14)),
        ("dark", _arc(-0.3, 0, 0.05, 0.13)),
        ("dark", _arc(0.3, 0, 0.05, 0.13)),
        ("dark", _points((-0.1, 0.25), (0.1, 0.25), (0, 0.38))),  # nose
        ("shade", _box(-1, 0.3, -0.35, 0.34)),  # whiskers
        ("shade", _box(0.35, 0.3, 1, 0.34)),
        ("shade", _box(-1, 0.45, -0.35, 0.49)),
        ("shade", _box(0.35, 0.45, 1, 0.49)),
    ),
    "bird": (
        ("body", _arc(0, 0.1, 0.6, 0.42)),
        ("body", _arc(0.55, -0.35, 0.3, 0.28)),  # head
        ("horn", _points((0.8, -0.45), (1.15, -0.3), (0.8, -0.22))),
        ("shade", _points((-0.35, 0), (0.25, 0), (-0.3, -0.7))),  # wing
        ("body", _points((-0.5, 0.05), (-1.1, -0.15), (-1.0, 0.35))),  # tail
        ("dark", _arc(0.6, -0.4, 0.06, 0.06)),
        ("horn", _box(-0.1, 0.5, -0.03, 0.95)),
        ("horn", _box(0.12, 0.5, 0.19, 0.95)),
    ),
    "frog": (
        ("body", _arc(0, 0.3, 0.85, 0.5)),
        ("body", _arc(-0.42, -0.25, 0.28, 0.28)),
        ("body", _arc(0.42, -0.25, 0.28, 0.28)),
        ("light", _arc(-0.42, -0.28, 0.18, 0.18)),
        ("light", _arc(0.42, -0.28, 0.18, 0.18)),
        ("dark", _arc(-0.42, -0.28, 0.09, 0.09)),
        ("dark", _arc(0.42, -0.28, 0.09, 0.09)),
        ("dark", _arc(0, 0.3, 0.5, 0.07)),  # mouth
        ("shade", _arc(-0.75, 0.75, 0.34, 0.16)),
        ("shade", _arc(0.75, 0.75, 0.34, 0.16)),
    ),
}

INSTRUMENTS: dict[str, tuple[Part, ...]] = {
    "bell": (
        ("body", _points((-0.18, -0.85), (0.18, -0.85), (0.45, -0.5), (0.55, 0.2), (0.9, 0.6), (-0.9, 0.6), (-0.55, 0.2), (-0.45, -0.5))),
        ("shade", _box(-0.95, 0.55, 0.95, 0.7)),
        ("shade", _arc(0, 0.82, 0.17, 0.17)),
        ("shade", _arc(0, -0.92, 0.14, 0.14)),
    ),
    "drum": (
        ("body", _box(-0.8, -0.2, 0.8, 0.65)),
        ("body", _arc(0, 0.65, 0.8, 0.28)),
        ("light", _arc(0, -0.2, 0.8, 0.28)),
        ("shade", _points((-0.8, -0.1), (-0.4, 0.85), (-0.34, 0.85), (-0.74, -0.1))),  # cords
        ("shade", _points((0, 0.05), (-0.4, 0.85), (-0.34, 0.85), (0.06, 0.05))),
        ("shade", _points((0, 0.05), (0.4, 0.85), (0.34, 0.85), (-0.06, 0.05))),
        ("shade", _points((0.8, -0.1), (0.4, 0.85), (0.34, 0.85), (0.74, -0.1))),
        ("dark", _points((-0.9, -1), (-0.82, -1.05), (-0.1, -0.3), (-0.18, -0.24))),  # sticks
        ("dark", _points((0.9, -1), (0.82, -1.05), (0.1, -0.3), (0.18, -0.24))),
    ),
    "guitar": (
        ("body", _arc(-0.45, 0.5, 0.52, 0.45)),
        ("body", _arc(-0.1, 0.12, 0.36, 0.34)),
        ("dark", _arc(-0.25, 0.28, 0.16, 0.16)),
        ("shade", _points((-0.02, -0.12), (0.12, 0.04), (0.95, -0.82), (0.82, -0.96))),  # neck
        ("shade", _points((0.78, -1.0), (1.02, -0.76), (1.12, -0.95), (0.95, -1.12))),
    ),
}

VEHICLES: dict[str, tuple[Part, ...]] = {
    "car": (
        ("body", _box(-1, 0, 1, 0.5)),
        ("body", _points((-0.65, 0), (-0.4, -0.5), (0.4, -0.5), (0.7, 0))),
        ("light", _points((-0.5, -0.02), (-0.33, -0.4), (-0.05, -0.4), (-0.05, -0.02))),  # windows
        ("light", _points((0.05, -0.02), (0.05, -0.4), (0.35, -0.4), (0.55, -0.02))),
        ("dark", _arc(-0.55, 0.5, 0.26, 0.26)),
        ("dark", _arc(0.55, 0.5, 0.26, 0.26)),
        ("light", _arc(-0.55, 0.5, 0.1, 0.1)),
        ("light", _arc(0.55, 0.5, 0.1, 0.1)),
    ),
    "ambulance": (
        ("body", _box(-1, -0.6, 0.45, 0.5)),
        ("body", _points((0.45, -0.35), (0.75, -0.35), (1, 0.05), (1, 0.5), (0.45, 0.5))),
        ("light", _points((0.52, -0.25), (0.7, -0.25), (0.88, 0.05), (0.52, 0.05))),
        ("light", _box(-0.72, -0.45, 0.0, 0.3)),
        ("red", _box(-0.44, -0.4, -0.28, 0.25)),
        ("red", _box(-0.68, -0.16, -0.04, 0.0)),
        ("blue", _arc(-0.2, -0.68, 0.22, 0.16)),
        ("dark", _arc(-0.55, 0.55, 0.24, 0.24)),
        ("dark", _arc(0.6, 0.55, 0.24, 0.24)),
    ),
    "train": (
        ("body", _box(-0.95, -0.1, 0.5, 0.5)),
        ("body", _box(0.35, -0.75, 1, 0.5)),
        ("light", _box(0.5, -0.6, 0.85, -0.2)),
        ("shade", _box(-0.8, -0.65, -0.5, -0.1)),  # funnel
        ("shade", _box(-0.9, -0.75, -0.4, -0.6)),
        ("dark", _arc(-0.65, 0.62, 0.24, 0.24)),
        ("dark", _arc(-0.1, 0.62, 0.24, 0.24)),
        ("dark", _arc(0.65, 0.6, 0.3, 0.3)),
        ("shade", _points((-0.95, 0.5), (-1.2, 0.8), (-0.9, 0.8))),
        ("smoke", _arc(-0.55, -0.98, 0.2, 0.14)),
        ("smoke", _arc(-0.25, -1.1, 0.15, 0.11)),
    ),
}

DEVICES: dict[str, tuple[Part, ...]] = {
    "clock": (
        ("body", _arc(0, 0, 0.95, 0.95)),
        ("light", _arc(0, 0, 0.72, 0.72)),
        ("dark", _box(-0.05, -0.58, 0.05, 0.05)),  # hands
        ("dark", _points((0, -0.06), (0.42, 0.2), (0.38, 0.28), (-0.02, 0.06))),
        ("shade", _box(-0.03, -0.7, 0.03, -0.62)),  # marks of the quarters
        ("shade", _box(-0.03, 0.62, 0.03, 0.7)),
        ("shade", _box(-0.7, -0.03, -0.62, 0.03)),
        ("shade", _box(0.62, -0.03, 0.7, 0.03)),
        ("shade", _arc(-0.62, -0.88, 0.22, 0.16)),
        ("shade", _arc(0.62, -0.88, 0.22, 0.16)),
    ),
    "phone": (
        ("body", _points((-0.75, 0.75), (-0.55, 0), (0.55, 0), (0.75, 0.75))),
        ("light", _arc(0, 0.38, 0.27, 0.27)),  # dial
        ("shade", _arc(0, 0.38, 0.1, 0.1)),
        ("shade", _handset()),
    ),
}

OUTLINES: Mapping[str, tuple[Part, ...]] = SHAPES | ANIMALS | INSTRUMENTS | VEHICLES | DEVICES
