"""Building blocks of synthesised sounds: all in float64 at `RATE` samples a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # samples a second
SAMPLES = 49_152  # of one scene
SECONDS = SAMPLES / RATE  # 3.072: what the sound tower's 304 frames of 10 ms hold

Wave = NDArray[np.float64]  # (samples,)


def times(seconds: float = SECONDS) -> Wave:
    """Moments of the samples, in seconds from the start."""
    moments: Wave = np.arange(int(seconds * RATE)) / RATE
    return moments


def noise(samples: int, rng: np.random.Generator) -> Wave:
    """White noise of unit variance."""
    return rng.normal(size=samples)


def harmonics(frequency: Wave, amplitudes: Sequence[float]) -> Wave:
    """A tone whose frequency in Hz is given at each sample, with these amplitudes of its partials 1, 2, 3 …"""
    phase = 2 * np.pi * np.cumsum(frequency) / RATE
    tone: Wave = np.sum([a * np.sin((k + 1) * phase) for k, a in enumerate(amplitudes)], axis=0)
    return tone


def envelope(samples: int, attack: float) -> Wave:
    """Rises over `attack` seconds, falls over the last 30 ms."""
    t = np.arange(samples) / RATE
    shape: Wave = np.minimum(1, t / attack) * np.clip((samples / RATE - t) / 0.03, 0, 1)
    return shape


def low_pass(wave: Wave, corner: float, order: int = 1) -> Wave:
    """Without phase shift; a quarter (order 2) or half (order 1) of the amplitude is left at `corner` Hz."""
    frequency = np.fft.rfftfreq(len(wave), 1 / RATE)
    return np.fft.irfft(np.fft.rfft(wave) / (1 + (frequency / corner) ** 2) ** order, len(wave))


def band(wave: Wave, low: float, high: float) -> Wave:
    """Only the frequencies between `low` and `high` Hz, cut sharply."""
    frequency = np.fft.rfftfreq(len(wave), 1 / RATE)
    return np.fft.irfft(np.fft.rfft(wave) * ((frequency > low) & (frequency < high)), len(wave))


def mix_in(track: Wave, wave: Wave, start: float) -> None:
    """Add the wave to the track from `start` seconds on, in place; what passes the track's end is lost."""
    first = int(start * RATE)
    room = max(0, len(track) - first)
    track[first : first + len(wave)] += wave[:room]


def normalized(wave: Wave) -> Wave:
    """The wave scaled to a peak of one; silence stays silence."""
    scaled: Wave = wave / (np.abs(wave).max() + 1e-6)
    return scaled
