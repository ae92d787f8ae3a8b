"""The loop: processes of one thread that average their gradients, so that all cores work and none waits inside an operation.

All that is random in a step is drawn from the recipe's seed, the step and the worker, so that a checkpoint is weights, the optimisers'
state and a number. A run that was killed and is started again ends with the same weights, bit by bit.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as group
from torch import Tensor

from encoders.errors import EncoderError
from encoders.miniature.training.heads import Helpers
from encoders.miniature.training.recipe import Recipe
from encoders.miniature.training.step import loss_of
from encoders.miniature.training.towers import Miniature, first_weights, normal_pictures, normal_sounds
from encoders.miniature.training.world import World, draw_world

WORLD, CHECKPOINT, PROGRESS, WEIGHTS = "world", "checkpoint.pt", "progress.jsonl", "weights"
RECIPE = "recipe.json"
BEFORE_COOLING = "before-cooling.pt"  # from here a run can be made longer

# Fresh memory is slow to get on virtual machines: what is freed is kept, in one arena.
ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
    "MALLOC_TOP_PAD_": "268435456",
}


class TrainingError(EncoderError):
    """Training could not begin or a worker has died; what was checkpointed is kept."""


@dataclass(frozen=True)
class Progress:
    """How far it is: the step, seconds since this start, the cosines' scale, and the losses as running means."""

    step: int
    steps: int
    seconds: float
    scale: float
    losses: Mapping[str, float]


def train_miniature(folder: Path, recipe: Recipe, note: Callable[[Progress], None] | None = None) -> Path:
    """Draw the world, train the towers on it, and write the weights; all in `folder`, and on from where an earlier run was stopped.

    Returns
    -------
    The folder with the weights: clip/ and audio/, as transformers loads them.

    Raises
    ------
    TrainingError : the folder holds a run of another recipe, or a worker died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _agree(folder, recipe)
    draw_world(folder / WORLD, recipe)
    meeting = folder / f"meeting-{os.getpid()}"
    command = [sys.executable, "-m", "encoders.miniature.training.train", str(folder), str(meeting)]
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    surroundings = {**os.environ, **ALLOCATOR, **threads}
    workers = [subprocess.Popen([*command, str(rank)], env=surroundings) for rank in range(recipe.workers)]  # noqa: S603 - our own
    try:
        _watch(workers, folder / PROGRESS, note)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        meeting.unlink(missing_ok=True)
    return folder / WEIGHTS


class Run:
    """One worker's part: the model, its training-only heads, and the optimisers."""

    def __init__(self, folder: Path, recipe: Recipe, worker: int) -> None:
        from transformers import PreTrainedTokenizerFast

        self.folder, self.recipe, self.worker, self.step = folder, recipe, worker, 0
        self.tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder / WORLD / "tokenizer")
        self.world = World(folder / WORLD, recipe)
        torch.manual_seed(recipe.seed)
        self.model, self.helpers = Miniature(recipe, self.tokenizer), Helpers(recipe.width)
        first_weights(self.model, normal_pictures(self.world.pictures[0][:800]), normal_sounds(self.world.some_sounds(600)), recipe.seed)
        self.parameters = [*self.model.parameters(), *self.helpers.parameters()]
        self.optimisers = optimisers(self.model, self.helpers, recipe)
        self.flat = torch.empty(sum(p.numel() for p in self.parameters))
        if (folder / CHECKPOINT).exists():
            self._restore(torch.load(folder / CHECKPOINT, weights_only=True))

    def forward(self) -> dict[str, float]:
        """One step."""
        chance = torch.Generator().manual_seed((self.recipe.seed * 1_000_003 + self.step) * self.recipe.workers + self.worker)
        for parameter in self.parameters:
            parameter.grad = None
        loss, losses = loss_of(self.model, self.helpers, self.world.batch(self.step, self.worker), self.step, self.recipe, chance)
        loss.backward()  # type: ignore[no-untyped-call]
        average(self.parameters, self.flat, self.recipe.workers)
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for optimiser in self.optimisers:
            for part in optimiser.param_groups:
                part["lr"] = part["rate"] * factor(self.step, self.recipe)
            optimiser.step()
        self.step += 1
        return losses

    def keep(self) -> None:
        """Write the checkpoint: beside, then renamed, so that one is always whole."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "helpers": self.helpers.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        part = self.folder / f"{CHECKPOINT}.part"
        torch.save(state, part)
        part.replace(self.folder / CHECKPOINT)
        if self.step <= self.recipe.cools_at < self.step + self.recipe.checkpoint_every:
            shutil.copyfile(self.folder / CHECKPOINT, self.folder / BEFORE_COOLING)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.helpers.load_state_dict(state["helpers"])
        for optimiser, known in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(known)


def optimisers(model: Miniature, helpers: Helpers, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices of the blocks, scaled to AdamW's size of step (Liu et al. 2025); AdamW for all else."""
    blocks = [*model.clip.text_model.encoder.layers, *model.clip.vision_model.encoder.layers, *model.ast.layers]
    matrices = [p for layer in blocks for p in layer.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    others = [p for p in [*model.parameters(), *helpers.parameters()] if id(p) not in known]
    decayed = {"params": [p for p in others if p.ndim > 1], "weight_decay": recipe.decay, "rate": recipe.rate}
    free = {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0, "rate": recipe.rate}
    turned = [{"params": matrices, "rate": recipe.matrix_rate}]
    return [
        torch.optim.Muon(turned, lr=recipe.matrix_rate, weight_decay=recipe.decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([decayed, free], lr=recipe.rate, betas=(0.9, 0.98), fused=True),
    ]


def factor(step: int, recipe: Recipe) -> float:
    """Of the learning rate: up, level, and down in a straight line to zero."""
    return min(1.0, (step + 1) / recipe.warm_up, (recipe.steps - step) / max(1, recipe.cooling))


def average(parameters: Sequence[Tensor], flat: Tensor, workers: int) -> None:
    """The gradients, over all workers; `flat` is room for all of them."""
    torch.cat([p.new_zeros(p.numel()) if p.grad is None else p.grad.view(-1) for p in parameters], out=flat)
    if workers > 1:
        group.all_reduce(flat)
        flat /= workers
    start = 0
    for p in parameters:
        p.grad = flat[start : start + p.numel()].view_as(p)
        start += p.numel()


def work(folder: Path, meeting: Path, worker: int) -> None:
    """What one process does, from the last checkpoint to the last step."""
    torch.set_num_threads(1)
    recipe, parent = Recipe(**json.loads((folder / RECIPE).read_text())), os.getppid()
    group.init_process_group("gloo", init_method=f"file://{meeting.resolve()}", rank=worker, world_size=recipe.workers)
    run, started, means = Run(folder, recipe, worker), time.monotonic(), dict[str, float]()
    while run.step < recipe.steps and os.getppid() == parent:
        for name, loss in run.forward().items():
            means[name] = 0.98 * means.get(name, loss) + 0.02 * loss
        if worker == 0 and (run.step % recipe.checkpoint_every == 0 or run.step == recipe.steps):
            run.keep()
            told = Progress(run.step, recipe.steps, time.monotonic() - started, float(run.model.scale.detach()), means)
            with (folder / PROGRESS).open("a") as file:
                file.write(json.dumps(asdict(told)) + "\n")
    if worker == 0 and run.step == recipe.steps:
        run.model.save(folder / WEIGHTS, run.tokenizer)


def _agree(folder: Path, recipe: Recipe) -> None:
    """Refuse to go on with another recipe; only more or fewer steps are well, until the learning rate falls."""
    path, done = folder / RECIPE, folder / CHECKPOINT
    if path.exists():
        known = Recipe(**json.loads(path.read_text()))
        step = torch.load(done, weights_only=True)["step"] if done.exists() else 0
        if replace(known, steps=recipe.steps) != recipe or (known != recipe and step > min(known.cools_at, recipe.cools_at)):
            raise TrainingError(f"{path} tells another recipe than the one asked for; name a new folder, or go on with that recipe")
    path.write_text(json.dumps(asdict(recipe), indent=1) + "\n")


def _watch(workers: list[subprocess.Popen[bytes]], progress: Path, note: Callable[[Progress], None] | None) -> None:
    """Until all are done; tell what they write."""
    heard = progress.stat().st_size if progress.exists() else 0
    while any(worker.poll() is None for worker in workers):
        died = [worker.returncode for worker in workers if worker.returncode]
        if died:
            raise TrainingError(f"a training process ended with {died[0]}; start again, and it goes on from its last checkpoint")
        time.sleep(0.2)
        heard = _tell(progress, heard, note)
    _tell(progress, heard, note)
    if any(worker.returncode for worker in workers):
        raise TrainingError("a training process died; start again, and it goes on from its last checkpoint")


def _tell(progress: Path, heard: int, note: Callable[[Progress], None] | None) -> int:
    if not progress.exists() or note is None:
        return heard
    with progress.open("rb") as file:
        file.seek(heard)
        lines = file.read().splitlines(keepends=True)
    whole = [line for line in lines if line.endswith(b"\n")]
    for line in whole:
        note(Progress(**json.loads(line)))
    return heard + sum(map(len, whole))


if __name__ == "__main__":
    work(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
