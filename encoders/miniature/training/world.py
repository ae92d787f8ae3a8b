"""The training material on disk, and batches of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.miniature.captions import LANGUAGES
from encoders.miniature.scenes import SIZES, SOUNDERS, WEATHERS
from encoders.miniature.training.material import FLOOR, draw_scenes, draw_sounds
from encoders.miniature.training.meanings import ABSENT, KINDS, WEATHER
from encoders.miniature.training.recipe import Recipe
from encoders.miniature.training.tokens import tokens, train_tokenizer

FIRST_SOUNDER = KINDS.index(SOUNDERS[0])
ARRAYS = ("pictures", "places", "facts", "told")


def draw_world(folder: Path, recipe: Recipe) -> None:
    """Write what the recipe draws into the folder, chunk by chunk; chunks that stand there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    chunks = range(recipe.pairs // recipe.pairs_per_chunk)
    # Not forked: whoever calls this may hold threads, and LanceDB's do not survive a fork.
    with ProcessPoolExecutor(recipe.workers, mp_context=get_context("spawn")) as pool:
        sounds = pool.submit(_draw_sounds, folder, recipe)
        list(pool.map(partial(_draw_chunk, folder, recipe), chunks))
        sounds.result()
    if (folder / "tokens.npy").exists():
        return
    texts = [json.loads((folder / f"texts-{chunk}.json").read_text()) for chunk in chunks]
    tokenizer = train_tokenizer(caption for scene in texts[0] for wording in scene for caption in wording)
    tokenizer.save_pretrained(folder / "tokenizer")
    coded = [tokens(tokenizer, [wording[i] for chunk in texts for scene in chunk for wording in scene]) for i in range(len(LANGUAGES))]
    _save(folder / "tokens.npy", np.stack(coded).reshape(len(LANGUAGES), -1, recipe.wordings, coded[0].shape[1]))


@dataclass(frozen=True)
class Batch:
    """Scenes of one step, shapes first; the last `sounding` rows have a sound.

    Parameters
    ----------
    pictures : uint8 (n, 64, 64, 3).
    places, facts, told : as in `material.Scenes`, one wording of each scene.
    captions : by language, (n, 40).
    sounds : float32 (sounding, frames, bands), log-mel.
    """

    pictures: NDArray[np.uint8]
    places: NDArray[np.uint8]
    facts: NDArray[np.int8]
    told: NDArray[np.int8]
    captions: NDArray[np.int16]
    sounds: NDArray[np.float32]

    @property
    def sounding(self) -> int:
        return len(self.sounds)


class World:
    """The drawn material of a folder."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.recipe = recipe
        chunks = range(recipe.pairs // recipe.pairs_per_chunk)
        load: Any = {name: [np.load(folder / f"{name}-{chunk}.npy", mmap_mode="c") for chunk in chunks] for name in ARRAYS}
        self.pictures = load["pictures"]
        self.places, self.facts, self.told = (np.concatenate(load[name]) for name in ARRAYS[1:])
        self.tokens = np.load(folder / "tokens.npy", mmap_mode="c")
        self.sounds = {name: np.load(folder / f"sound-{name}.npy", mmap_mode="c") for name in sound_names()}
        shapes = self.facts[::2, 0] < FIRST_SOUNDER
        self.pairs = [np.nonzero(shapes)[0], np.nonzero(~shapes)[0]]
        self.orders: dict[int, tuple[int, NDArray[np.int64]]] = {}
        pairs = recipe.batch // 2
        self.counts = [round(recipe.share_of_shapes * pairs), pairs - round(recipe.share_of_shapes * pairs)]

    def batch(self, step: int, worker: int) -> Batch:
        """What this worker sees in this step, told by the seed alone."""
        recipe = self.recipe
        pairs = [self._pairs(world, step, worker) for world in (0, 1)]
        rows = (2 * np.concatenate(pairs)[:, None] + (0, 1)).reshape(-1)
        rng = np.random.default_rng([recipe.seed, 3, worker, step])
        which = rng.integers(recipe.wordings, size=len(rows))
        size = recipe.pairs_per_chunk * 2
        pictures = np.stack([self.pictures[row // size][row % size] for row in rows])
        sounding = rows[2 * self.counts[0] :]
        return Batch(
            pictures,
            self.places[rows],
            self.facts[rows],
            self.told[rows, which],
            np.asarray(self.tokens[:, rows, which]),
            self.mix(self.facts[sounding], rng),
        )

    def mix(self, facts: NDArray[np.int8], rng: np.random.Generator) -> NDArray[np.float32]:
        """Log-mel spectrograms of scenes (n, frames, bands), from single sounds.

        Energies of sounds that know nothing of each other add up, but for a term that is zero on average. Loudnesses are as in
        `sounds.sound`.
        """
        import torch  # its float16 to float32 and its exponential take a fifth of numpy's time

        energies = []
        for fact in facts:
            energy, peaks = torch.zeros(self.sounds["noise"].shape[1:]), 0.0
            for name, gain in self._sources(fact, rng):
                bank = self.sounds[name]
                energy.add_(torch.from_numpy(bank[rng.integers(len(bank))]).float().exp_(), alpha=gain**2)
                peaks += gain**2
            energies.append(energy.mul_((rng.uniform(0.3, 0.95) / (np.sqrt(peaks) * rng.uniform(0.95, 1.2))) ** 2))
        mixed: NDArray[np.float32] = torch.stack(energies).clamp_(min=FLOOR).log_().numpy()
        return mixed

    def some_sounds(self, count: int) -> NDArray[np.float32]:
        """Mixed from the first scenes that sound, for first weights."""
        return self.mix(self.facts[self.facts[:, 0] >= FIRST_SOUNDER][:count], np.random.default_rng([self.recipe.seed, 4]))

    def _sources(self, fact: NDArray[np.int8], rng: np.random.Generator) -> Iterator[tuple[str, float]]:
        for kind, size in ((fact[0], fact[2]), (fact[3], fact[5])):
            if kind != ABSENT[0]:
                yield f"{KINDS[kind]} {SIZES[size]}", rng.uniform(0.55, 1)
        if fact[WEATHER]:
            yield WEATHERS[fact[WEATHER]], rng.uniform(0.35, 0.7)
        yield "noise", rng.uniform(0.0005, 0.01)

    def _pairs(self, world: int, step: int, worker: int) -> NDArray[np.int64]:
        """This step's pairs of one world: all of them once, in an order of this epoch's own, then all again."""
        pairs, count = self.pairs[world], self.counts[world]
        first = (step * self.recipe.workers + worker) * count
        epochs, places = np.divmod(np.arange(first, first + count), max(1, len(pairs)))
        return np.concatenate([pairs[:0], *(self._order(world, int(e))[places[epochs == e]] for e in np.unique(epochs))])

    def _order(self, world: int, epoch: int) -> NDArray[np.int64]:
        known = self.orders.get(world)
        if known is None or known[0] != epoch:
            known = (epoch, np.random.default_rng([self.recipe.seed, 2, world, epoch]).permutation(self.pairs[world]))
            self.orders[world] = known
        return known[1]


def sound_names() -> list[str]:
    """Of the single sounds that scenes are mixed from."""
    return [*(f"{kind} {size}" for kind in SOUNDERS for size in SIZES), *WEATHERS[1:], "noise"]


def _draw_sounds(folder: Path, recipe: Recipe) -> None:
    if not all((folder / f"sound-{name}.npy").exists() for name in sound_names()):
        for name, spectra in draw_sounds(recipe.seed, recipe.voices, recipe.skies).items():
            _save(folder / f"sound-{name}.npy", spectra)


def _draw_chunk(folder: Path, recipe: Recipe, chunk: int) -> None:
    done = folder / f"texts-{chunk}.json"
    if done.exists():
        return
    scenes = draw_scenes(recipe.seed * 10_000 + chunk, recipe.pairs_per_chunk, recipe.share_of_shapes, recipe.wordings)
    for name in ARRAYS:
        _save(folder / f"{name}-{chunk}.npy", getattr(scenes, name))
    done.with_suffix(".part").write_text(json.dumps(scenes.texts, ensure_ascii=False))
    done.with_suffix(".part").replace(done)


def _save(path: Path, array: NDArray[Any]) -> None:
    with path.with_suffix(".part").open("wb") as file:
        np.save(file, array)
    path.with_suffix(".part").replace(path)
