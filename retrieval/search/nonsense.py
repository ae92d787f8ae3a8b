"""Questions that fit nothing, of each modality: letters, noise pictures and noises that nobody would ask with."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import numpy as np

SIDE = 224  # pixels of a picture
SECONDS = 4.0
_LATIN = "etaoinshrdlucmfwypvbgkjqxz"
_HAN = (0x4E00, 0x9FA5)  # most of these characters hardly anybody writes


def texts(number: int, seed: int = 0, like: Sequence[str] = ()) -> list[str]:
    """Made-up words, rare Chinese characters, and the words of some texts with their letters shuffled."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    words = sorted({word for text in like for word in re.findall(r"[a-z]{4,}", text.lower())})
    kinds = [_made_up, _rare, *([_shuffled] if words else [])]
    return [kinds[place % len(kinds)](rng, words) for place in range(number)]


def pictures(number: int, seed: int = 0) -> list[np.ndarray]:
    """Noise from coarse to fine, stripes, and plain colours: uint8 (224, 224, 3) each."""
    rng = np.random.default_rng(seed)
    return [_PICTURES[place % len(_PICTURES)](rng) for place in range(number)]


def sounds(number: int, rate: int, seed: int = 0) -> list[np.ndarray]:
    """Noises from white to brown, single tones, and clicks: float32 (samples,) each, of 4 seconds."""
    rng = np.random.default_rng(seed)
    return [_SOUNDS[place % len(_SOUNDS)](rng, int(SECONDS * rate), rate) for place in range(number)]


def _made_up(rng: random.Random, words: Sequence[str]) -> str:
    return " ".join("".join(rng.choices(_LATIN, k=rng.randint(3, 9))) for _ in range(rng.randint(1, 6)))


def _rare(rng: random.Random, words: Sequence[str]) -> str:
    return "".join(chr(rng.randint(*_HAN)) for _ in range(rng.randint(2, 12)))


def _shuffled(rng: random.Random, words: Sequence[str]) -> str:
    return " ".join("".join(rng.sample(word, len(word))) for word in rng.choices(words, k=rng.randint(1, 6)))


def _noise(rng: np.random.Generator) -> np.ndarray:
    cells = int(2 ** rng.integers(1, 7))
    coarse = rng.integers(0, 256, (cells, cells, 3))
    return coarse.repeat(-(-SIDE // cells), axis=0).repeat(-(-SIDE // cells), axis=1)[:SIDE, :SIDE].astype(np.uint8)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    wave = np.sin(2 * np.pi * (rng.uniform(-20, 20) * x + rng.uniform(-20, 20) * y))
    pixels: np.ndarray = (127.5 + 127.5 * wave[..., None] * rng.uniform(0.2, 1, 3)).astype(np.uint8)
    return pixels


def _plain(rng: np.random.Generator) -> np.ndarray:
    return np.broadcast_to(rng.integers(0, 256, 3), (SIDE, SIDE, 3)).astype(np.uint8)


def _coloured_noise(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    spectrum = np.fft.rfft(rng.normal(size=samples)) / np.maximum(np.arange(samples // 2 + 1), 1) ** rng.uniform(0, 1)
    return _loud(np.fft.irfft(spectrum, samples), rng)


def _tone(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    return _loud(np.sin(2 * np.pi * rng.uniform(100, rate / 4) * np.arange(samples) / rate), rng)


def _clicks(rng: np.random.Generator, samples: int, rate: int) -> np.ndarray:
    return _loud((rng.random(samples) < rng.uniform(1, 200) / rate) * rng.normal(size=samples) + 1e-6, rng)


def _loud(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    scaled: np.ndarray = (wave / np.abs(wave).max() * rng.uniform(0.05, 0.9)).astype(np.float32)
    return scaled


_PICTURES = (_noise, _noise, _stripes, _plain)
_SOUNDS = (_coloured_noise, _coloured_noise, _tone, _clicks)
