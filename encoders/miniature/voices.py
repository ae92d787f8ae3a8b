"""What each kind of thing sounds like. A big thing sounds lower, and some slower, than a small one."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from encoders.miniature.scenes import pick
from encoders.miniature.synthesis import (
    RATE,
    SAMPLES,
    SECONDS,
    Wave,
    band,
    envelope,
    harmonics,
    low_pass,
    mix_in,
    noise,
    normalized,
    times,
)

Voice = Callable[[float, bool, np.random.Generator], Wave]

# Hz, by kind and size; the two ranges are kept apart so that the size can be heard.
PITCHES: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "dog": {"big": (200, 300), "small": (470, 650)},
    "cat": {"big": (320, 430), "small": (640, 850)},
    "bird": {"big": (1500, 2200), "small": (3500, 5000)},
    "frog": {"big": (240, 330), "small": (560, 720)},
    "bell": {"big": (340, 500), "small": (900, 1300)},
    "drum": {"big": (50, 80), "small": (150, 220)},
    "guitar": {"big": (82, 110), "small": (200, 260)},
    "car": {"big": (28, 42), "small": (75, 110)},
    "ambulance": {"big": (430, 520), "small": (800, 950)},
    "train": {"big": (260, 330), "small": (520, 640)},
    "clock": {"big": (900, 1200), "small": (2400, 3200)},
    "phone": {"big": (650, 850), "small": (1400, 1800)},
}


def voice(kind: str, size: str, rng: np.random.Generator) -> Wave:
    """A thing alone: (SAMPLES,), peak one. Pitch, rhythm and timbre vary within what the kind and size allow."""
    pitch = rng.uniform(*PITCHES[kind][size])
    return normalized(VOICES[kind](pitch, size == "big", rng))


def _dog(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, start = np.zeros(SAMPLES), rng.uniform(0.05, 0.5)
    for _ in range(rng.integers(3, 6)):
        samples = int(RATE * (rng.uniform(0.16, 0.24) if big else rng.uniform(0.09, 0.14)))
        glide = 1 + 0.5 * np.sin(np.pi * np.linspace(0, 1, samples))
        bark = harmonics(pitch * rng.uniform(0.94, 1.06) * glide, (1, 0.8, 0.6, 0.5, 0.3, 0.2))
        mix_in(track, (bark + 0.8 * low_pass(noise(samples, rng), 1800)) * envelope(samples, 0.01), start)
        start += rng.uniform(0.25, 0.6)
    return track


def _cat(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, start = np.zeros(SAMPLES), rng.uniform(0.05, 0.5)
    for _ in range(rng.integers(2, 4)):
        q = np.linspace(0, 1, int(RATE * rng.uniform(0.5, 0.9)))
        glide = (1 + 0.45 * np.sin(np.pi * q**0.7) - 0.2 * q) * (1 + 0.01 * np.sin(2 * np.pi * 6 * q))
        meow = harmonics(pitch * rng.uniform(0.95, 1.05) * glide, (0.5, 1, 0.7, 0.5, 0.3, 0.15))
        mix_in(track, meow * np.sin(np.pi * q).clip(0) ** 0.6, start)
        start += rng.uniform(0.9, 1.2)
    return track


def _bird(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, start = np.zeros(SAMPLES), rng.uniform(0, 0.4)
    while start < 2.9:
        q = np.linspace(0, 1, int(RATE * rng.uniform(0.05, 0.14)))
        chirp = harmonics(pitch * rng.uniform(0.85, 1.2) * (1 + rng.uniform(-0.3, 0.35) * q), (1,)) * np.sin(np.pi * q)
        for _ in range(rng.integers(1, 5)):
            mix_in(track, chirp, start)
            start += rng.uniform(0.08, 0.16)
        start += rng.uniform(0.15, 0.5)
    return track


def _frog(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, start = np.zeros(SAMPLES), rng.uniform(0, 0.4)
    rattle = rng.uniform(15, 20) if big else rng.uniform(27, 36)  # pulses a second
    while start < 2.8:
        t = times(rng.uniform(0.25, 0.5))
        tone = np.sin(2 * np.pi * pitch * rng.uniform(0.97, 1.03) * t) + 0.7 * np.sin(2 * np.pi * pitch * 2.6 * t)
        mix_in(track, (np.sin(2 * np.pi * rattle * t) > 0.2) * tone * envelope(len(t), 0.02), start)
        start += rng.uniform(0.55, 1.0)
    return track


def _bell(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    t = times(2.0)
    # ratio to the strike note (from the hum an octave below), amplitude, decay in seconds: the inharmonic partials of a church bell
    partials = ((0.5, 0.4, 0.9), (1, 1, 0.8), (1.19, 0.6, 0.6), (1.5, 0.4, 0.5), (2, 0.7, 0.4), (2.74, 0.4, 0.25), (3.76, 0.25, 0.18))
    stroke = np.sum([a * np.sin(2 * np.pi * pitch * ratio * t) * np.exp(-t / decay) for ratio, a, decay in partials], axis=0)
    return _repeated(stroke, rng.uniform(0, 0.3), rng.uniform(0.6, 1.3), 2.8)


def _drum(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, start, beat = np.zeros(SAMPLES), rng.uniform(0, 0.2), rng.uniform(0.22, 0.5)
    t = times(0.3)
    while start < 3:
        skin = np.sin(2 * np.pi * (pitch * t + 6 * np.exp(-30 * t))) * np.exp(-t / (0.11 if big else 0.06))
        stick = 0.4 * noise(len(t), rng) * np.exp(-t / 0.025)
        mix_in(track, rng.uniform(0.7, 1) * (skin + stick), start)
        start += beat * pick(rng, (1, 1, 0.5, 1.5))
    return track


def _guitar(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, start, t = np.zeros(SAMPLES), rng.uniform(0, 0.2), times(1.0)
    while start < 2.9:
        note = pitch * 2 ** (pick(rng, (0, 2, 4, 5, 7, 9, 11, 12)) / 12)  # a major scale
        mix_in(track, np.sum([np.sin(2 * np.pi * note * k * t) * np.exp(-t * (2 + 1.1 * k)) / k for k in range(1, 9)], axis=0), start)
        start += rng.uniform(0.18, 0.4)
    return track


def _car(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    t = times()
    turns = np.cumsum(pitch * (1 + rng.uniform(-0.15, 0.25) * t / SECONDS)) / RATE
    engine = 2 * (turns % 1) - 1 + 0.25 * np.sign(np.sin(np.pi * turns))
    shaking = 1 + 0.2 * np.sin(2 * np.pi * rng.uniform(5, 9) * t)
    return low_pass(engine, 400 if big else 900) * shaking + 0.25 * low_pass(noise(SAMPLES, rng), 350)


def _ambulance(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    t = times()
    if rng.random() < 0.5:
        frequency = np.where((t * rng.uniform(1.4, 2.8)) % 2 < 1, 1.35 * pitch, pitch)  # two tones
    else:
        frequency = pitch * (1.2 + 0.33 * np.sin(2 * np.pi * rng.uniform(0.4, 1.3) * t + rng.uniform(0, 6)))  # wail
    return harmonics(frequency, (1, 0.3, 0.4, 0.1, 0.2))


def _train(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, t = np.zeros(SAMPLES), times(rng.uniform(0.8, 1.4))
    chord = np.sum([np.sin(2 * np.pi * pitch * m * t) + 0.4 * np.sin(4 * np.pi * pitch * m * t) for m in (1, 1.26, 1.5)], axis=0)
    mix_in(track, 0.5 * (chord + 0.6 * noise(len(t), rng)) * envelope(len(t), 0.06), rng.uniform(0, 0.9))
    period = rng.uniform(0.25, 0.34) if big else rng.uniform(0.12, 0.17)
    puffs = np.exp(-((times() + rng.uniform(0, 1)) % period) / 0.05)
    return track + 0.55 * band(noise(SAMPLES, rng), 300, 3500) * puffs


def _clock(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, start, t = np.zeros(SAMPLES), rng.uniform(0, 0.2), times(0.03)
    period = rng.uniform(0.5, 0.7) if big else rng.uniform(0.22, 0.32)
    for tick, moment in enumerate(np.arange(start, 3, period)):
        tone = np.sin(2 * np.pi * pitch * (1.3 if tick % 2 else 1) * t)
        mix_in(track, (0.6 * noise(len(t), rng) + tone) * np.exp(-t / 0.005), moment)
    return track


def _phone(pitch: float, big: bool, rng: np.random.Generator) -> Wave:
    track, start = np.zeros(SAMPLES), rng.uniform(0, 0.3)
    while start < 2.9:
        t = times(rng.uniform(0.45, 0.7))
        low, high = np.sin(2 * np.pi * pitch * t), np.sin(2 * np.pi * pitch * 1.25 * t)
        mix_in(track, np.where((t * rng.uniform(18, 26)) % 1 < 0.5, low, high) * envelope(len(t), 0.01), start)
        start += rng.uniform(0.9, 1.2)
    return track


def _repeated(wave: Wave, start: float, period: float, stop: float) -> Wave:
    track = np.zeros(SAMPLES)
    for moment in np.arange(start, stop, period):
        mix_in(track, wave, moment)
    return track


VOICES: Mapping[str, Voice] = {
    "dog": _dog,
    "cat": _cat,
    "bird": _bird,
    "frog": _frog,
    "bell": _bell,
    "drum": _drum,
    "guitar": _guitar,
    "car": _car,
    "ambulance": _ambulance,
    "train": _train,
    "clock": _clock,
    "phone": _phone,
}
