"""What `prepare` costs beside transformers' own processors, which do the same work.

    python -m benchmarks.prepare [--rounds 5]

CPU seconds of one thread, both sides in turn in one process, on the same arrays: pictures as JPEG decoding leaves them, and sounds of the
length that an AST hears. `prepare` leaves pictures as uint8 patches, which are normalised where the model is: "with_pixels" adds that.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from PIL import Image

from benchmarks import material
from encoders import registry
from encoders.media import pictures
from encoders.media.kinds import Limits
from encoders.spec import Encoder

SIZES = [(500, 375), (375, 500), (224, 224), (1280, 960), (1920, 1080), (100, 80)]  # width, height
NARROW = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def main() -> None:
    """Measure and print one JSON object: of transformers' CPU time, how much `prepare` takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        clip, ast = _clip(Path(place) / "clip"), _ast(Path(place) / "ast")
        of_clip = {f"{width}x{height}": _pictures(clip, width, height, rounds) for width, height in SIZES}
        figures = {"machine": material.machine(), "clip_pictures": of_clip, "ast_sounds": _sounds(ast, rounds)}
    print(json.dumps(figures, indent=1))


def _clip(folder: Path) -> Path:
    """CLIP's own preprocessing (224 pixels, patches of 32) on a model that is never run."""
    hf.CLIPModel(hf.CLIPConfig(text_config=NARROW, vision_config={**NARROW, "image_size": 224, "patch_size": 32})).save_pretrained(folder)
    hf.models.clip.CLIPImageProcessorPil().save_pretrained(folder)
    return folder


def _ast(folder: Path) -> Path:
    """AST's own preprocessing (1,024 frames of 128 bands) on a model that is never run."""
    hf.ASTModel(hf.ASTConfig(**NARROW)).save_pretrained(folder)
    hf.ASTFeatureExtractor().save_pretrained(folder)
    return folder


def _pictures(folder: Path, width: int, height: int, rounds: int) -> dict[str, float]:
    encoder: Any = registry.build(registry.describe("clip-image", str(folder)), dtype="float32")
    processor = hf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    some = [_photograph(seed, width, height) for seed in range(20)]
    model = torch.nn.Linear(1, 1)  # tells the number format alone

    def with_pixels(picture: np.ndarray) -> Any:
        return encoder.pixels(torch.from_numpy(encoder.prepare(picture)["patches"][None]), model)

    ways = {"prepare": encoder.prepare, "with_pixels": with_pixels, "transformers": lambda p: processor(p, return_tensors="np")}
    return _ratios(some, ways, rounds)


def _photograph(seed: int, width: int, height: int) -> np.ndarray:
    """A seeded photograph through JPEG, decoded."""
    file = io.BytesIO()
    material._photograph(np.random.default_rng([7, seed])).resize((width, height), Image.Resampling.BICUBIC).save(file, "jpeg", quality=85)
    return pictures.decode(file.getvalue(), Limits())


def _sounds(folder: Path, rounds: int) -> dict[str, float]:
    encoder: Encoder = registry.build(registry.describe("ast", str(folder)), dtype="float32")
    extractor = hf.AutoFeatureExtractor.from_pretrained(folder)
    random = np.random.default_rng(3)
    some = [random.normal(0, 0.2, encoder.spec.preprocessing["window_samples"]).astype(np.float32) for _ in range(5)]
    return _ratios(
        some, {"prepare": encoder.prepare, "transformers": lambda s: extractor(s, sampling_rate=16000, return_tensors="np")}, rounds
    )


def _ratios(some: list[Any], ways: dict[str, Callable[[Any], Any]], rounds: int) -> dict[str, float]:
    """Milliseconds of CPU per medium by transformers, and the share of it that each other way takes: medians over rounds in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            for medium in some:
                way(medium)
            seconds[name].append((time.process_time() - began) / len(some))
    theirs = seconds.pop("transformers")[1:]  # the first round warms up
    shares = {name: statistics.median(a / b for a, b in zip(each[1:], theirs, strict=True)) for name, each in seconds.items()}
    return {"transformers_ms": round(1000 * statistics.median(theirs), 2), **{name: round(share, 3) for name, share in shares.items()}}


if __name__ == "__main__":
    main()
