"""From pairs to a space: strangers come together, nothing of the other sides is learned from, faults are counted, kills change nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from pair_world import STRANGERS, world, write_pairs
from safetensors.torch import load_file

from encoders import registry
from encoders.align import card as cards
from encoders.align import heads
from encoders.errors import EncoderError
from encoders.spaces import load_encoders, load_space
from encoders.stacking import alone
from encoders.weights import locate
from flows.align_direct import align_direct
from flows.align_opening import open_alignment
from flows.direct import embed_direct
from flows.embed_opening import open_run
from flows.settings import AlignSettings, EmbedSettings, SettingsError
from flows.settings_given import align_settings
from retrieval.query import Searcher
from storage import table
from tasks.pairs import PairsError
from tasks.plan import RefusedError

ROOT = Path(__file__).parent.parent
HALVES = ['name = "halves"'] + [f'[{m}]\nencoder = "clip-{m}"\nweights = "package:miniature/clip"' for m in ("text", "image")]
SIDES = {"train": 0.6, "validation": 0.2, "test": 0.2}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    """100 pictures with captions, and strangers for encoders."""
    folder = tmp_path_factory.mktemp("pairs") / "bucket"
    rows = world(folder, 100, sounds=False)
    (folder / "strangers.toml").write_text(STRANGERS)
    write_pairs(folder / "pairs.jsonl", rows)
    return folder


@pytest.fixture
def rows(bucket):
    return [json.loads(line) for line in (bucket / "pairs.jsonl").read_text().splitlines()]


def asked(bucket, out, **more):
    settings = {"pairs": str(bucket / "pairs.jsonl"), "space": str(bucket / "strangers.toml"), "name": "new", "out": str(out)}
    return AlignSettings(**{**settings, "shares": SIDES, "steps": 60, "evaluate_every": 20, "workers": 2} | more)


def align(bucket, out, **more):
    return align_direct(open_alignment(asked(bucket, out, **more)))


@pytest.fixture(scope="module")
def aligned(bucket, tmp_path_factory):
    """A space and its account."""
    out = tmp_path_factory.mktemp("aligned")
    return out / "new", align(bucket, out)


@pytest.fixture
def again(aligned, tmp_path):
    """A folder in which the vectors are already, so that only training is left."""
    shutil.copytree(aligned[0] / "vectors", tmp_path / "new" / "vectors")
    return tmp_path


def weights(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.safetensors"))}


def test_strangers_come_together(aligned):
    _, account = aligned
    assert account["pairs"] | {"rows": 100, "too_few": 0, "duplicates": 0, "incomplete": 0, "copies": 0} == account["pairs"]
    assert account["objects"] == {"text": {"named": 100, "embedded": 100}, "image": {"named": 100, "embedded": 100}}
    for direction in ("text>image", "image>text"):
        figures = account["test"]["directions"][direction]
        assert figures["queries"] == account["pairs"]["test"] > 10
        assert figures["after"]["recall@5"]["value"] > 0.6, "chance is a quarter"
        assert "before" not in figures, "vectors of different dimensions cannot be compared"


def test_the_space_embeds_and_answers_like_any_other(aligned, bucket, tmp_path):
    folder, account = aligned
    settings = EmbedSettings(source=str(bucket / "pictures"), database=str(tmp_path / "lance"), space=str(folder / "space.toml"))
    assert embed_direct(open_run(settings)).embedded == 100
    searcher = Searcher(str(tmp_path / "lance"))
    assert table.generation(table.open_table(table.connect(str(tmp_path / "lance")), "media")) == account["generation"]
    pairs = [json.loads(line) for line in (bucket / "pairs.jsonl").read_text().splitlines()]
    first = [any(row["image"] in hit.uri for hit in searcher.search(row["text"], limit=5)) for row in pairs[:40]]
    assert np.mean(first) > 0.6


def test_only_what_the_pairs_name_is_embedded(bucket, aligned):
    (bucket / "pictures" / "nobody.png").write_bytes((bucket / "pictures" / "0.png").read_bytes() + b" ")
    db = table.connect(str(aligned[0] / "vectors"))
    assert table.present(table.open_table(db, "image"), f"file://{bucket}").height == 100


def test_the_same_again_is_done_at_once_and_another_is_refused_until_it_may_replace(aligned, bucket, again):
    shutil.copytree(aligned[0], again / "new", dirs_exist_ok=True)
    began = time.monotonic()
    account = align(bucket, again)
    assert account["generation"] == aligned[1]["generation"]
    assert account["test"] == aligned[1]["test"]
    assert time.monotonic() - began < 20
    with pytest.raises(RefusedError, match="made with other seed"):
        align(bucket, again, seed=2)
    assert align(bucket, again, seed=2, replace=True)["generation"] != aligned[1]["generation"]


def test_the_same_seed_gives_the_same_weights_whatever_order_the_pairs_stand_in(bucket, aligned, again, rows):
    write_pairs(bucket / "shuffled.jsonl", rows[::-1])
    account = align(bucket, again, pairs=str(bucket / "shuffled.jsonl"))
    assert weights(again / "new") == weights(aligned[0])
    assert account["generation"] == aligned[1]["generation"]


def test_training_reads_nothing_of_the_test_side(bucket, aligned, again):
    alignment = open_alignment(asked(bucket, again))
    for modality in alignment.modalities:
        embed_direct(alignment.bucket_run(modality))
    test = alignment.divide().side("test")
    db = table.connect(str(again / "new" / "vectors"))
    for modality in alignment.modalities:
        names = ", ".join(f"'{content}'" for content in test.get_column(f"{modality}_content").unique())
        table.open_table(db, modality).update(where=f"content_hash IN ({names})", values={"vector": _poison(alignment.bases[modality])})
    account = align(bucket, again)
    assert weights(again / "new") == weights(aligned[0])
    assert account["test"] != aligned[1]["test"], "the poison was there"


def test_a_wrong_caption_of_a_test_picture_changes_no_weight(bucket, aligned, again, rows):
    alignment = open_alignment(asked(bucket, again))
    for modality in alignment.modalities:
        embed_direct(alignment.bucket_run(modality))
    numbers = set(alignment.divide().side("test").get_column("row"))
    write_pairs(bucket / "poisoned.jsonl", [row | ({"text": f"poison {n}"} if n in numbers else {}) for n, row in enumerate(rows)])
    account = align(bucket, again, pairs=str(bucket / "poisoned.jsonl"))
    assert weights(again / "new") == weights(aligned[0])
    assert account["test"]["directions"]["text>image"]["after"]["mrr"]["value"] < 0.5


def _poison(dimension):
    vector = np.zeros(dimension, np.float32)
    vector[7] = 1
    return vector.tolist()


def test_every_fault_of_a_pair_is_counted(bucket, again, rows):
    shutil.copy(bucket / rows[0]["image"], bucket / "copy.png")
    (bucket / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    faults = [
        rows[0],
        {"text": "another caption of one picture", "image": rows[1]["image"]},
        {"text": rows[0]["text"], "image": "copy.png"},
        {"text": "gone", "image": "gone.png"},
        {"text": "unreadable", "image": "broken.png"},
        {"text": "somewhere else", "image": "s3://elsewhere/a.png"},
        {"text": "no picture", "image": "strangers.toml"},
        {"text": "alone", "image": ""},
        {"text": None, "image": None},
    ]
    write_pairs(bucket / "faults.jsonl", rows + faults)
    account = align(bucket, again, pairs=str(bucket / "faults.jsonl"), steps=2)
    images = account["objects"]["image"]
    assert images == {"named": 105, "embedded": 101, "corrupt": 1, "missing": 1, "outside the source": 1, "of no readable type": 1}
    counts = account["pairs"]
    assert (counts["too_few"], counts["duplicates"], counts["incomplete"], counts["copies"]) == (2, 1, 4, 1)
    assert counts["rows"] == 109 == sum(counts[k] for k in ("too_few", "duplicates", "incomplete", "copies", "train", "validation", "test"))
    assert counts["one_to_many"] == {"image>text": 1, "text>image": 1}


def test_early_stop_keeps_the_best_weights(bucket, again):
    account = align(bucket, again, steps=400, evaluate_every=5, patience=2, metric="text>image recall@1")
    assert account["stopped"] == "patience"
    assert account["steps"] < 400
    card = cards.read(again / "new")
    values = [each["text>image recall@1"] for each in card["history"]["evaluations"]]
    assert account["metric"]["value"] == max(values)
    assert account["metric"]["step"] == 5 * values.index(max(values))


def test_what_is_kept_stays_as_it_is(bucket, again):
    account = align(bucket, again, keep=("image",), steps=20)
    assert account["dimension"] == 128
    assert not (again / "new" / "image.safetensors").exists()
    space = load_space(account["space"])
    assert space.encoders["image"].fingerprint == load_encoders("miniature")["image"].fingerprint
    assert space.encoders["text"].head


def test_what_is_kept_keeps_its_calibration(bucket, tmp_path):
    account = align(bucket, tmp_path, space="miniature", keep=("image",), steps=20)
    made, shipped = load_space(account["space"]), load_space("miniature")
    assert made.encoders["image"].fingerprint == shipped.encoders["image"].fingerprint
    assert made.encoders["text"].base == shipped.encoders["text"].base != made.encoders["text"]


def test_what_is_kept_keeps_its_trained_head(bucket, aligned, tmp_path):
    """A new text encoder comes into a space that was aligned before: tables of its pictures stay good."""
    pictures = load_space(str(aligned[0] / "space.toml")).encoders["image"]
    sections = (
        (aligned[0] / "space.toml").read_text().split("[image]")[1].replace('"image.safetensors"', f'"{aligned[0]}/image.safetensors"')
    )
    toml = tmp_path / "newcomer.toml"
    toml.write_text(f'name = "newcomer"\n[text]\nencoder = "bag-of-words"\ndimension = 200\n[image]{sections}')
    made = load_space(align(bucket, tmp_path, space=str(toml), keep=("image",), steps=20)["space"])
    assert made.encoders["image"].fingerprint == pictures.fingerprint
    assert made.encoders["text"].dimension == pictures.dimension


@pytest.mark.slow
def test_encoders_learn_too_and_are_saved_with_the_space(bucket, tmp_path, rows):
    (bucket / "halves.toml").write_text("\n".join(HALVES))
    write_pairs(bucket / "renamed.jsonl", [row | {"text": " ".join(word[::-1] for word in row["text"].split())} for row in rows])
    more = {"space": str(bucket / "halves.toml"), "pairs": str(bucket / "renamed.jsonl"), "keep": ("image",), "train": "last:1"}
    account = align(bucket, tmp_path, **more, steps=40, batch=48, chunk=24, learning_rate=3e-3, evaluate_every=20, calibrate=False)
    assert not list((tmp_path / "new").glob("*.safetensors")), "the dimensions agree: no head is needed"
    before, after = (figures["mrr"]["value"] for figures in (account["test"]["directions"]["text>image"][w] for w in ("before", "after")))
    assert after > before + 0.1
    old, new = load_space("miniature").encoders, load_space(account["space"]).encoders
    assert Path(new["text"].weights).is_relative_to(tmp_path / "new" / "towers")
    assert new["image"].digest == old["image"].digest, "it was kept"
    first, last = (load_file(locate(spec.weights) / "model.safetensors") for spec in (old["text"], new["text"]))
    changed = {name for name in last if not torch.equal(last[name], first[name].float())}
    assert changed
    assert not {name for name in changed if name.startswith("vision") or ".layers.0." in name or "embedding" in name}
    vectors = [registry.build(space["text"]).encode(alone(registry.build(space["text"]).prepare("god"))) for space in (old, new)]
    assert not np.allclose(*vectors)


@pytest.mark.slow
def test_encoders_learn_from_nothing(bucket, tmp_path):
    """Random weights know nothing, so the loss begins at that of guessing; the same seed begins and ends at the same weights."""
    (bucket / "halves.toml").write_text("\n".join(HALVES))
    more = {"space": str(bucket / "halves.toml"), "train": "scratch", "calibrate": False, "batch": 32, "chunk": 16, "evaluate_every": 40}
    account = align(bucket, tmp_path / "a", **more, steps=40)
    losses = cards.read(tmp_path / "a" / "new")["history"]["losses"]
    assert losses[0] == pytest.approx(np.log(32), abs=0.5)
    assert np.mean(losses[-5:]) < losses[0] - 0.4
    old, new = load_space("miniature").encoders, load_space(account["space"]).encoders
    for modality in ("text", "image"):
        assert Path(new[modality].weights).is_relative_to(tmp_path / "a" / "new" / "towers")
        first, last = (load_file(locate(spec.weights) / "model.safetensors") for spec in (old[modality], new[modality]))
        matrix = next(name for name in last if name.startswith(modality.replace("image", "vision")) and name.endswith("fc1.weight"))
        alike = torch.nn.functional.cosine_similarity(last[matrix].flatten(), first[matrix].float().flatten(), 0)
        assert abs(alike) < 0.1, "nothing is left of what the encoder knew"
    digests = [load_space(align(bucket, tmp_path / name, **more, steps=2)["space"]).encoders["text"].digest for name in "bc"]
    assert digests[0] == digests[1]


def test_encoders_that_cannot_learn_are_refused(bucket, tmp_path):
    with pytest.raises(SettingsError, match="the weights of text's encoder 'bag-of-words' cannot be trained"):
        open_alignment(asked(bucket, tmp_path, train="all"))


def test_hard_negatives_and_other_losses_train_too(bucket, again):
    account = align(bucket, again, loss="sigmoid", head="linear", hard_negatives=2, steps=30)
    assert account["test"]["directions"]["text>image"]["after"]["recall@10"]["value"] > 0.5


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"metric": "recall@3"}, SettingsError, "metric = 'recall@3' is none that validation gives"),
        ({"metric": "text>audio mrr"}, SettingsError, "allowed are"),
        ({"keep": ("text", "image")}, SettingsError, "nothing is left to train"),
        ({"keep": ("image",), "dimension": 64}, SettingsError, "must have the dimension of the space, 64, and have image: 128"),
        ({"space": "nowhere.toml"}, EncoderError, "there is no space and no file"),
        ({"pairs": "nowhere.csv"}, PairsError, "there is no file"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_any_work(bucket, tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        open_alignment(asked(bucket, tmp_path, **change))
    assert not list(tmp_path.iterdir())


def test_a_space_that_exists_is_calibrated_without_training(bucket, tmp_path):
    account = align(bucket, tmp_path, space="miniature", train="none")
    assert (account["steps"], account["loss"], account["dimension"]) == (0, None, 128)
    figures = account["calibration"]["figures"]
    none, chosen = figures["none"], figures[account["calibration"]["chosen"]]
    assert chosen["mixed recall@1"] > none["mixed recall@1"] + 0.05
    space = load_space(account["space"])
    for modality in ("text", "image"):
        head = heads.load(tmp_path / "new" / f"{modality}.safetensors")
        assert head.form.kind == "identity"
        assert head.center is not None
        assert space.encoders[modality].base == load_encoders("miniature")[modality]
    assert align(bucket, tmp_path, space="miniature", train="none") == account, "the same asked again is done already"


def test_a_space_of_heads_is_calibrated_behind_them(bucket, tmp_path):
    align(bucket, tmp_path, name="open", calibrate=False, head="linear")
    space = tmp_path / "open/space.toml"
    account = align(bucket, tmp_path, space=str(space), name="closed", train="none")
    chosen = account["calibration"]["chosen"]
    for modality, spec in load_space(account["space"]).encoders.items():
        before, after = (load_file(tmp_path / name / f"{modality}.safetensors") for name in ("open", "closed"))
        assert spec.base == load_space(str(space)).encoders[modality].base
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        assert set(after) - set(before) == {"none": set(), "center": {"center"}}.get(chosen, {"center", "projection"})
    with pytest.raises(SettingsError, match="text is calibrated already"):
        open_alignment(asked(bucket, tmp_path, space=account["space"], name="again", train="none"))


def test_without_training_strangers_are_refused_and_so_is_nothing_to_do(bucket, tmp_path):
    with pytest.raises(SettingsError, match="text: 256, image: 128 numbers, and share no space yet; train heads"):
        open_alignment(asked(bucket, tmp_path, train="none"))
    with pytest.raises(SettingsError, match="leaves nothing to do"):
        open_alignment(asked(bucket, tmp_path, space="miniature", train="none", calibrate=False))


def test_a_column_without_encoder_and_a_space_with_heads_are_refused(bucket, aligned, tmp_path):
    write_pairs(bucket / "audio.jsonl", [{"text": "a", "audio": "a.wav"}])
    with pytest.raises(PairsError, match="has no encoder for audio, only for text, image"):
        open_alignment(asked(bucket, tmp_path, pairs=str(bucket / "audio.jsonl")))
    with pytest.raises(SettingsError, match="has a head already"):
        open_alignment(asked(bucket, tmp_path, space=str(aligned[0] / "space.toml")))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([{"text": "one", "image": "pictures/0.png"}], r"too few pairs for .*\(rows 1, .*can be divided are 1 media"),
        ([{"text": "one", "image": "gone.png"}, {"text": "two", "image": "gone too.png"}], "none of the 2 image URIs"),
        ([{"text": "one", "image": "strangers.toml"}], "not one image of .* could be embedded .none is of a readable type"),
        ([{"text": "one", "image": "broken.png"}], "image: named 1, embedded 0, corrupt 1"),
    ],
)
def test_too_few_pairs_are_one_clear_refusal_and_exit_code_2(bucket, tmp_path, lines, message):
    (bucket / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    write_pairs(bucket / "few.jsonl", lines)
    with pytest.raises(PairsError, match=message) as raised:
        align(bucket, tmp_path, pairs=str(bucket / "few.jsonl"))
    assert "\n" not in str(raised.value)


def test_settings_come_from_a_file_and_flags_win(tmp_path):
    (tmp_path / "a.toml").write_text('pairs = "p.csv"\nname = "n"\nsteps = 7\n[shares]\ntrain = 0.5\nvalidation = 0.3\ntest = 0.2\n')
    settings = align_settings(tmp_path / "a.toml", steps=9)
    assert (settings.steps, settings.shares.validation) == (9, 0.3)
    with pytest.raises(SettingsError, match="there is no setting 'step'; allowed are pairs, space"):
        align_settings(None, step=1)
    with pytest.raises(SettingsError, match="name is missing"):
        align_settings(None, pairs="p.csv")
    with pytest.raises(SettingsError, match=r"^steps and epochs exclude each other"):
        align_settings(None, pairs="p.csv", name="n", steps=5, epochs=2)


def command(bucket, out, *more, space="strangers.toml"):
    settings = [str(bucket / "pairs.jsonl"), "--space", str(bucket / space), "--name", "new", "--out", str(out), "--direct"]
    return [sys.executable, "-m", "flows.cli", "align", *settings, "--shares", "0.6,0.2,0.2", "--json", *more]


def test_the_command_refuses_with_one_line_and_exit_code_2(bucket, tmp_path):
    done = subprocess.run(command(bucket, tmp_path, "--metric", "nothing"), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("sensorium: metric = 'nothing'")
    assert done.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def undisturbed(bucket, aligned, tmp_path_factory):
    """The command's account and folder, of a training that was left alone."""
    config = bucket / "killed.toml"
    config.write_text("checkpoint_every = 0.1\nsteps = 300\nevaluate_every = 20\npatience = 0\nworkers = 2\n")
    out = tmp_path_factory.mktemp("alone")
    shutil.copytree(aligned[0] / "vectors", out / "new" / "vectors")
    return json.loads(run(command(bucket, out, "--config", str(config)))), out / "new", config


def run(arguments):
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def steps_written(out):
    """Of a training, as far as its checkpoint goes."""
    found = list((out / "new").glob("training/*/training.pt"))
    return len(torch.load(found[0], weights_only=True)["losses"]) if found else 0


def kill_after_a_checkpoint(arguments, out, seconds):
    """Run a command that trains, and kill it so long after it has written down that it has made a step."""
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not steps_written(out) and process.poll() is None:
        time.sleep(0.005)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "new" / "space.toml").exists(), "it was killed before its end"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.7])
def test_a_killed_training_is_finished_by_the_next_with_the_same_weights(bucket, again, undisturbed, seconds):
    whole, folder, config = undisturbed
    arguments = command(bucket, again, "--config", str(config))
    kill_after_a_checkpoint(arguments, again, seconds)
    account = json.loads(run(arguments))
    assert 0 < account["resumed"] < 300
    assert account["generation"] == whole["generation"]
    assert weights(again / "new") == weights(folder)


@pytest.mark.slow
@pytest.mark.parametrize("train", ["last:1", "scratch"])
def test_a_killed_training_of_encoders_is_finished_by_the_next_with_the_same_weights(bucket, tmp_path, train):
    (bucket / "halves.toml").write_text("\n".join(HALVES))
    config = tmp_path / "killed.toml"
    config.write_text("checkpoint_every = 0\nsteps = 8\nbatch = 32\nchunk = 16\nevaluate_every = 4\nworkers = 2\ncalibrate = false\n")
    generations = []
    for name, killed in (("whole", False), ("killed", True)):
        arguments = command(bucket, tmp_path / name, "--config", str(config), "--train", train, space="halves.toml")
        if killed:
            kill_after_a_checkpoint(arguments, tmp_path / name, 0.0)
        account = json.loads(run(arguments))
        assert bool(account["resumed"]) == killed
        generations.append(account["generation"])
    assert generations[0] == generations[1], "the digest of the towers' weights is part of it"


def test_a_table_of_pairs_may_be_parquet_in_a_bucket(bucket, again, rows, s3_server, monkeypatch):
    import boto3

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3_server, region_name="us-east-1")
    client.create_bucket(Bucket="pairs")
    for row in rows[:30]:
        client.upload_file(str(bucket / row["image"]), "pairs", f"shop/{row['image']}")
    pl.DataFrame(rows[:30]).write_parquet(again / "p.parquet")
    client.upload_file(str(again / "p.parquet"), "pairs", "shop/p.parquet")
    account = align(bucket, again / "s3", pairs="s3://pairs/shop/p.parquet", steps=3)
    assert account["objects"]["image"] == {"named": 30, "embedded": 30}
