"""One alignment, from pairs to a space that any command takes, whoever drives it: Prefect or a plain loop."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from encoders import hardware
from encoders.align import calibration, space_folder
from encoders.align import card as cards
from encoders.align.objective import trained_pairs
from encoders.align.training import History, Options, Step
from encoders.spaces import Sections, load_space
from encoders.spec import MODALITIES, Modality
from flows.bucket_run import BucketRun
from flows.learners import Heads, Towers, Unmoved
from flows.pair_vectors import PairVectors
from flows.settings import AlignSettings
from retrieval import ranking
from retrieval.score import directions
from storage.lock import sole_writer
from tasks.pairs import Pairs, PairsError
from tasks.plan import RefusedError
from tasks.split import SIDES, Shares, Side, Split, split, trainable

VALIDATED = 5_000  # rows of the validation side that are ranked at each evaluation
STEPS = 1_000
_LEARNERS: Mapping[str, type[Heads]] = {"heads": Heads, "none": Unmoved}
_SEEN: tuple[Side, Side] = ("validation", "train")

# Settings that change no weight: a run with others of these goes on where the last one stopped.
_EVERYWHERE = frozenset(
    {"name", "out", "replace", "allow_deletions", "workers", "encode_batch", "scratch", "limits", "checkpoint_every", "pairs", "source"}
)


@dataclass
class Alignment:
    """The state of one alignment: what was asked, what was found, what was learned.

    Made by `flows.align_opening.open_alignment`, which does everything that can refuse it before any work. Then, in this order: the
    `bucket_run` of each of `modalities` is run, and `divide`, `train`, `calibrate` and `write` are called.

    Parameters
    ----------
    sections : the encoders as they stand in their TOML file, places made absolute.
    stored : the pairs, and the vectors of what they name.
    pairs_digest : hex SHA-256 of the file of the pairs.
    """

    settings: AlignSettings
    sections: Sections
    stored: PairVectors
    pairs_digest: str
    began: float = field(default_factory=monotonic)
    seconds: dict[str, float] = field(default_factory=dict)
    objects: dict[Modality, dict[str, int]] = field(default_factory=dict)
    learner: Heads = field(init=False)
    calibration: dict[str, Any] = field(default_factory=dict)
    losses: list[tuple[float, float]] = field(default_factory=list)
    evaluations: list[tuple[float, Mapping[str, float]]] = field(default_factory=list)
    _parts: Split | None = None
    _history: History | None = None
    _closing: ExitStack = field(default_factory=ExitStack)

    @property
    def folder(self) -> Path:
        """Of the new space."""
        return self.stored.folder

    @property
    def pairs(self) -> Pairs:
        """As they were read."""
        return self.stored.pairs

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those that the pairs name."""
        return self.pairs.modalities

    @property
    def bases(self) -> dict[Modality, int]:
        """Dimension of each encoder."""
        return {m: self.stored.specs[m].dimension for m in self.modalities}

    @property
    def dimension(self) -> int:
        """Of the new space."""
        kept = [self.stored.specs[m].dimension for m in self.settings.keep]
        return self.settings.dimension or next(iter(kept), max(self.bases.values()))

    @property
    def parts(self) -> Split:
        """The pairs, each on its side; there after `divide`."""
        assert self._parts is not None  # noqa: S101 - this tells the type checker
        return self._parts

    @property
    def history(self) -> History:
        """How the training went; there after `train`."""
        assert self._history is not None  # noqa: S101 - as above
        return self._history

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No other run works on this space; in the end, what was only needed for learning is removed."""
        with sole_writer(self.stored.database, "align"), self._closing:
            yield

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time of this block to that of a step."""
        began = monotonic()
        try:
            yield
        finally:
            self.seconds[step] = round(self.seconds.get(step, 0.0) + monotonic() - began, 3)

    def bucket_run(self, modality: Modality) -> BucketRun:
        """The run that embeds what the pairs name in one modality."""
        return self.stored.bucket_run(modality)

    def divide(self) -> Split:
        """Put every pair whose media were embedded on a side.

        Raises
        ------
        PairsError : nothing is left, one side is empty, or training would never see one modality.
        """
        pairs = self.pairs
        contents: dict[str, str] = {}
        for modality in self.modalities:
            held = self.stored.held(modality)
            contents |= dict(held.select("uri", "content_hash").iter_rows())
            if modality == "text":
                pairs = pairs.without_texts(set(held.get_column("content_hash")))
            self.objects[modality] = self.stored.reasons(modality, held)
        parts = split(pairs, contents, Shares(**self.settings.shares.model_dump()), self.settings.seed)
        self._parts = trainable(parts, trained_pairs(self.modalities, self.settings.weights))
        empty = [str(side) for side in SIDES if not self._parts.counts[side]]
        side = self._parts.side("train")
        unseen = [m for m in self.modalities if m not in self.settings.keep and not side.get_column(f"{m}_content").count()]
        if unseen and not empty:
            empty = [f"train, in which no {' and no '.join(unseen)} is left to learn from"]
        if empty:
            raise PairsError(self._too_few(empty))
        return self._parts

    def train(self, note: Callable[[Step], None] = lambda _: None) -> History:
        """Train on the train side, or go on where a killed run stopped; the validation side says when to stop."""
        with self.timed("training"), self._threads():
            learner = self.learner = self._kind(self.settings, self.stored, self.parts, self.dimension)
            self._closing.callback(learner.close)
            side, validation = learner.examples("train"), learner.examples("validation", VALIDATED)
            if len(side) < 2:
                raise PairsError(self._too_few(["train"]))

            def validate() -> Mapping[str, float]:
                found = learner.vectors(validation)
                return directions.means(directions.positions(found.vectors, found.ids))

            folder = self._training_folder()
            self._history = learner.train(side, self._options(len(side)), folder, validate, lambda step: self._note(step, note))
        self.losses = [(float(number), loss) for number, loss in enumerate(self._history.losses, 1)]
        self.evaluations = [(each["step"], {k: v for k, v in each.items() if k != "step"}) for each in self._history.evaluations]
        return self._history

    def calibrate(self) -> None:
        """Close the gap between modalities, where the validation side says that it helps."""
        if not self.settings.calibrate:
            return
        with self.timed("calibration"), self._threads():
            learner = self.learner
            validation, training = (learner.vectors(learner.examples(side, VALIDATED)) for side in _SEEN)
            choice = calibration.choose(validation, training, fixed=self.settings.keep)
            learner.heads = choice.calibration.on(learner.heads)
            self.calibration = {"chosen": choice.calibration.name, "figures": choice.figures}

    def write(self) -> dict[str, Any]:
        """Take the figures of the test side, write the new space with a card that says what trained it; returns the account."""
        with self.timed("scoring"), self._threads():
            scores = self._scores()
        kept: tuple[Modality, ...] = tuple(m for m in MODALITIES if m in self.modalities or m in self.settings.keep)
        account = self._account(scores)
        card = {
            "asked": self.asked(),
            "inputs": self._inputs(),
            "account": account,
            "history": {"losses": self.history.losses, "evaluations": self.history.evaluations},
        }
        (self.folder / space_folder.SPACE).unlink(missing_ok=True)  # it is no whole space while its parts are replaced
        sections = self.learner.saved(self.folder, {m: self.sections[m] for m in kept})
        space = space_folder.write(self.folder, self.settings.name, sections, self.learner.written(kept), card)
        shutil.rmtree(self.folder / "training", ignore_errors=True)
        return {**account, "generation": space.generation}

    def asked(self) -> dict[str, Any]:
        """Everything asked that decides the weights."""
        values = self.settings.model_dump(mode="json")
        encoders = {m: self.stored.specs[m].fingerprint for m in self.modalities}
        return {k: v for k, v in values.items() if k not in _EVERYWHERE} | {"pairs": self.pairs_digest, "encoders": encoders}

    def done(self) -> dict[str, Any] | None:
        """The account of the run that made just this space already.

        Raises
        ------
        RefusedError : a space of this name was made of other media, and is not to be replaced.
        """
        place = self.folder / space_folder.SPACE
        card = cards.read(self.folder) if place.exists() else {}
        if card.get("asked") != self.asked() or card.get("inputs") != self._inputs():
            if place.exists() and not self.settings.replace:
                raise RefusedError(
                    f"{self.folder} holds a space that was made when other media of these pairs were there, and tables may have been made "
                    "with it; choose another --name, or --replace it"
                )
            return None
        self.losses = [(float(number), loss) for number, loss in enumerate(card["history"]["losses"], 1)]
        self.evaluations = [(each["step"], each) for each in card["history"]["evaluations"]]
        return {**card["account"], "generation": load_space(str(place)).generation}

    def _threads(self) -> AbstractContextManager[None]:
        """The same number, whether vectors were embedded in this process before, which sets it, or stood there already."""
        return hardware.threads(self._kind.threads)

    @property
    def _kind(self) -> type[Heads]:
        """What learns."""
        return _LEARNERS.get(self.settings.train, Towers)

    def _scores(self) -> dict[str, Any]:
        """Figures of the test side, which is read now and never before: every direction, and the shape of the space, before and after."""
        side = self.stored.side(self.parts, "test")
        after = self.learner.vectors(self.learner.examples("test"))
        vectors: dict[str, Mapping[Modality, np.ndarray]] = {"after": after.vectors}
        if len(set(self.bases.values())) == 1:
            vectors = {"before": side.vectors, **vectors}
        found = {when: directions.positions(each, side.ids) for when, each in vectors.items()}
        told: dict[str, Any] = {"directions": {}, "shape": {when: directions.shape(each, side.ids) for when, each in vectors.items()}}
        for direction, positions in found["after"].items():
            told["directions"][direction] = {"queries": len(positions)} | {
                when: {name: _figure(figure) for name, figure in ranking.figures(each[direction], seed=self.settings.seed).items()}
                for when, each in found.items()
            }
        return told

    def _account(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "name": self.settings.name,
            "space": str((self.folder / space_folder.SPACE).resolve()),
            "dimension": self.dimension,
            "pairs": self._counts(),
            "objects": self.objects,
            "metric": {"name": self.settings.metric, "value": self.history.best, "step": self.history.best_step},
            "steps": len(self.history.losses),
            "stopped": self.history.stopped,
            "resumed": self.history.resumed,
            "loss": self.history.losses[-1] if self.history.losses else None,
            "calibration": self.calibration,
            "test": scores,
            "seconds": self.seconds | {"total": round(monotonic() - self.began, 3)},
        }

    def _counts(self) -> dict[str, Any]:
        """Where every row of the pairs ended: rows = too_few + duplicates + incomplete + copies + train + validation + test."""
        return {
            "rows": self.pairs.rows,
            "too_few": self.pairs.too_few,
            "duplicates": self.pairs.duplicates,
            "incomplete": self.parts.too_few,
            "copies": self.parts.copies,
            **self.parts.counts,
            "one_to_many": dict(self.pairs.one_to_many),
            "shared_texts": self.parts.shared_texts,
            "ignored_columns": list(self.pairs.ignored),
        }

    def _inputs(self) -> str:
        """What tells the divided pairs, as they were embedded, from others."""
        columns = [f"{m}_content" for m in self.modalities]
        rows = self.parts.frame.select(*columns, "side").sort(columns, nulls_last=True)
        return hashlib.sha256(json.dumps(rows.rows()).encode()).hexdigest()[:16]

    def _note(self, step: Step, note: Callable[[Step], None]) -> None:
        if step.step:
            self.losses.append((step.step, step.loss))
        if step.metrics:
            self.evaluations.append((step.step, step.metrics))
        note(step)

    def _options(self, rows: int) -> Options:
        asked = self.settings
        return Options(
            batch=min(asked.batch, rows),
            chunk=asked.chunk or self.learner.chunk,
            steps=0 if asked.epochs else asked.steps or STEPS,
            epochs=asked.epochs,
            learning_rate=asked.learning_rate or self.learner.rate,
            weight_decay=asked.weight_decay,
            warm_up=asked.warm_up,
            seed=asked.seed,
            evaluate_every=asked.evaluate_every,
            metric=asked.metric,
            patience=asked.patience,
            checkpoint_every=asked.checkpoint_every,
            device=hardware.chosen(asked.device)[0],
        )

    def _training_folder(self) -> Path:
        """Of the checkpoint of just this training; those of others go."""
        mark = hashlib.sha256(json.dumps([self.asked(), self._inputs()], sort_keys=True).encode()).hexdigest()[:16]
        above = self.folder / "training"
        for other in above.glob("*"):
            if other.name != mark:
                shutil.rmtree(other, ignore_errors=True)
        return above / mark

    def _too_few(self, empty: list[str]) -> str:
        counts = self._counts()
        ends = ("rows", "too_few", "duplicates", "incomplete", "copies", *SIDES)
        rows = ", ".join(f"{end.replace('_', ' ')} {counts[end]}" for end in ends)
        objects = "; ".join(f"{m}: {', '.join(f'{reason} {n}' for reason, n in found.items())}" for m, found in self.objects.items())
        parts = self.parts.frame.get_column("component").n_unique()
        return (
            f"{self.settings.pairs} has too few pairs for {' and '.join(empty)} ({rows}; {objects}); what can be divided are {parts} "
            f"media, or groups of media linked by pairs: give more of them, or other shares"
        )


def _figure(figure: ranking.Figure) -> dict[str, float]:
    return {"value": round(figure.value, 4), "low": round(figure.low, 4), "high": round(figure.high, 4)}
