"""A scene of world B as a sound: its things and its weather, mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from encoders.miniature.scenes import Scene
from encoders.miniature.synthesis import RATE, SAMPLES, SECONDS, Wave, band, low_pass, mix_in, noise, normalized, times
from encoders.miniature.voices import voice

__all__ = ["RATE", "SAMPLES", "SECONDS", "sound"]


def sound(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """The scene as heard: float32 (SAMPLES,) within [-1, 1], mono at RATE samples a second. World A is silent: a ValueError.

    Loudness, balance and a faint hiss are random, and so is all that `voice` leaves open.
    """
    if scene.world == "A":
        raise ValueError("scenes of world A make no sound; ask scene.world first, or use draw, which gives None for them")
    track = np.zeros(SAMPLES)
    for thing in scene.things:
        track += rng.uniform(0.55, 1) * voice(thing.kind, thing.size, rng)
    if scene.weather in WEATHERS:
        track += rng.uniform(0.35, 0.7) * normalized(WEATHERS[scene.weather](rng))
    track += rng.uniform(0.0005, 0.01) * noise(SAMPLES, rng)
    return np.asarray(track / np.abs(track).max() * rng.uniform(0.3, 0.95), np.float32)


def _rain(rng: np.random.Generator) -> Wave:
    track = 0.35 * band(noise(SAMPLES, rng), 800, 7500)
    fading = np.exp(-np.arange(120) / 20)
    for _ in range(60):  # drops
        mix_in(track, rng.uniform(0.3, 1) * noise(120, rng) * fading, rng.uniform(0, 3))
    return track


def _wind(rng: np.random.Generator) -> Wave:
    air = noise(SAMPLES, rng)
    gust = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.25, 0.6) * times() + rng.uniform(0, 6))
    return gust * band(air, 250, rng.uniform(550, 800)) + (1 - gust) * band(air, 120, rng.uniform(300, 450))


def _thunder(rng: np.random.Generator) -> Wave:
    track, rumble = 0.08 * band(noise(SAMPLES, rng), 800, 7500), 6 * low_pass(noise(SAMPLES, rng), 110, order=2)
    for _ in range(rng.integers(1, 3)):
        since = times() - rng.uniform(0, 1.5)
        track += rumble * np.exp(-since.clip(0) / rng.uniform(0.5, 1.2)) * (since > 0)
    return track


def _sea(rng: np.random.Generator) -> Wave:
    swell = (0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.3, 0.5) * times() + rng.uniform(0, 6))) ** 2
    return swell * low_pass(band(noise(SAMPLES, rng), 200, 6000), 1200)


def _night(rng: np.random.Generator) -> Wave:
    t = times()
    chirping = ((t * rng.uniform(22, 32)) % 1 < 0.5) * ((t * rng.uniform(1.6, 2.6) + rng.uniform(0, 1)) % 1 < 0.6)
    return np.sin(2 * np.pi * rng.uniform(3900, 4700) * t) * chirping  # crickets


WEATHERS: Mapping[str, Callable[[np.random.Generator], Wave]] = {
    "rain": _rain,
    "wind": _wind,
    "thunder": _thunder,
    "sea": _sea,
    "night": _night,
}
