"""How fast heads are trained on frozen vectors, beside a plain PyTorch loop and sentence-transformers' trainer; and GradCache's memory.

    python -m benchmarks.align [--pairs 20000] [--batch 2048] [--steps 20] [--rounds 3]

All three train the same heads (`encoders.align.heads`, vectors of 384 and 512 numbers into 256) with the same symmetric InfoNCE, batch,
optimiser (AdamW, fused) and vectors, each in a process of its own, in turn, on one thread by CPU time, in float32: pairs a second over the
steps after a few to warm up, and the peak of resident memory with how much it grew since the step before the first. sentence-transformers
gets row numbers as its data set and looks the vectors up in its collator, which is faster than lists of numbers; its temperature is fixed.

GradCache: one step of two towers (transformers of 4 layers, 128 wide, on 32 tokens) with a batch of 512, whole and in chunks.

sentence-transformers' trainer needs the extras "dev" and "benchmark".
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import material

WIDTHS, DIMENSION, HIDDEN = {"text": 384, "image": 512}, 256, 1024
WARM = 3  # steps before the clock starts
RATE, DECAY, BETAS = 1e-3, 0.05, (0.9, 0.98)
WAYS = ("plain", "ours", "sentence_transformers")
TOKENS, WIDE, CHUNKED = 32, 128, 512


def main() -> None:
    """Measure and print one JSON object: each round's figures, and the medians of their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--kinds", nargs="+", choices=["linear", "mlp"], default=["linear", "mlp"])
    parser.add_argument("--chunk", type=int, default=64, help="of GradCache; 0 leaves it out")
    asked = parser.parse_args()
    size = {"pairs": asked.pairs, "batch": asked.batch, "steps": asked.steps}
    rounds = {kind: [{way: _isolated(way, kind=kind, **size) for way in asked.ways} for _ in range(asked.rounds)] for kind in asked.kinds}
    print(
        json.dumps(
            {
                "machine": material.machine(),
                **size,
                "medians": {kind: _medians(measured) for kind, measured in rounds.items()},
                "rounds": rounds,
                "grad_cache": _grad_cache(asked.chunk) if asked.chunk else {},
            },
            indent=1,
        )
    )


def _medians(rounds: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Of each way's pairs a second, and of the ratios to ours within a round."""
    found = {f"{way}_pairs_per_second": statistics.median(one[way]["pairs_per_second"] for one in rounds) for way in rounds[0]}
    for way in rounds[0]:
        if way != "ours" and "ours" in rounds[0]:
            found[f"of_{way}"] = statistics.median(one["ours"]["pairs_per_second"] / one[way]["pairs_per_second"] for one in rounds)
    return {name: round(value, 3) for name, value in found.items()}


def _grad_cache(chunk: int) -> dict[str, Any]:
    whole, chunks = _isolated("grown", chunk=0), _isolated("grown", chunk=chunk)
    return {
        "batch": CHUNKED,
        "chunk": chunk,
        "whole": whole,
        "chunks": chunks,
        "of_the_memory": round(chunks["grown_mb"] / whole["grown_mb"], 3),
        "of_the_time": round(chunks["seconds"] / whole["seconds"], 3),
    }


def _isolated(what: str, **given: Any) -> dict[str, float]:
    """What a function of this module returns, from a process of its own with one thread."""
    code = f"import json; from benchmarks import align; print(json.dumps(align.{what}(**{given!r})))"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


class Clock:
    """CPU time and memory from the end of the last warming step on."""

    def __init__(self, batch: int) -> None:
        self.batch, self.steps = batch, 0
        self.standing = _peak()

    def tick(self) -> None:
        """A step is over."""
        self.steps += 1
        if self.steps == WARM:
            self.began = time.process_time()
        self.ended = time.process_time()

    def figures(self, loss: float) -> dict[str, float]:
        """Pairs a second, and memory in MB."""
        pairs = (self.steps - WARM) * self.batch
        return {
            "pairs_per_second": round(pairs / (self.ended - self.began)),
            "peak_mb": round(_peak()),
            "grown_mb": round(_peak() - self.standing),
            "loss": round(loss, 4),
        }


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _vectors(pairs: int) -> dict[Any, np.ndarray]:
    """Two noisy views of one hidden thing, unit float32 (pairs, width)."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(pairs, 64)).astype(np.float32)
    views = {name: hidden @ rng.normal(size=(64, width)).astype(np.float32) for name, width in WIDTHS.items()}
    noisy = {name: view + 4 * rng.standard_normal(view.shape, np.float32) for name, view in views.items()}
    return {name: view / np.linalg.norm(view, axis=1, keepdims=True) for name, view in noisy.items()}


def _heads(kind: Any) -> dict[Any, Any]:
    import torch

    from encoders.align.heads import Head

    torch.manual_seed(0)
    return {name: Head(kind, width, DIMENSION, HIDDEN if kind == "mlp" else 0) for name, width in WIDTHS.items()}


def ours(kind: str, pairs: int, batch: int, steps: int) -> dict[str, float]:
    """`encoders.align.training.train`, as `sensorium align` calls it."""
    from encoders.align.frozen import FrozenVectors, OnVectors
    from encoders.align.objective import Objective
    from encoders.align.training import Options, train

    vectors, heads = _vectors(pairs), _heads(kind)
    examples = FrozenVectors(vectors, {name: np.arange(pairs) for name in vectors})
    options = Options(batch=batch, steps=steps + WARM, learning_rate=RATE, weight_decay=DECAY, betas=BETAS)
    clock = Clock(batch)
    with tempfile.TemporaryDirectory() as folder:
        towers = {name: OnVectors(head) for name, head in heads.items()}
        history = train(towers, Objective(), examples, options, folder=Path(folder), note=lambda step: clock.tick() if step.step else None)
    return clock.figures(history.losses[-1])


def plain(kind: str, pairs: int, batch: int, steps: int) -> dict[str, float]:
    """What one writes by hand."""
    import math

    import torch
    from torch.nn import functional

    heads = _heads(kind)
    text, image = (torch.from_numpy(view) for view in _vectors(pairs).values())
    log_scale = torch.nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    parameters = [*heads["text"].parameters(), *heads["image"].parameters()]
    groups = [
        {"params": [one for one in parameters if one.ndim > 1], "weight_decay": DECAY},
        {"params": [*(one for one in parameters if one.ndim < 2), log_scale], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps + WARM)
    right, order, clock = torch.arange(batch), torch.empty(0, dtype=torch.int64), Clock(batch)
    for _ in range(steps + WARM):
        if len(order) < batch:
            order = torch.randperm(pairs)
        rows, order = order[:batch], order[batch:]
        logits = log_scale.exp() * heads["text"](text[rows]) @ heads["image"](image[rows]).T
        loss = (functional.cross_entropy(logits, right) + functional.cross_entropy(logits.T, right)) / 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        log_scale.data.clamp_(max=math.log(100))
        last = loss.item()
        clock.tick()
    return clock.figures(last)


def sentence_transformers(kind: str, pairs: int, batch: int, steps: int) -> dict[str, float]:
    """SentenceTransformerTrainer on a model of one module, with its InfoNCE in both directions."""
    import torch
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.base.modules.module import Module
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    class Heads(Module):
        """Both heads; which one is taken, the collator's task says."""

        def __init__(self, heads: Any) -> None:
            super().__init__()
            self.heads = torch.nn.ModuleDict(heads)

        def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
            return features | {"sentence_embedding": self.heads[features["task"]](features["sentence_embedding"])}

        def save(self, *_: Any, **__: Any) -> None: ...

    class Ticking(TrainerCallback):
        """The clock's steps and the last loss."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    views = {name: torch.from_numpy(view) for name, view in _vectors(pairs).items()}

    def looked_up(rows: list[int], task: str, **_: Any) -> dict[str, Any]:
        return {"sentence_embedding": views[task][torch.tensor(rows)]}

    with tempfile.TemporaryDirectory() as folder:
        model = SentenceTransformer(modules=[Heads(_heads(kind))], device="cpu")
        arguments = SentenceTransformerTrainingArguments(
            folder,
            per_device_train_batch_size=batch,
            max_steps=steps + WARM,
            learning_rate=RATE,
            weight_decay=DECAY,
            adam_beta2=BETAS[1],
            lr_scheduler_type="cosine",
            optim="adamw_torch_fused",
            max_grad_norm=0.0,
            dataloader_drop_last=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = SentenceTransformerTrainer(
            model,
            arguments,
            train_dataset=Dataset.from_dict({name: range(pairs) for name in views}),
            loss=MultipleNegativesRankingLoss(
                model, scale=1 / 0.07, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"
            ),
            data_collator=SentenceTransformerDataCollator(preprocess_fn=looked_up, router_mapping={name: name for name in views}),
            callbacks=[Ticking()],
        )
        clock = Clock(batch)
        done = trainer.train()
    return clock.figures(done.training_loss)


def grown(chunk: int, steps: int = 1) -> dict[str, float]:
    """Memory that a step of two towers takes on top of what stood before them, and their CPU time."""
    import torch
    from torch import nn

    from encoders.align.grad_cache import backward
    from encoders.align.objective import Objective

    class Tower(nn.Module):
        """Embedded tokens through a transformer, averaged."""

        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(1000, WIDE)
            layer = nn.TransformerEncoderLayer(WIDE, 4, 4 * WIDE, dropout=0.1, activation="gelu", batch_first=True, norm_first=True)
            self.layers = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)

        def forward(self, inputs: dict[str, Any]) -> Any:
            return self.layers(self.tokens(inputs["tokens"])).mean(1)

    torch.manual_seed(0)
    towers: dict[Any, Any] = {name: Tower() for name in WIDTHS}
    inputs: dict[Any, Any] = {name: {"tokens": torch.randint(0, 1000, (CHUNKED, TOKENS))} for name in WIDTHS}
    ids: dict[Any, Any] = {name: torch.arange(CHUNKED) for name in WIDTHS}
    objective = Objective()
    standing, began = _peak(), time.process_time()
    for _ in range(steps):
        backward(towers, inputs, lambda out: objective(out, ids), chunk)
    seconds = (time.process_time() - began) / steps
    return {"grown_mb": round(_peak() - standing), "seconds": round(seconds, 2)}


if __name__ == "__main__":
    main()
