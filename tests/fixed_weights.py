"""Checkpoints and media that are the same for ever, for vectors that are written down: no generator of torch, no resizing, no sampling."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from encoders.spec import Spec

TEXTS = ["a", "dog", "a red dog", "a small bird, sea", "雨", "一只红狗", "hallo wine 42", "river water money", "two  hands", "🙂 sings"]


def fix_weights(folder: Path) -> None:
    """Replace every weight below a folder by numbers that depend on its name and shape alone.

    RandomState's stream is frozen (NEP 19), unlike that of `default_rng` or of torch.
    """
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            about = file.metadata()
        save_file({name: np.asarray(_fixed(name, old)) for name, old in tensors.items()}, path, about)


def _fixed(name: str, old: np.ndarray) -> np.ndarray:
    if old.dtype.kind != "f":
        return old
    numbers = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(old.shape)
    if name.endswith("running_var"):
        return (0.5 + np.abs(numbers)).astype(old.dtype)
    if old.ndim < 2:  # a bias, or the scale of a normalisation, which is near one
        return (0.1 * numbers + (1.0 if name.endswith(("weight", "alpha", "gamma", "lambda1")) else 0.0)).astype(old.dtype)
    if "embedding" in name or "position" in name or "token" in name:
        return (0.5 * numbers).astype(old.dtype)
    return (1.5 * numbers / np.sqrt(np.prod(old.shape[1:]))).astype(old.dtype)


def media(spec: Spec) -> list[Any]:
    """Ten media of an encoder's modality, of odd sizes where it takes them."""
    how = spec.preprocessing
    match spec.modality:
        case "text":
            return list(TEXTS)
        case "image":
            return [_picture(number, 31 + 13 * number, 97 - 5 * number) for number in range(10)]
        case "audio":
            return [_sound(number, how["window_samples"] * (10 - number) // 10, how["sampling_rate"]) for number in range(10)]
        case _:
            return [
                np.stack([_picture(10 * number + 3 * frame, 40 + 7 * number, 65 - 3 * number) for frame in range(how["clip_frames"])])
                for number in range(10)
            ]


def _picture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth waves, another direction and colour for each seed."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(2 * np.pi * ((1 + (seed + c) % 4) * x / width + (1 + (seed * (c + 1)) % 3) * y / height) + c + seed) for c in range(3)]
    return np.stack([np.round(127.5 + (90 + 10 * c) * wave) for c, wave in enumerate(waves)], axis=-1).astype(np.uint8)


def _sound(seed: int, samples: int, rate: int) -> np.ndarray:
    """Two tones, one of which swells."""
    time = np.arange(max(samples, 1)) / rate
    tones = np.sin(2 * np.pi * (150 + 170 * seed) * time) + np.sin(2 * np.pi * (900 + 311 * seed) * time) * (
        time / time.max() if samples > 1 else 1
    )
    return (0.35 * tones).astype(np.float32)
