"""The one way from a scene to its picture and its sound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoders.miniature.pictures import PIXELS, picture
from encoders.miniature.scenes import Scene
from encoders.miniature.sounds import sound


def draw(scene: Scene, seed: int, pixels: int = PIXELS) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Picture, uint8 (pixels, pixels, 3), and sound, float32 (49152,) at 16 kHz; None for the sound of silent world A.

    The same scene and seed give the same bytes; picture and sound do not depend on each other's draws.
    """
    return draw_picture(scene, seed, pixels), None if scene.world == "A" else draw_sound(scene, seed)


def draw_picture(scene: Scene, seed: int, pixels: int = PIXELS) -> NDArray[np.uint8]:
    """Only the picture that `draw` would give."""
    return picture(scene, np.random.default_rng([seed, 0]), pixels)


def draw_sound(scene: Scene, seed: int) -> NDArray[np.float32]:
    """Only the sound that `draw` would give; a ValueError for world A."""
    return sound(scene, np.random.default_rng([seed, 1]))
