"""What learns in an alignment: heads on vectors that stand in tables, or the encoders themselves, on media that are prepared once more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from encoders import hardware
from encoders.align import card as cards
from encoders.align import heads as head_files
from encoders.align.frozen import FrozenVectors, OnVectors
from encoders.align.heads import Head
from encoders.align.objective import Objective
from encoders.align.tower_folder import fresh_all, save_all
from encoders.align.towers import HeadedTower, Tower, tower
from encoders.align.training import History, Options, Step, train
from encoders.pooling import normalise
from encoders.spaces import Sections, without_heads
from encoders.spec import Modality
from flows.pair_inputs import prepared_inputs
from flows.pair_vectors import PairVectors
from flows.settings import AlignSettings
from tasks.scratch import scratch_folder
from tasks.split import Side, Split
from tasks.tower_examples import PreparedInputs, TowerExamples
from tasks.train import headed, items_of, make_heads, train_heads

AT_ONCE = 64  # media that go through an encoder together, outside of training

Examples = Any
"""Of one side: `FrozenVectors` of `Heads`, `TowerExamples` of `Towers`."""


class Heads:
    """Heads that learn, behind encoders that stay as they are."""

    rate = 1e-3
    chunk = 0
    threads = 1  # torch's, for one operation: heads are small

    def __init__(self, asked: AlignSettings, stored: PairVectors, parts: Split, dimension: int) -> None:
        self.asked, self.stored, self.parts, self.dimension = asked, stored, parts, dimension
        self.bases = {modality: stored.specs[modality].dimension for modality in stored.pairs.modalities}
        self.heads = make_heads(self.bases, dimension, asked.head, asked.hidden, asked.keep, asked.seed)

    def examples(self, side: Side, most: int = 0) -> Examples:
        """What one side has to learn from; nothing of another is read."""
        return self.stored.side(self.parts, side, most)

    def train(
        self, side: Examples, options: Options, folder: Path, validate: Callable[[], Mapping[str, float]], note: Callable[[Step], None]
    ) -> History:
        """Learn, or go on where a killed run stopped."""
        objective = Objective(self.asked.loss, self.asked.weights)
        hard = self.asked.hard_negatives
        return train_heads(self.heads, side, objective, options, folder=folder, validate=validate, note=note, hard_negatives=hard)

    def vectors(self, examples: Examples) -> FrozenVectors:
        """Vectors in the new space, as learned so far."""
        return FrozenVectors(headed(self.heads, examples.vectors), examples.ids)

    def written(self, kept: Collection[Modality]) -> dict[Modality, Head]:
        """The heads of the new space, of the modalities that it keeps; none where vectors stay as they are."""
        return {m: head.cpu() for m, head in self.heads.items() if head.form.kind != "identity" or head.center is not None}

    def saved(self, folder: Path, sections: Sections) -> Sections:
        """The encoders' sections of the new space's TOML file; what they name stands in the folder then."""
        return sections

    def close(self) -> None:
        """Remove what was only needed for learning."""


class Unmoved(Heads):
    """Encoders that share a space already: nothing learns, and what is left of an alignment is the calibration and its figures."""

    def __init__(self, asked: AlignSettings, stored: PairVectors, parts: Split, dimension: int) -> None:
        super().__init__(asked, stored, parts, dimension)
        self.heads = make_heads(self.bases, dimension, "identity", 0, tuple(self.bases), asked.seed)

    def written(self, kept: Collection[Modality]) -> dict[Modality, Head]:
        """As of heads; a head that an encoder has already, as in a bridged space, gets the calibration."""
        found = super().written(kept)
        for modality in kept:
            if own := head_files.of(self.stored.specs[modality]):
                calibration = found.get(modality)
                found[modality] = own.calibrated(calibration.center, calibration.projection) if calibration else own
        return found

    def saved(self, folder: Path, sections: Sections) -> Sections:
        """As of heads."""
        return without_heads(sections)

    def train(
        self, side: Examples, options: Options, folder: Path, validate: Callable[[], Mapping[str, float]], note: Callable[[Step], None]
    ) -> History:
        """No step; the validation side is measured once."""
        began, metrics = monotonic(), validate()
        return History([], [{"step": 0, **metrics}], 0, metrics[options.metric], "steps", 0, monotonic() - began)


class Towers(Heads):
    """Encoders that learn: their last blocks, all, or from nothing; with heads behind those whose dimension is not that of the space."""

    rate = 2e-5
    chunk = 64
    threads = hardware.cores()
    _from_scratch = 5e-4  # CLIP's learning rate (Radford et al. 2021, appendix F)

    def __init__(self, asked: AlignSettings, stored: PairVectors, parts: Split, dimension: int) -> None:
        super().__init__(asked, stored, parts, dimension)
        self._kept = tuple(modality for modality in self.bases if modality in asked.keep)
        same = [modality for modality, base in self.bases.items() if base == dimension]
        self.heads = make_heads(self.bases, dimension, asked.head, asked.hidden, same, asked.seed)
        self._stack = ExitStack()
        specs = {modality: stored.specs[modality] for modality in self.bases if modality not in self._kept}
        train = asked.train
        if train == "scratch":
            self.rate, train = self._from_scratch, "all"
            specs = fresh_all(specs, self._stack.enter_context(scratch_folder(asked.scratch)), asked.seed)
        self._towers: dict[Modality, Tower] = {modality: tower(spec, train) for modality, spec in specs.items()}
        self._prepared: dict[Side, dict[Modality, PreparedInputs]] = {}

    def examples(self, side: Side, most: int = 0) -> Examples:
        """As of heads; media are fetched, decoded and prepared here, in the same watched processes as when they are embedded."""
        frame = self.parts.side(side)
        items, ids = items_of(frame, tuple(self.bases), most)
        if side not in self._prepared:
            folder = self._stack.enter_context(scratch_folder(self.asked.scratch))
            self._prepared[side] = {m: prepared_inputs(self.stored, frame, m, folder) for m in self._towers}
        inputs = self._prepared[side]
        vectors = {m: self.stored.vectors_of(m, items[m]) for m in self._kept}
        return TowerExamples(ids, items, self._towers, inputs, vectors)

    def train(
        self, side: Examples, options: Options, folder: Path, validate: Callable[[], Mapping[str, float]], note: Callable[[Step], None]
    ) -> History:
        """As of heads."""
        modules: dict[Modality, torch.nn.Module] = {m: HeadedTower(one, self.heads[m]) for m, one in self._towers.items()}
        modules |= {m: OnVectors(self.heads[m]) for m in self._kept}
        modules = {m: modules[m] for m in self.bases}
        objective = Objective(self.asked.loss, self.asked.weights)
        return train(modules, objective, side, options, folder=folder, validate=validate, note=note)

    def vectors(self, examples: Examples) -> FrozenVectors:
        """As of heads."""
        return FrozenVectors({m: self._encoded(m, examples) for m in self.bases}, examples.ids)

    def saved(self, folder: Path, sections: Sections) -> Sections:
        """As of heads; trained encoders are checkpoints below the folder's "towers"."""
        specs = save_all({m: one.cpu() for m, one in self._towers.items()}, folder / cards.TOWERS)
        changed = {m: {k: v for k, v in sections[m].items() if k != "revision"} | {"weights": spec.weights} for m, spec in specs.items()}
        return cast("Sections", {m: changed.get(m, section) for m, section in sections.items()})

    def close(self) -> None:
        """Remove the prepared media."""
        self._stack.close()

    def _encoded(self, modality: Modality, examples: TowerExamples) -> np.ndarray:
        """One vector for each item, after its head: of the mean direction of its segments, as `read_vectors` takes it."""
        count, parts = len(examples.items[modality]), []
        one, head = self._towers.get(modality), self.heads[modality]
        device = next((parameter.device for parameter in one.parameters()), None) if one else None
        training = head.training
        head.eval()
        if one:
            one.eval()
        with torch.inference_mode():
            bases = self._segments_mean(one, modality, examples) if one else torch.from_numpy(examples.kept(modality))
            for low in range(0, count, AT_ONCE):
                base = bases[low : low + AT_ONCE]
                parts.append(head.to(device)(base.to(device)).float().cpu().numpy() if device else head(base).numpy())
        head.train(training)
        return np.concatenate(parts) if parts else np.zeros((0, self.dimension), np.float32)

    def _segments_mean(self, one: Tower, modality: Modality, examples: TowerExamples) -> Tensor:
        sums = torch.zeros(len(examples.items[modality]), self.bases[modality])
        for items, given in examples.segments(modality, AT_ONCE):
            sums.index_add_(0, torch.from_numpy(items), normalise(one(given)).cpu())
        return normalise(sums)
