"""What the benchmarks work on: seeded pictures, sounds, texts and a ViT-Ti/32-sized encoder, made once in a folder of their own."""

from __future__ import annotations

import os
import platform
import wave
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 500, 375


def machine() -> str:
    """The processor and its cores, for the record."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
    flags = next((line for line in lines if line.startswith("flags")), "")
    wide = " with AVX512-BF16" if "avx512_bf16" in flags else ""
    return f"{len(os.sched_getaffinity(0))} cores of {model}{wide}"


def photographs(folder: Path, count: int, seed: int = 1) -> Path:
    """`count` JPEGs of 500 x 375, about 45 kB each, all different: smooth random fields with fine noise, as photographs compress."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"photo-{number:06d}.jpg"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            _photograph(np.random.default_rng([seed, number])).save(path, quality=85)
    return folder


def _photograph(random: np.random.Generator) -> Image.Image:
    coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    grain = random.normal(0, 6, (HEIGHT, WIDTH, 1))
    return Image.fromarray((np.asarray(coarse, np.float32) + grain).clip(0, 255).astype(np.uint8))


def small_texts(folder: Path, count: int) -> Path:
    """`count` tiny texts, all different: for runs in which nothing is read."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number // 1000:03d}" / f"note-{number:06d}.txt"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"a big red dog number {number}")
    return folder


def long_sound(path: Path, hours: float, rate: int = 16_000, seed: int = 2) -> Path:
    """A mono WAV of noise, written at most a minute at a time."""
    random = np.random.default_rng(seed)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        left = round(hours * 3600 * rate)
        while left > 0:
            file.writeframes(random.integers(-8000, 8000, min(left, 60 * rate)).astype("<i2").tobytes())
            left -= 60 * rate
    return path


def long_text(path: Path, size: int, seed: int = 3) -> Path:
    """A text of at least `size` bytes, in sentences of the miniature's words."""
    random = np.random.default_rng(seed)
    words = np.array(
        ["a", "the", "big", "small", "red", "blue", "dog", "cat", "train", "bell", "rings", "barks", "in", "rain", "night", "sea"]
    )
    with path.open("w") as file:
        while file.tell() < size:
            lines = (" ".join(random.choice(words, 12)) + ".\n" for _ in range(16))
            file.writelines(lines)
    return path


def vit_tiny(folder: Path) -> Path:
    """A space of one ViT-Ti/32-sized picture encoder (192 wide, 12 layers, 3 heads, patches of 32, 224 x 224), seeded random weights."""
    space = folder / "vit-tiny.toml"
    weights = folder / "vit-tiny"
    if not (weights / "model.safetensors").exists():
        import torch
        from transformers import ViTConfig, ViTImageProcessor, ViTModel

        torch.manual_seed(0)
        config = ViTConfig(
            hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768, patch_size=32, image_size=224
        )
        ViTModel(config, add_pooling_layer=False).save_pretrained(weights)
        ViTImageProcessor(size={"height": 224, "width": 224}).save_pretrained(weights)
    space.write_text('name = "vit-tiny"\n\n[image]\nencoder = "vit"\nweights = "vit-tiny"\n')
    return space
