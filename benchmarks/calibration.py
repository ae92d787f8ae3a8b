"""The modality gap of a space that knows the miniature's world, and what remedies do to mixed lists: `python -m benchmarks.calibration`."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

import numpy as np

from encoders import registry
from encoders.align import calibration
from encoders.align.frozen import FrozenVectors
from encoders.miniature import captions, draw, scenes
from encoders.spaces import load_space
from encoders.spec import Encoder, Space
from encoders.stacking import encoded


def main() -> None:
    """Print a row for each remedy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="miniature")
    parser.add_argument("--scenes", type=int, default=600, help="on which remedies are judged; half as many others they are made from")
    asked = parser.parse_args()
    space = load_space(asked.space)
    choice = calibration.choose(drawn(space, 8, asked.scenes), drawn(space, 7, asked.scenes // 2))
    columns = ("remedy", "recall@1", "recall@10", "texts of a text's first ten", "recall@1 in lists of one modality", "gap")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for name, found in choice.figures.items():
        told = (found["mixed recall@1"], found["mixed recall@10"], found["top ten"]["text"]["text"], found["alone recall@1"], found["gap"])
        print(f"| {name}{' (chosen)' if name == choice.calibration.name else ''} | {' | '.join(f'{value:.3f}' for value in told)} |")


def drawn(space: Space, seed: int, count: int) -> FrozenVectors:
    """Scenes of which two thirds can be heard, with a caption in each language."""
    rng = np.random.default_rng(seed)
    some = [scenes.sample(rng, "B" if number % 3 else "A", None) for number in range(count)]
    heard = np.array([number for number, scene in enumerate(some) if scene.world == "B"])
    seeds = [seed * 10**6 + number for number in range(count)]
    texts = [captions.full_caption(scene, language, rng) for language in captions.LANGUAGES for scene in some]
    sounds = np.full(count, -1)
    sounds[heard] = np.arange(len(heard))
    encoders = {modality: registry.build(spec, dtype="float32") for modality, spec in space.encoders.items()}
    vectors = {
        "text": vectors_of(encoders["text"], texts),
        "image": vectors_of(encoders["image"], (draw.draw_picture(scene, seeds[number]) for number, scene in enumerate(some))),
        "audio": vectors_of(encoders["audio"], (draw.draw_sound(some[number], seeds[number]) for number in heard)),
    }
    return FrozenVectors(vectors, {"text": np.arange(2 * count), "image": np.tile(np.arange(count), 2), "audio": np.tile(sounds, 2)})


def vectors_of(encoder: Encoder, media: Iterable[Any]) -> np.ndarray:
    """Vectors (n, d) of media."""
    return encoded(encoder, [encoder.prepare(medium) for medium in media])


if __name__ == "__main__":
    main()
