"""The training loop: it learns, it repeats itself to the bit, it survives kill -9, and it says what it cannot do."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from encoders import hardware
from encoders.align.frozen import FrozenVectors, OnVectors
from encoders.align.objective import Objective
from encoders.align.optimiser import adamw, learning_rate
from encoders.align.sampling import Shuffled, mine
from encoders.align.state import NAME
from encoders.align.training import Options, train
from encoders.errors import EncoderError

ROOT = Path(__file__).parent.parent
N, HELD = 400, 60
SIZES = {"text": 24, "image": 20, "audio": 12}


def material(modalities=("text", "image"), seed=0, rows=N + HELD):
    """Views of one hidden thing through random matrices, with noise; the last rows are held out."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(rows, 8))
    views = {m: np.tanh(hidden @ rng.normal(size=(8, SIZES[m]))) + 0.1 * rng.normal(size=(rows, SIZES[m])) for m in modalities}
    return {m: (view / np.linalg.norm(view, axis=1, keepdims=True)).astype(np.float32) for m, view in views.items()}


def examples(vectors, rows=N):
    return FrozenVectors({m: array[:rows] for m, array in vectors.items()}, {m: np.arange(rows) for m in vectors})


def towers(modalities=("text", "image"), dropout=0.2, seed=0):
    torch.manual_seed(seed)
    head = {m: nn.Sequential(nn.Linear(SIZES[m], 32), nn.GELU(), nn.Dropout(dropout), nn.Linear(32, 16)) for m in modalities}
    return {m: OnVectors(one) for m, one in head.items()}


def recall(made, vectors, rows=slice(N, None)):
    """Recall@1 from text to picture on the held-out rows."""

    def measured():
        encoded = {m: tower({"vectors": torch.from_numpy(vectors[m][rows])}) for m, tower in made.items()}
        cosines = nn.functional.normalize(encoded["text"], dim=1) @ nn.functional.normalize(encoded["image"], dim=1).T
        return {"recall@1": float((cosines.argmax(1) == torch.arange(len(cosines))).float().mean())}

    return measured


def bits(modules):
    return b"".join(tensor.numpy().tobytes() for one in modules for tensor in one.state_dict().values())


OPTIONS = Options(batch=64, steps=40, learning_rate=3e-3, evaluate_every=10, metric="recall@1", seed=7)


def run(folder, options=OPTIONS, modalities=("text", "image"), **given):
    vectors = material(modalities)
    made, objective = towers(modalities), Objective()
    history = train(made, objective, examples(vectors), options, folder=folder, validate=recall(made, vectors), **given)
    return bits([*made.values(), objective]), history


def test_heads_learn_what_two_views_share(tmp_path):
    _, history = run(tmp_path, Options(batch=64, steps=150, learning_rate=3e-3, evaluate_every=50, metric="recall@1"))
    assert [one["step"] for one in history.evaluations] == [0, 50, 100, 150]
    assert history.evaluations[0]["recall@1"] < 0.2
    assert history.best > 0.8 and history.losses[-1] < history.losses[0] / 3
    assert (len(history.losses), history.stopped, history.resumed) == (150, "steps", 0)


def test_identical_seeds_give_identical_bits_and_other_seeds_do_not(tmp_path):
    one, other = run(tmp_path / "a")[0], run(tmp_path / "b")[0]
    assert one == other
    assert run(tmp_path / "c", Options(**{**vars(OPTIONS), "seed": 8}))[0] != one


def test_the_callers_generator_and_what_validation_draws_change_nothing(tmp_path):
    expected = run(tmp_path / "a")[0]
    vectors, made, objective = material(), towers(), Objective()
    measured = recall(made, vectors)
    torch.manual_seed(123)
    before = torch.get_rng_state()
    train(made, objective, examples(vectors), OPTIONS, folder=tmp_path / "b", validate=lambda: (torch.rand(17), measured())[1])
    assert bits([*made.values(), objective]) == expected
    assert (torch.get_rng_state() == before).all()


def test_chunks_give_the_whole_batchs_training(tmp_path):
    vectors, losses = material(), []
    for chunk in (0, 24):
        made = towers(dropout=0.0)
        losses.append(
            train(made, Objective(), examples(vectors), Options(batch=64, steps=20, chunk=chunk), folder=tmp_path / f"{chunk}").losses
        )
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


KILLED = """
import sys, time
sys.path[:0] = [{tests!r}]
from pathlib import Path
from dataclasses import replace
import test_training as t
t.run(Path({folder!r}), replace(t.OPTIONS, checkpoint_every=0), note=lambda step: (print(step.step, flush=True), time.sleep(0.02)))
"""


@pytest.mark.parametrize("at", [13, *(pytest.param(at, marks=pytest.mark.slow) for at in (0, 1, 20, 31))])
def test_a_training_killed_and_started_again_ends_with_the_same_bits(tmp_path, at):
    """A real process, killed with SIGKILL after it told of a step, and once more later; then the same call to its end."""
    code = KILLED.format(tests=str(ROOT / "tests"), folder=str(tmp_path / "killed"))
    for until in (at, at + 5):
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        for line in process.stdout:
            if int(line) >= until:
                break
        time.sleep(0.004 * (at % 8))  # somewhere in the next step, or in writing it down
        process.kill()
        process.wait()
        process.stdout.close()
    found, history = run(tmp_path / "killed")
    expected, undisturbed = run(tmp_path / "undisturbed")
    assert at <= history.resumed < 40
    assert found == expected
    assert (history.losses, history.evaluations, history.best_step) == (undisturbed.losses, undisturbed.evaluations, undisturbed.best_step)


def test_a_torn_write_leaves_the_last_state_in_place(tmp_path, monkeypatch):
    expected = run(tmp_path / "undisturbed")[0]

    class TornError(Exception):
        pass

    def half(state, file):
        file.write(b"half a file")
        raise TornError

    def stop_writing(step):
        if step.step == 17:
            monkeypatch.setattr(torch, "save", half)

    with pytest.raises(TornError):
        run(tmp_path / "torn", Options(**{**vars(OPTIONS), "checkpoint_every": 0}), note=stop_writing)
    monkeypatch.undo()
    found, history = run(tmp_path / "torn")
    assert (history.resumed, found) == (17, expected)


def test_a_training_that_is_over_is_not_done_again(tmp_path):
    expected, first = run(tmp_path)
    calls = []
    found, history = run(tmp_path, note=calls.append)
    assert (found, calls, history.losses, history.best) == (expected, [], first.losses, first.best)


def test_the_best_weights_are_kept_and_patience_ends_the_training(tmp_path):
    """A metric that gets worse after step 20, whatever the weights do."""
    vectors, made = material(), towers()
    values, seen = iter([0.1, 0.3, 0.5, 0.4, 0.45, 0.2]), []

    def validate():
        seen.append(bits(made.values()))
        return {"recall@1": 0.9, "mrr": next(values)}

    options = Options(batch=64, steps=200, evaluate_every=10, metric="mrr", patience=3)
    history = train(made, Objective(), examples(vectors), options, folder=tmp_path, validate=validate)
    assert (history.best_step, history.best, history.stopped, len(history.losses)) == (20, 0.5, "patience", 50)
    assert bits(made.values()) == seen[2] != seen[-1]


def test_lower_may_be_better(tmp_path):
    values = iter([3.0, 1.0, 2.0])
    options = Options(batch=64, steps=20, evaluate_every=10, metric="loss", lower=True)
    history = train(towers(), Objective(), examples(material()), options, folder=tmp_path, validate=lambda: {"loss": next(values)})
    assert (history.best_step, history.best) == (10, 1.0)


def test_without_a_metric_the_last_weights_stay(tmp_path):
    history = train(towers(), Objective(), examples(material()), Options(batch=64, epochs=2), folder=tmp_path)
    assert (history.best_step, history.best, history.evaluations, len(history.losses)) == (12, None, [], 12)


def test_towers_validate_without_dropout_train_with_it_and_end_without(tmp_path):
    vectors, made, modes, trained = material(), towers(), [], []

    def validate():
        modes.append(([one.training for one in made.values()], torch.is_grad_enabled()))
        return {"x": 1.0}

    def extra(_, outputs):
        trained.append([one.training for one in made.values()])
        return outputs["text"].new_zeros(())

    options = Options(batch=64, steps=4, evaluate_every=2)
    train(made, Objective(), examples(vectors), options, folder=tmp_path, validate=validate, extra=extra)
    assert modes == [([False, False], False)] * 3
    assert trained == [[True, True]] * 4
    assert not any(one.training for one in made.values())


def test_every_step_is_told_with_its_rate_and_losses(tmp_path):
    steps = []
    _, history = run(tmp_path, Options(batch=64, steps=12, evaluate_every=6, warm_up=0.25, learning_rate=1e-2), note=steps.append)
    assert [one.step for one in steps] == [*range(13)]
    assert math.isnan(steps[0].loss) and [one.loss for one in steps[1:]] == history.losses
    assert [one.rate for one in steps[1:4]] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2])
    assert [bool(one.metrics) for one in steps] == [number in {0, 6, 12} for number in range(13)]
    assert steps[12].epoch == 2 and steps[12].parts.keys() == {"text-image"}


def test_a_loss_that_is_not_a_number_ends_with_step_and_learning_rate(tmp_path):
    vectors = material()
    vectors["image"][5] = np.nan
    with pytest.raises(EncoderError, match=r"the loss is nan at step \d+ of 40, at a learning rate of \d.*\(text-image nan\); use a lower"):
        train(towers(), Objective(), examples(vectors), Options(batch=64, steps=40), folder=tmp_path)
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        (0, Options(batch=2, steps=1), "needs at least two, got 0"),
        (1, Options(batch=2, steps=1), "needs at least two, got 1"),
        (9, Options(batch=10, steps=1), "batch = 10 is more than the 9 examples"),
        (9, Options(batch=1, steps=1), "batch = 1:"),
        (9, Options(batch=4), "give one of them"),
        (9, Options(batch=4, steps=1, epochs=1), "give one of them"),
        (9, Options(batch=4, steps=1, learning_rate=0), "learning_rate = 0"),
        (9, Options(batch=4, steps=1, learning_rate=math.nan), "learning_rate = nan"),
        (9, Options(batch=4, steps=1, warm_up=2), "warm_up = 2"),
        (9, Options(batch=4, steps=1, chunk=-1), "chunk = -1"),
        (9, Options(batch=4, steps=1, metric="mrr"), "needs a validation"),
        (9, Options(batch=4, steps=1, patience=2), "patience = 2"),
        (9, Options(batch=4, steps=1, dtype="float16"), "float16"),
        (9, Options(batch=4, steps=1, dtype="int8"), "int8"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, rows, options, told):
    with pytest.raises(EncoderError, match=told):
        train(towers(), Objective(), examples(material(rows=9), rows), options, folder=tmp_path)


def test_examples_without_a_pair_are_refused(tmp_path):
    vectors = material()
    ids = {"text": np.arange(N), "image": np.where(np.arange(N) < 3, -1, np.arange(N))}
    with pytest.raises(EncoderError, match="3 of 400 examples have fewer than two of text, image"):
        train(towers(), Objective(), FrozenVectors(vectors, ids), Options(batch=64, steps=1), folder=tmp_path)


def test_a_metric_that_validation_does_not_give_is_refused_with_those_it_does(tmp_path):
    with pytest.raises(EncoderError, match="'mrr' is none that validation gives; use one of recall@1"):
        run(tmp_path, Options(batch=64, steps=1, metric="mrr"))


@pytest.mark.parametrize("change", ["batch", "learning_rate", "examples", "head", "first weights", "scale"])
def test_another_trainings_folder_is_refused(tmp_path, change):
    run(tmp_path)
    options = {"batch": Options(**{**vars(OPTIONS), "batch": 32}), "learning_rate": Options(**{**vars(OPTIONS), "learning_rate": 1e-4})}
    vectors = material(seed=1 if change == "examples" else 0)
    made = towers()
    if change == "head":
        made["text"] = OnVectors(nn.Linear(SIZES["text"], 16))
    if change == "first weights":
        nn.init.zeros_(made["text"].head[0].weight)
    named = change if change in {"batch", "learning_rate", "examples"} else "weights"
    objective = Objective(scale=50.0 if change == "scale" else None)
    with pytest.raises(EncoderError, match=rf"is of another training: {named} .*another folder"):
        train(made, objective, examples(vectors), options.get(change, OPTIONS), folder=tmp_path, validate=recall(made, vectors))


def test_a_file_that_is_no_state_is_refused(tmp_path):
    (tmp_path / NAME).write_bytes(b"nonsense")
    with pytest.raises(EncoderError, match="is no state of a training"):
        run(tmp_path)


def test_three_modalities_of_which_rows_may_lack_one(tmp_path):
    modalities = ("text", "image", "audio")
    vectors = material(modalities)
    ids = {m: np.arange(N) for m in modalities}
    ids["audio"] = np.where(np.arange(N) % 3 == 0, -1, ids["audio"])
    made, steps = towers(modalities), []
    train(
        made, Objective(), FrozenVectors(vectors, ids), Options(batch=64, steps=60, learning_rate=3e-3), folder=tmp_path, note=steps.append
    )
    assert steps[-1].parts.keys() == {"text-image", "text-audio", "image-audio"}
    for name, value in steps[-1].parts.items():
        assert value < steps[1].parts[name] / 2


def test_mined_negatives_are_trained_against(tmp_path):
    """The candidates grow by one a row; without its chunks, and with them, the losses are the same, and higher than without negatives."""
    vectors, losses = material(), {}
    mined = mine(vectors["text"][:N, :16], vectors["image"][:N, :16], np.arange(N), np.arange(N), 2, most=0)
    for name, options, negatives in (
        ("none", Options(batch=64, steps=5), None),
        ("mined", Options(batch=64, steps=5), {"image": mined}),
        ("chunks", Options(batch=64, steps=5, chunk=30), {"image": mined}),
    ):
        ex = examples(vectors)
        losses[name] = train(towers(dropout=0.0), Objective(), ex, options, folder=tmp_path / name, negatives=negatives).losses
    assert losses["mined"][0] > losses["none"][0] + 0.1
    np.testing.assert_allclose(losses["mined"], losses["chunks"], rtol=1e-4)


def test_negatives_that_are_no_examples_are_refused(tmp_path):
    with pytest.raises(EncoderError, match="name examples that do not exist"):
        train(towers(), Objective(), examples(material()), OPTIONS_PLAIN, folder=tmp_path, negatives={"image": np.full((N, 1), N)})
    with pytest.raises(EncoderError, match=r"negatives have shape \(3, 1\)"):
        train(towers(), Objective(), examples(material()), OPTIONS_PLAIN, folder=tmp_path, negatives={"image": np.zeros((3, 1), int)})


OPTIONS_PLAIN = Options(batch=64, steps=10)


class Guess(nn.Module):
    """A training-only loss with weights of its own: guess a label from the hidden states that a tower returns beside its vectors."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(16, 2)

    def forward(self, batch, outputs):
        hidden = outputs["text"]["hidden"]
        assert len(hidden) == len(batch.encoded["text"])
        return nn.functional.cross_entropy(self.layer(hidden), torch.from_numpy(batch.encoded["text"] % 2))


class Telling(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, inputs):
        out = self.inner(inputs)
        return {"vectors": out, "hidden": out.tanh()}


@pytest.mark.parametrize("chunk", [0, 24])
def test_a_further_loss_is_trained_along_and_survives_a_restart(tmp_path, chunk):
    results = []
    for name in ("whole", "stopped"):
        for stop in [4, 10] if name == "stopped" else [10]:
            made = towers()
            made["text"] = Telling(made["text"])
            torch.manual_seed(3)
            guess, steps = Guess(), []

            def note(step, stop=stop, steps=steps):
                steps.append(step)
                if step.step == stop < 10:
                    raise KeyboardInterrupt

            try:
                options = Options(batch=64, steps=10, chunk=chunk, checkpoint_every=0)
                train(made, Objective(), examples(material()), options, folder=tmp_path / name, extra=guess, note=note)
            except KeyboardInterrupt:
                continue
        results.append(bits([*made.values(), guess]))
        assert steps[-1].parts.keys() == {"text-image", "extra"}
    assert results[0] == results[1]
    torch.manual_seed(3)
    assert bits([guess]) != bits([Guess()]), "its weights are trained too"


def test_frozen_parameters_stay_and_are_not_stored(tmp_path):
    made = towers()
    frozen = made["image"].head[0].requires_grad_(False)
    before = bits([frozen])
    train(made, Objective(), examples(material()), OPTIONS_PLAIN, folder=tmp_path)
    stored = torch.load(tmp_path / NAME, weights_only=True)["weights"]
    assert bits([frozen]) == before
    assert not [name for name in stored if name.startswith("towers.image.head.0")] and "towers.image.head.3.weight" in stored


def test_only_matrices_decay():
    module = nn.ModuleDict({"linear": nn.Linear(4, 4), "norm": nn.LayerNorm(4), "objective": Objective("sigmoid")})
    optimiser = adamw(module.parameters(), 0.1, (0.9, 0.98))
    decaying = {id(one) for group in optimiser.param_groups if group["weight_decay"] for one in group["params"]}
    assert decaying == {id(module["linear"].weight)}
    assert sum(len(group["params"]) for group in optimiser.param_groups) == 6


def test_the_learning_rate_rises_and_falls_as_pytorchs_schedulers_do():
    """Against LinearLR and CosineAnnealingLR in a row."""
    weight = nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=0.5)
    warm = torch.optim.lr_scheduler.LinearLR(optimiser, 1 / 10, 1.0, total_iters=9)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=90, eta_min=0.05)
    expected = []
    for step in range(100):
        expected.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if step < 9:
            warm.step()
        elif step == 9:
            optimiser.param_groups[0]["lr"] = 0.5
        else:
            cosine.step()
    found = [learning_rate(step, 100, 0.5, 0.1, 0.1) for step in range(100)]
    np.testing.assert_allclose(found[:10], expected[:10], rtol=1e-9)
    np.testing.assert_allclose(found[11:], expected[11:], rtol=1e-9)


@pytest.mark.skipif(not hardware.bfloat16_in_silicon(), reason="this processor has no bfloat16")
@pytest.mark.parametrize("chunk", [0, 24])
def test_bfloat16_learns_as_well_with_weights_in_float32(tmp_path, chunk):
    vectors, made = material(), towers()
    options = Options(batch=64, steps=150, learning_rate=3e-3, chunk=chunk, dtype="bfloat16")
    train(made, Objective(), examples(vectors), options, folder=tmp_path)
    assert made["text"].head[0].weight.dtype == torch.float32
    with torch.no_grad():
        assert recall(made, vectors)()["recall@1"] > 0.7


def test_bfloat16_where_it_would_be_emulated_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "bfloat16_in_silicon", lambda: False)
    with pytest.raises(EncoderError, match="cpu has no bfloat16 of its own"):
        train(towers(), Objective(), examples(material()), Options(batch=64, steps=1, dtype="bfloat16"), folder=tmp_path)
    train(towers(), Objective(), examples(material()), Options(batch=64, steps=1, dtype="auto"), folder=tmp_path)


def test_an_order_of_ones_own_decides_the_rows(tmp_path):
    class Pairs(Shuffled):
        def __call__(self, step):
            return np.concatenate([rows := super().__call__(step)[:32], rows ^ 1])

    seen = []

    def extra(batch, outputs):
        seen.append(batch.rows)
        return outputs["text"].new_zeros(())

    train(towers(), Objective(), examples(material()), OPTIONS_PLAIN, folder=tmp_path, order=Pairs(N, 64, 0), extra=extra)
    assert len(seen) == 10 and all((rows[:32] ^ 1 == rows[32:]).all() for rows in seen)
