"""How far two strangers' spaces are joined by captions alone: a sound's picture found before, after, and with true pairs as the ceiling.

    python -m benchmarks.bridge [--features towers|patches] [--json]

All of the miniature's world, English, world B. Space A (128 numbers) learns 4,000 pictures with four captions each, of what can be seen;
space B (96 numbers) learns 4,000 sounds of other scenes with four captions each, of what can be heard; each by heads of its own on
features of its own, from its own seed. The bridge sees 20,000 captions of still other scenes, and as memories the 4,000 pictures and the
4,000 sounds, which were never paired. The test: 500 further scenes that sound different from each other, combinations that training never
saw among them; for each sound its picture among 500, and back. The ceiling: the same maps learned from the pictures and sounds of 2,000
scenes that are true pairs.

Features of texts are hashed words and pairs of words (A) or hashed pieces of words (B). Features of pictures and sounds:

towers : states of the shipped towers before their projections. Their coordinates are strangers, but the towers were once trained together,
    on what both can tell.
patches : nothing was ever trained on pairs: a dictionary of whitened patches by k-means (Coates, Ng, Lee 2011, "An Analysis of
    Single-Layer Networks in Unsupervised Feature Learning"), pooled over a grid, and principal components.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

import argparse
import json
import tempfile
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from encoders.align import bridge, towers
from encoders.align.bridge import How, Side
from encoders.align.frozen import FrozenVectors, OnVectors
from encoders.align.heads import Head
from encoders.align.objective import Objective
from encoders.align.training import Options, train
from encoders.align.unit import unit
from encoders.miniature import captions, scenes
from encoders.miniature.draw import draw_picture, draw_sound
from encoders.miniature.scenes import Scene
from encoders.spaces import load_space
from encoders.spec import Modality
from retrieval import ranking

LEARNED, PAIRED, TESTED, CAPTIONS, TOLD = 4_000, 2_000, 500, 20_000, 4
HASHED, WORDS, STATES = 512, 300, 512
BATCH = 64

Features = Mapping[str, np.ndarray]
"""Unit vectors of pictures ("learned picture", "paired picture", "tested picture") and of sounds."""


def main() -> None:
    """Measure and print one table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", choices=sorted(FEATURES), default="towers")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    began = time.process_time()
    told = measure(asked.features)
    told["cpu_seconds"] = round(time.process_time() - began)
    print(json.dumps(told) if asked.json else table(told))


def measure(kind: str) -> dict[str, Any]:
    """Train both spaces, bridge them in every way, and rank."""
    rng = np.random.default_rng(5)
    world = {
        "A": [scenes.sample(rng, "B") for _ in range(LEARNED)],
        "B": [scenes.sample(rng, "B") for _ in range(LEARNED)],
        "paired": [scenes.sample(rng, "B") for _ in range(PAIRED)],
        "tested": unlike(rng, TESTED),
    }
    pictures, sounds = FEATURES[kind](world)
    a = learned(1, 128, "image", pictures["A"], world["A"], captions.seen_caption, words)
    b = learned(2, 96, "audio", sounds["B"], world["B"], captions.heard_caption, pieces)
    vectors = {f"{name} picture": on(a["image"], rows) for name, rows in pictures.items()}
    vectors |= {f"{name} sound": on(b["audio"], rows) for name, rows in sounds.items()}
    told = {
        "features": kind,
        "text>picture in A": ranked(on(a["text"], words(told_of(world["tested"], captions.seen_caption))), vectors["tested picture"]),
        "text>sound in B": ranked(on(b["text"], pieces(told_of(world["tested"], captions.heard_caption))), vectors["tested sound"]),
    }
    texts = shared_captions(np.random.default_rng(99))
    alone = Side(on(a["text"], words(texts))), Side(on(b["text"], pieces(texts)))
    memory = Side(alone[0].captions, vectors["A picture"]), Side(alone[1].captions, vectors["B sound"])
    pairs = Side(vectors["paired picture"]), Side(vectors["paired sound"])
    rows = {"before": judged(vectors["tested picture"], np.pad(vectors["tested sound"], ((0, 0), (0, 128 - 96))))}
    for name, sides, how in WAYS(alone, memory, pairs):
        began = time.process_time()
        head = bridge.build(*sides, how)
        seconds = time.process_time() - began
        rows[name] = {**judged(vectors["tested picture"], on(head, vectors["tested sound"])), "seconds": round(seconds, 2)}
    return {**told, "bridges": rows}


Sides = tuple[Side, Side]


def WAYS(alone: Sides, memory: Sides, pairs: Sides) -> list[tuple[str, Sides, How]]:  # noqa: N802 - a table that needs what is measured
    """Every bridge: what it is called, what it sees, and how it is built."""
    return [
        ("procrustes, captions alone", alone, How("procrustes")),
        ("ridge, captions alone", alone, How("ridge")),
        ("projector, captions alone, no noise", alone, How("mlp", noise=0)),
        ("projector, captions alone", alone, How("mlp")),
        ("procrustes, memories", memory, How("procrustes")),
        ("ridge, memories", memory, How("ridge")),
        ("projector, memories, no noise", memory, How("mlp", noise=0, intra=0)),
        ("projector, memories, no intra loss", memory, How("mlp", intra=0)),
        ("projector, memories (C-MCR)", memory, How("mlp")),
        ("ceiling: ridge on true pairs", pairs, How("ridge", ridge=0.1)),
        ("ceiling: projector on true pairs", pairs, How("mlp")),
    ]


def unlike(rng: np.random.Generator, count: int) -> list[Scene]:
    """Scenes of any combination, no two of which sound alike."""
    found: dict[Any, Scene] = {}
    while len(found) < count:
        scene = scenes.sample(rng, "B", held=None)
        found.setdefault(scenes.audible_key(scene), scene)
    return list(found.values())


def told_of(some: Sequence[Scene], caption: Callable[..., str], seed: int = 77) -> list[str]:
    """One caption of each scene."""
    rng = np.random.default_rng(seed)
    return [caption(scene, "en", rng) for scene in some]


def shared_captions(rng: np.random.Generator) -> list[str]:
    """Captions of scenes that nobody drew: a third each of a part, of all that is heard, and of all."""
    kinds = (captions.varied_caption, captions.heard_caption, captions.full_caption)
    return [kinds[number % 3](scenes.sample(rng, "B"), "en", rng) for number in range(CAPTIONS)]


def learned(
    seed: int,
    dimension: int,
    modality: Modality,
    features: np.ndarray,
    some: Sequence[Scene],
    caption: Callable[..., str],
    hashed: Callable[[Sequence[str]], np.ndarray],
) -> dict[Modality, Head]:
    """A space of its own: heads for texts and for one other modality."""
    rng = np.random.default_rng(seed)
    texts = [(caption, captions.varied_caption)[number % 2](scene, "en", rng) for scene in some for number in range(TOLD)]
    different = sorted(set(texts))
    places = {text: row for row, text in enumerate(different)}
    ids: dict[Modality, np.ndarray] = {
        "text": np.array([places[text] for text in texts]),
        modality: np.repeat(np.arange(len(some)), TOLD),
    }
    torch.manual_seed(seed)
    heads: dict[Modality, Head] = {"text": Head("mlp", HASHED, dimension, 512), modality: Head("mlp", features.shape[1], dimension, 512)}
    with tempfile.TemporaryDirectory() as folder:
        train(
            {name: OnVectors(head) for name, head in heads.items()},
            Objective(),
            FrozenVectors({"text": hashed(different), modality: features}, ids),
            Options(batch=384, steps=500, seed=seed),
            folder=Path(folder),
        )
    return heads


def words(texts: Sequence[str]) -> np.ndarray:
    """Hashed words and pairs of words, unit vectors (n, 512)."""
    return _hashed([[*(split := text.split()), *map(" ".join, pairwise(split))] for text in texts], "a")


def pieces(texts: Sequence[str]) -> np.ndarray:
    """Hashed pieces of three to five characters, unit vectors (n, 512)."""
    return _hashed([[f" {text} "[i : i + n] for n in (3, 4, 5) for i in range(len(text) + 3 - n)] for text in texts], "b")


def of_towers(world: Mapping[str, Sequence[Scene]]) -> tuple[Features, Features]:
    """States of the shipped towers' last layers, of the class token beside the mean of all others."""
    space = load_space("miniature")
    image, audio = (towers.tower(space.encoders[modality].base) for modality in ("image", "audio"))

    def seen(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        pixels = image.encoder.pixels(inputs["patches"], image.model)  # type: ignore[attr-defined]
        states = image.model.vision_model(pixel_values=pixels).last_hidden_state
        return torch.cat([states[:, 0], states[:, 1:].mean(1)], 1)

    def heard(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        states = audio.model(input_values=inputs["mel_patches"]).last_hidden_state
        return torch.cat([states[:, 0], states[:, 2:].mean(1)], 1)

    def states(tower: towers.Tower, draw: Callable[[Scene, int], np.ndarray], of: Callable[..., torch.Tensor], name: str) -> np.ndarray:
        parts = []
        for first in range(0, len(world[name]), BATCH):
            some = _drawn(draw, world[name][first : first + BATCH], name, first)
            with torch.no_grad():
                parts.append(of(tower.stacked([tower.encoder.prepare(medium) for medium in some])).numpy())
        return unit(np.concatenate(parts)).astype(np.float32)

    return (
        {name: states(image, draw_picture, seen, name) for name in ("A", "paired", "tested")},
        {name: states(audio, draw_sound, heard, name) for name in ("B", "paired", "tested")},
    )


def of_patches(world: Mapping[str, Sequence[Scene]]) -> tuple[Features, Features]:
    """Pooled answers of a dictionary of patches, as principal components."""
    mel = towers.tower(load_space("miniature").encoders["audio"].base).encoder  # cuts a spectrogram into patches, 4 rows of 19

    def seen(name: str) -> np.ndarray:
        raw = np.stack(_drawn(draw_picture, world[name], name, 0))
        cut = np.lib.stride_tricks.sliding_window_view(raw, (8, 8), axis=(1, 2))[:, ::4, ::4]  # (n, 15, 15, 3, 8, 8)
        return cut.reshape(len(raw), 15, 15, -1)

    def heard(name: str) -> np.ndarray:
        found = [mel.prepare(sound)["mel_patches"].astype(np.float16) for sound in _drawn(draw_sound, world[name], name, 0)]
        return np.stack(found).reshape(len(found), 4, 19, -1)

    grid = [(slice(5 * row, 5 * row + 5), slice(5 * column, 5 * column + 5)) for row in range(3) for column in range(3)]
    bands = [(slice(band, band + 1), slice(None)) for band in range(4)]
    return _pooled(seen, ("A", "paired", "tested"), grid), _pooled(heard, ("B", "paired", "tested"), bands)


FEATURES = {"towers": of_towers, "patches": of_patches}


def _drawn(draw: Callable[[Scene, int], np.ndarray], some: Sequence[Scene], name: str, first: int) -> list[np.ndarray]:
    begin = zlib.crc32(name.encode())
    return [draw(scene, begin + first + number) for number, scene in enumerate(some)]


def _pooled(cut: Callable[[str], np.ndarray], names: tuple[str, ...], cells: Sequence[tuple[slice, slice]]) -> Features:
    rng = np.random.default_rng(0)
    found: dict[str, np.ndarray] = {}
    for name in names:
        patches = cut(name)
        if not found:
            flat = patches[:500].reshape(-1, patches.shape[-1])
            dictionary = _dictionary(flat[rng.permutation(len(flat))[:20_000]].astype(np.float32), rng)
        parts = []
        for first in range(0, len(patches), 200):
            some = patches[first : first + 200].astype(np.float32)
            answers = np.maximum(_whitened(some.reshape(-1, some.shape[-1]), dictionary) @ dictionary[2].T - 0.1, 0)
            answers = answers.reshape(*some.shape[:3], -1)
            inside = [answers[:, *cell] for cell in cells]
            parts.append(np.concatenate([pool for cell in inside for pool in (cell.mean((1, 2)), cell.max((1, 2)))], 1))
        found[name] = np.concatenate(parts)
    first = found[names[0]][:3000]
    mean = first.mean(0)
    _, lengths, components = np.linalg.svd(first - mean, full_matrices=False)
    scaled = components[:STATES].T / (lengths[:STATES] + 1e-3 * lengths[0])
    return {name: unit((rows - mean) @ scaled).astype(np.float32) for name, rows in found.items()}


Dictionary = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Mean of patches, whitening matrix, and unit words (WORDS, d)."""


def _dictionary(patches: np.ndarray, rng: np.random.Generator) -> Dictionary:
    mean = patches.mean(0)
    values, axes = np.linalg.eigh(np.cov((patches - mean).T))
    made = (mean, axes @ np.diag(1 / np.sqrt(values + 0.1 * values.mean())) @ axes.T, np.empty(0))
    white = _whitened(patches, made)
    dictionary = white[rng.permutation(len(white))[:WORDS]]
    for _ in range(8):  # k-means on the sphere
        cosines = white @ dictionary.T
        nearest = cosines.argmax(1)
        sums = np.zeros_like(dictionary)
        np.add.at(sums, nearest, white * cosines[np.arange(len(white)), nearest][:, None])
        dictionary = np.where(np.linalg.norm(sums, axis=1, keepdims=True) > 1e-6, unit(sums), dictionary)
    return made[0], made[1], dictionary


def _whitened(patches: np.ndarray, made: Dictionary) -> np.ndarray:
    return unit((patches - made[0]) @ made[1]).astype(np.float32)


def _hashed(texts: Sequence[Sequence[str]], seed: str) -> np.ndarray:
    rows = np.zeros((len(texts), HASHED), np.float32)
    for row, tokens in zip(rows, texts, strict=True):
        for token in tokens:
            number = zlib.crc32(f"{seed}{token}".encode())
            row[number % HASHED] += 1 if number >> 20 & 1 else -1
    return unit(rows).astype(np.float32)


def on(head: Head, rows: np.ndarray) -> np.ndarray:
    """Vectors that a head gives."""
    with torch.inference_mode():
        return head.eval()(torch.from_numpy(rows)).numpy()


def judged(pictures: np.ndarray, sounds: np.ndarray) -> dict[str, Any]:
    """Recall of sounds for pictures, and back."""
    return {"sound>picture": ranked(sounds, pictures), "picture>sound": ranked(pictures, sounds)}


def ranked(queries: np.ndarray, candidates: np.ndarray) -> dict[str, list[float]]:
    """Recall@1 and @10 in percent, each with its 95 % interval."""
    rows = np.arange(len(queries))
    found = ranking.figures(ranking.positions(queries, candidates, np.stack([rows, rows], 1)))
    return {name: [round(100 * getattr(found[name], end), 1) for end in ("value", "low", "high")] for name in ("recall@1", "recall@10")}


def table(told: Mapping[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"features: {told['features']}; text to picture in A {_told(told['text>picture in A'], 'recall@1')}, "
        f"text to sound in B {_told(told['text>sound in B'], 'recall@1')}; {told['cpu_seconds']} s of CPU in all",
        "",
        "| bridge | sound to picture R@1 | R@10 | picture to sound R@1 | R@10 | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in told["bridges"].items():
        there, back = row["sound>picture"], row["picture>sound"]
        cells = [_told(there, "recall@1"), f"{there['recall@10'][0]}", _told(back, "recall@1"), f"{back['recall@10'][0]}"]
        lines.append(f"| {name} | {' | '.join(cells)} | {row.get('seconds', '')} |")
    return "\n".join(lines)


def _told(figures: Mapping[str, Sequence[float]], name: str) -> str:
    value, low, high = figures[name]
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main()
