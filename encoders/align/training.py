"""One loop for heads on frozen vectors, for fine-tuning and for training from scratch.

What a step does is a function of the weights, the seed and the step's number alone, so a training that is killed and started again on the
same machine ends with the same bits as one that was left alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module, ModuleDict
from torch.nn.utils import clip_grad_norm_

from encoders.align import grad_cache, state
from encoders.align.examples import Examples, check_examples, check_negatives
from encoders.align.grad_cache import Inputs, Outputs
from encoders.align.history import History, Step
from encoders.align.objective import Objective
from encoders.align.optimiser import adamw, learning_rate, set_rate
from encoders.align.options import Options, check, dtype_of
from encoders.align.sampling import Order, Shuffled
from encoders.errors import EncoderError
from encoders.spec import Modality

__all__ = ["Batch", "Examples", "History", "Options", "Outputs", "Step", "train"]

_WITHOUT_EFFECT = frozenset({"checkpoint_every"})  # options that change no weight
_VALIDATION = -1  # instead of a step's number, where what is random in `validate` is seeded


@dataclass(frozen=True)
class Batch:
    """What one step saw.

    Parameters
    ----------
    step : its number, from 0.
    rows : examples, int64 (n,).
    encoded : by modality the examples that the tower got, in its order: those of `rows` that have the modality, then hard negatives.
    ids : int64 (n,) by modality, of `rows`.
    """

    step: int
    rows: np.ndarray
    encoded: Mapping[Modality, np.ndarray]
    ids: Mapping[Modality, Tensor]


def train(  # noqa: PLR0913  (most are doors that stay shut by default)
    towers: Mapping[Modality, Module],
    objective: Objective,
    examples: Examples,
    options: Options,
    *,
    folder: Path,
    validate: Callable[[], Mapping[str, float]] | None = None,
    note: Callable[[Step], None] = lambda _: None,
    extra: Callable[[Batch, Outputs], Tensor] | None = None,
    negatives: Mapping[Modality, np.ndarray] | None = None,
    order: Order | None = None,
) -> History:
    """Train towers and objective in place; afterwards they have the best weights and are in evaluation mode.

    Parameters
    ----------
    towers : by modality; maps `examples.inputs` to vectors (n, d) of any length, or to a mapping with "vectors". Parameters that require
        no gradient are neither trained nor stored.
    folder : of the checkpoint. If it holds one of this very training, that one goes on; after its end the weights are there at once.
    validate : called with the towers in evaluation mode and without gradients.
    note : hears of every step.
    extra : a further loss of training alone, added to the objective's; if it is a Module, it is trained and stored along.
    negatives : by modality, rows of `examples` whose items are hard negatives of each example, int64 (n, k), -1 for none: `sampling.mine`.
    order : rows of each step, by default `sampling.Shuffled`.

    Raises
    ------
    EncoderError : options or examples that cannot be trained on, a loss or metric that is not finite, a metric that `validate` does not
        return, or a folder with the checkpoint of another training.
    """
    with torch.random.fork_rng(_cuda(options.device)):
        return _Training(towers, objective, examples, options, folder, validate, note, extra, negatives, order).run()


class _Training:
    """The state of one training: everything that its steps change."""

    def __init__(  # noqa: PLR0913, PLR0917  (what `train` takes)
        self,
        towers: Mapping[Modality, Module],
        objective: Objective,
        examples: Examples,
        options: Options,
        folder: Path,
        validate: Callable[[], Mapping[str, float]] | None,
        note: Callable[[Step], None],
        extra: Callable[[Batch, Outputs], Tensor] | None,
        negatives: Mapping[Modality, np.ndarray] | None,
        order: Order | None,
    ) -> None:
        check(options, validate is not None)
        check_examples(towers, examples)
        check_negatives(negatives or {}, towers, examples)
        self.objective, self.examples, self.options = objective, examples, options
        self.folder, self.validate, self.note, self.extra = folder, validate, note, extra
        self.negatives = negatives or {}
        self.order = order or Shuffled(len(examples), options.batch, options.seed)
        self.steps = options.steps or options.epochs * self.order.steps_per_epoch
        dtype = dtype_of(options)
        self.towers = towers if dtype == torch.float32 else {m: _Lowered(tower, options.device, dtype) for m, tower in towers.items()}
        modules = {"towers": ModuleDict({str(modality): tower for modality, tower in towers.items()}), "objective": objective}
        self.modules = ModuleDict(modules | ({"extra": extra} if isinstance(extra, Module) else {})).to(options.device)
        self.optimiser = adamw(self.modules.parameters(), options.weight_decay, options.betas)
        self.losses: list[float] = []
        self.evaluations: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"step": 0, "value": None, "weights": {}}
        self.stopped = ""
        self.resumed, self.began, self.written = 0, monotonic(), monotonic()

    def run(self) -> History:
        """Go on from the folder's checkpoint, or begin; to the end."""
        self.fingerprint = self._fingerprint()
        self._resume()
        self.modules.train()
        if not self.stopped:
            if not self.losses:
                self._note(0, math.nan, {}, 0.0, self._evaluate(0))
            while not self.stopped:
                self._advance()
        if self.best["weights"]:
            state.load_weights(self.modules, self.best["weights"])
        self.modules.eval()
        step = self.best["step"] if self.options.metric else len(self.losses)
        seconds = monotonic() - self.began
        return History(self.losses, self.evaluations, step, self.best["value"], self.stopped, self.resumed, seconds)

    def _advance(self) -> None:
        """One step, and what is due after it."""
        step = len(self.losses)
        rate = learning_rate(step, self.steps, self.options.learning_rate, self.options.warm_up, self.options.floor)
        loss, parts = self._learn(step, rate)
        self.losses.append(loss)
        done, every = step + 1, self.options.evaluate_every
        last = done == self.steps
        metrics = self._evaluate(done) if last or (every and done % every == 0) else {}
        self.stopped = "steps" if last else "patience" if metrics and self._patience_ended() else ""
        if self.stopped or monotonic() - self.written >= self.options.checkpoint_every:
            self._write()
        self._note(done, loss, parts, rate, metrics)

    def _learn(self, step: int, rate: float) -> tuple[float, dict[str, float]]:
        _sow(self.options.device, self.options.seed, step)
        batch = self._batch(step)
        self.optimiser.zero_grad(set_to_none=True)
        loss, parts = grad_cache.backward(self.towers, self._inputs(batch), lambda out: self._loss(batch, out), self.options.chunk)
        value = float(loss)
        if not math.isfinite(value):
            told = ", ".join(f"{name} {float(part):.4g}" for name, part in parts.items())
            raise EncoderError(
                f"the loss is {value} at step {step + 1} of {self.steps}, at a learning rate of {rate:.3g} ({told}); use a lower learning "
                f"rate or a longer warm-up (learning_rate is {self.options.learning_rate:g}, warm_up {self.options.warm_up:g}), "
                "and see that the inputs are finite"
            )
        if self.options.clip:
            clip_grad_norm_(self.modules.parameters(), self.options.clip)
        set_rate(self.optimiser, rate)
        self.optimiser.step()
        self.objective.clamp()
        return value, {name: float(part) for name, part in parts.items()}

    def _batch(self, step: int) -> Batch:
        rows = self.order(step)
        ids = {modality: self.examples.ids[modality][rows] for modality in self.towers}
        encoded = {modality: rows if (own := ids[modality] >= 0).all() else rows[own] for modality in self.towers}
        for modality, mined in self.negatives.items():
            extras = np.unique(mined[rows])
            encoded[modality] = np.concatenate([encoded[modality], extras[extras >= 0]])
        device = self.options.device
        return Batch(step, rows, encoded, {modality: torch.from_numpy(own).to(device) for modality, own in ids.items()})

    def _inputs(self, batch: Batch) -> Inputs:
        given = {modality: self.examples.inputs(modality, rows) for modality, rows in batch.encoded.items() if len(rows)}
        device = self.options.device
        return {modality: {name: tensor.to(device) for name, tensor in tensors.items()} for modality, tensors in given.items()}

    def _loss(self, batch: Batch, outputs: Outputs) -> tuple[Tensor, dict[str, Tensor]]:
        vectors, extras = {}, {}
        for modality, output in outputs.items():
            found = grad_cache.vectors_of(output)
            _check_vectors(modality, found, len(batch.encoded[modality]))
            own = batch.ids[modality] >= 0
            count = int(own.sum())
            vectors[modality] = found[:count] if count == len(own) else _spread(found[:count], own)
            if count < len(found):
                others = self.examples.ids[modality][batch.encoded[modality][count:]]
                extras[modality] = (found[count:], torch.from_numpy(others).to(found.device))
        loss, parts = self.objective(vectors, batch.ids, extras)
        if (extra := self.extra) is not None:
            parts["extra"] = (further := extra(batch, outputs)).detach()
            loss = loss + further
        return loss, parts

    def _evaluate(self, step: int) -> dict[str, float]:
        """What `validate` says of the weights after a step; they are kept if they are the best so far."""
        if self.validate is None:
            return {}
        self.modules.eval()
        _sow(self.options.device, self.options.seed, step, _VALIDATION)
        with torch.no_grad():
            metrics = {name: float(value) for name, value in self.validate().items()}
        self.modules.train()
        self.evaluations.append({"step": step, **metrics})
        if name := self.options.metric:
            if name not in metrics:
                raise EncoderError(f"metric = {name!r} is none that validation gives; use one of {', '.join(sorted(metrics))}")
            if not math.isfinite(value := metrics[name]):
                raise EncoderError(f"{name} is {value} after step {step}; a metric that decides must be finite")
            best = self.best["value"]
            if best is None or (value < best if self.options.lower else value > best):
                self.best = {"step": step, "value": value, "weights": state.weights(self.modules)}
        return metrics

    def _patience_ended(self) -> bool:
        since = sum(evaluation["step"] > self.best["step"] for evaluation in self.evaluations)
        return bool(self.options.patience and since >= self.options.patience)

    def _note(self, step: int, loss: float, parts: Mapping[str, float], rate: float, metrics: Mapping[str, float]) -> None:
        epoch, scale = step / self.order.steps_per_epoch, float(self.objective.scale.detach())
        self.note(Step(step, self.steps, epoch, loss, parts, rate, scale, metrics, monotonic() - self.began))

    def _write(self) -> None:
        saved = {
            "fingerprint": self.fingerprint,
            "weights": state.weights(self.modules),
            "optimiser": self.optimiser.state_dict() if not self.stopped else {},
            "losses": self.losses,
            "evaluations": self.evaluations,
            "best": self.best,
            "stopped": self.stopped,
            "seconds": monotonic() - self.began,
        }
        state.write(self.folder, saved)
        self.written = monotonic()

    def _resume(self) -> None:
        saved = state.read(self.folder, self.fingerprint)
        if saved is None:
            return
        state.load_weights(self.modules, saved["weights"])
        if saved["optimiser"]:
            self.optimiser.load_state_dict(saved["optimiser"])
        self.losses, self.evaluations, self.best, self.stopped = (saved[key] for key in ("losses", "evaluations", "best", "stopped"))
        self.resumed = len(self.losses)
        self.began -= saved["seconds"]

    def _fingerprint(self) -> dict[str, Any]:
        """What decides the end result; two trainings in which this is equal are one."""
        how = {name: value for name, value in asdict(self.options).items() if name not in _WITHOUT_EFFECT}
        how["betas"] = list(how["betas"])
        shapes = sorted(f"{name} {tuple(one.shape)} {one.requires_grad}" for name, one in self.modules.named_parameters())
        contents = [array for modality in sorted(self.towers) for array in (self.examples.ids[modality], self.negatives.get(modality))]
        return how | {
            "loss": f"{self.objective.loss} {sorted(self.objective.weights.items())} {self.objective.most}",
            "examples": _digest(self.examples.digest.encode(), *(b"" if one is None else one.tobytes() for one in contents)),
            "weights": _digest("\n".join(shapes).encode(), *(_bytes(one) for one in self.modules.parameters() if one.requires_grad)),
        }


class _Lowered(Module):
    """A tower that computes in lower precision; its weights and what it returns are float32."""

    def __init__(self, tower: Module, device: str, dtype: torch.dtype) -> None:
        super().__init__()
        self.tower = tower
        self.kind, self.dtype = torch.device(device).type, dtype

    def forward(self, inputs: Mapping[str, Tensor]) -> grad_cache.Output:
        with torch.autocast(self.kind, self.dtype):
            out: grad_cache.Output = self.tower(inputs)
        if isinstance(out, Tensor):
            return out.float()
        return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in out.items()}


def _check_vectors(modality: Modality, vectors: Tensor, rows: int) -> None:
    if vectors.ndim != 2 or len(vectors) != rows:
        raise EncoderError(f"the {modality} tower gave {tuple(vectors.shape)} for {rows} examples; it must give ({rows}, dimension)")


def _spread(vectors: Tensor, own: Tensor) -> Tensor:
    """Vectors of the rows that have the modality among zeros for those that lack it."""
    return vectors.new_zeros(len(own), vectors.shape[1]).index_copy(0, own.nonzero()[:, 0], vectors)


def _sow(device: str, *numbers: int) -> None:
    """Seed the generators in use from a training's seed and a step.

    `torch.manual_seed` also remembers a call, with its stack, for every kind of device that is not there: a millisecond a step.
    """
    seed = int(np.random.SeedSequence([number & 0xFFFFFFFF for number in numbers]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.default_generator.manual_seed(seed)
    for index in _cuda(device):
        with torch.cuda.device(index):
            torch.cuda.manual_seed(seed)


def _digest(*contents: bytes) -> str:
    hashed = hashlib.sha256()
    for content in contents:
        hashed.update(len(content).to_bytes(8) + content)
    return hashed.hexdigest()[:16]


def _bytes(parameter: Tensor) -> bytes:
    return parameter.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _cuda(device: str) -> list[int]:
    kind = torch.device(device)
    return [] if kind.type != "cuda" else [torch.cuda.current_device() if kind.index is None else kind.index]
