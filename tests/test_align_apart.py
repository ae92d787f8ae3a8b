"""Pairs that stand apart, pictures with captions here and sounds there: sides without a modality, rows that train nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from buckets import embed
from pair_world import STRANGERS, world, write_pairs
from pydantic import ValidationError

from encoders.align.objective import Objective
from encoders.errors import EncoderError
from encoders.spaces import load_space
from flows.align_direct import align_direct
from flows.align_opening import open_alignment
from flows.alignment import Alignment
from flows.score_run import open_score, score_table
from flows.settings import AlignSettings, ScoreSettings
from tasks.pairs import Pairs, PairsError, read_pairs
from tasks.plan import RefusedError
from tasks.split import Shares, Split, sided, split
from tasks.train import items_of

SHARES = Shares(0.6, 0.2, 0.2)
HEARS = '\n[audio]\nencoder = "ast"\nweights = "package:miniature/audio"\n'


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pictures and 4 sounds, a caption each."""
    folder = tmp_path_factory.mktemp("apart") / "bucket"
    rows = world(folder, 44)
    apart = [{name: row[name] for name in ("text", "image" if number < 40 else "audio")} for number, row in enumerate(rows)]
    (folder / "strangers.toml").write_text(STRANGERS + HEARS)
    write_pairs(folder / "pairs.jsonl", apart)
    return folder


def sides(bucket: Path, seed: int) -> Split:
    pairs = read_pairs(bucket / "pairs.jsonl")
    uris = [uri for modality in pairs.media for uri in pairs.uris(modality)]
    contents = {uri: hashlib.sha256(Path(uri.removeprefix("file://")).read_bytes()).hexdigest() for uri in uris}
    return split(pairs, contents, SHARES, seed)


def sounds(bucket: Path, seed: int) -> dict[str, int]:
    """How many stand on each side."""
    divided = sides(bucket, seed)
    return {side: divided.side(side).get_column("audio").count() for side in ("train", "validation", "test")}  # type: ignore[arg-type]


def asked(bucket: Path, out: Path, **more: object) -> AlignSettings:
    settings = {"pairs": str(bucket / "pairs.jsonl"), "space": str(bucket / "strangers.toml"), "name": "new", "out": str(out)}
    how = {"shares": SHARES._asdict(), "steps": 20, "evaluate_every": 10, "workers": 2, "dimension": 64}
    return AlignSettings.model_validate({**settings, **how, **more})


def align(bucket: Path, out: Path, **more: object) -> dict:
    return align_direct(open_alignment(asked(bucket, out, **more)))


@pytest.mark.parametrize(
    "how",
    [{}, pytest.param({"train": "last:1", "space": "miniature", "dimension": 0, "steps": 1, "batch": 8}, marks=pytest.mark.slow)],
    ids=["heads", "towers"],
)
def test_a_side_that_lacks_a_modality_has_no_figures_of_it(bucket: Path, tmp_path: Path, how: dict):
    seed = next(seed for seed in range(500) if sounds(bucket, seed) == {"train": 4, "validation": 0, "test": 0})
    account = align(bucket, tmp_path, seed=seed, **how)
    assert set(account["test"]["directions"]) == {"text>image", "image>text"}
    assert {path.stem for path in (tmp_path / "new").glob("*.safetensors")} >= ({"text", "image", "audio"} if not how else set())


def test_training_that_would_never_see_a_modality_is_refused(bucket: Path, tmp_path: Path):
    seed = next(seed for seed in range(2000) if not sounds(bucket, seed)["train"])
    with pytest.raises(PairsError, match="too few pairs for train, in which no audio is left to learn from"):
        align(bucket, tmp_path, seed=seed)
    assert not (tmp_path / "new" / "space.toml").exists()


def test_some_rows_are_some_of_every_kind():
    """20 of 400 rows: as many with pictures, and as many with sounds, as there are among all."""
    pictures = [{"text_content": f"t{n:03}", "image_content": f"i{n:03}", "audio_content": None} for n in range(300)]
    heard = [{"text_content": f"s{n:03}", "image_content": None, "audio_content": f"a{n:03}"} for n in range(100)]
    frame = pl.DataFrame(pictures + heard, infer_schema_length=None)
    items, ids = items_of(frame, ("text", "image", "audio"), 20)
    assert {modality: len(found) for modality, found in items.items()} == {"text": 20, "image": 15, "audio": 5}
    assert all(len(numbers) == 20 for numbers in ids.values())
    shuffled = frame.sample(fraction=1.0, shuffle=True, seed=1)
    again, same = items_of(shuffled, ("text", "image", "audio"), 20)
    assert again == items and all(np.array_equal(same[modality], ids[modality]) for modality in ids)
    assert items_of(frame, ("text", "image", "audio"), 400)[0] == items_of(frame, ("text", "image", "audio"))[0]


def test_rows_whose_only_pair_has_no_weight_train_nothing_and_are_counted(bucket: Path, tmp_path: Path):
    seed = next(seed for seed in range(500) if sounds(bucket, seed)["train"] == 3)
    with pytest.raises(PairsError, match="no audio is left to learn from"):
        align(bucket, tmp_path, seed=seed, weights={"text-audio": 0})
    account = align(bucket, tmp_path, seed=seed, weights={"audio-text": 0}, keep=["audio"], dimension=128, batch=2, replace=True)
    assert account["pairs"]["incomplete"] == 3
    assert sum(account["pairs"][end] for end in ("too_few", "duplicates", "incomplete", "copies", "train", "validation", "test")) == 44


def test_a_weight_below_zero_is_refused(bucket: Path, tmp_path: Path):
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        asked(bucket, tmp_path, weights={"text-image": -1})
    with pytest.raises(EncoderError, match=r"the weight of text-image is -1; weights are 0, which leaves the pair out, or more"):
        Objective(weights={"text-image": -1.0})


@pytest.mark.slow
def test_a_run_that_fails_leaves_no_prepared_media(bucket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(_: Alignment) -> None:
        assert any((tmp_path / "scratch").rglob("*.arrow"))
        raise OSError("no space left")

    seed = next(seed for seed in range(500) if sounds(bucket, seed) == {"train": 4, "validation": 0, "test": 0})
    monkeypatch.setattr(Alignment, "calibrate", broken)
    (tmp_path / "scratch").mkdir()
    with pytest.raises(OSError, match="no space left"):
        align(bucket, tmp_path, seed=seed, train="last:1", space="miniature", dimension=0, steps=1, scratch=str(tmp_path / "scratch"))
    assert not list((tmp_path / "scratch").rglob("*.arrow"))


def test_names_may_lead_out_of_the_folder_of_the_pairs(bucket: Path, tmp_path: Path):
    (bucket / "lists").mkdir()
    lines = [json.loads(line) for line in (bucket / "pairs.jsonl").read_text().splitlines()]
    beside = [{name: value if name == "text" else f"../{value}" for name, value in line.items()} for line in lines]
    assert read_pairs(write_pairs(bucket / "lists" / "pairs.jsonl", beside)).uris("image") == read_pairs(bucket / "pairs.jsonl").uris(
        "image"
    )
    pairs = read_pairs(write_pairs(tmp_path / "pairs.jsonl", [{"text": "a", "image": "b/../c.png"}]), "s3://bucket/photos")
    assert pairs.uris("image") == ["s3://bucket/photos/c.png"]


def test_other_media_of_the_same_pairs_replace_no_space_unasked(bucket: Path, tmp_path: Path):
    """Files that were missing are there now: the old space's tables would be dead."""
    lines = [json.loads(line) for line in (bucket / "pairs.jsonl").read_text().splitlines()][:40]
    (tmp_path / "b" / "pictures").mkdir(parents=True)
    (tmp_path / "b" / "strangers.toml").write_text(STRANGERS)
    write_pairs(tmp_path / "b" / "pairs.jsonl", lines)
    for line in lines[:30]:
        shutil.copy(bucket / line["image"], tmp_path / "b" / line["image"])
    first = align(tmp_path / "b", tmp_path)
    assert first["objects"]["image"]["missing"] == 10
    for line in lines[30:]:
        shutil.copy(bucket / line["image"], tmp_path / "b" / line["image"])
    with pytest.raises(RefusedError, match=r"made when other media of these pairs were there.*--replace"):
        align(tmp_path / "b", tmp_path)
    assert load_space(str(tmp_path / "new" / "space.toml")).generation == first["generation"]
    assert align(tmp_path / "b", tmp_path, replace=True)["generation"] != first["generation"]


@pytest.mark.slow
def test_encoders_are_judged_by_all_windows_of_a_sound(tmp_path: Path):
    """Silence in front of each sound: its first window tells nothing, and a space that learned nothing is as good as before."""
    rows = world(tmp_path / "bucket", 40)
    for row in rows:
        samples, rate = soundfile.read(tmp_path / "bucket" / row["audio"])
        soundfile.write(tmp_path / "bucket" / row["audio"], np.concatenate([np.full(int(3.1 * rate), 1e-4), samples]), rate)
    write_pairs(tmp_path / "bucket" / "pairs.jsonl", rows)
    how = {"train": "last:1", "space": "miniature", "dimension": 0, "steps": 1, "batch": 8, "learning_rate": 1e-12, "calibrate": False}
    account = align(tmp_path / "bucket", tmp_path, columns=["text", "audio"], **how)
    for direction in ("text>audio", "audio>text"):
        found = account["test"]["directions"][direction]
        assert found["after"]["mrr"]["value"] == pytest.approx(found["before"]["mrr"]["value"], abs=0.02)
        assert found["after"]["recall@5"]["value"] > 0.7


def test_the_test_side_of_a_table_is_that_of_its_spaces_training(bucket: Path, tmp_path: Path):
    account = align(bucket, tmp_path, seed=7)
    space = str(tmp_path / "new" / "space.toml")
    embed(bucket, tmp_path / "lance", space=space, floor=0.0)
    asked = {"database": str(tmp_path / "lance"), "pairs": str(bucket / "pairs.jsonl"), "split": "test"}
    report = score_table(open_score(ScoreSettings(**asked)))
    assert report["pairs"]["scored"] == account["pairs"]["test"]
    held = sides(bucket, 7).side("test")
    assert report["directions"]["text>image"]["queries"] == held.get_column("image").count()


def test_pairs_are_on_the_sides_on_which_fewer_columns_put_them():
    """Training took texts and sounds, and put them on sides by their sounds; asked are pictures, too."""
    rows = [{"text": f"t{n}", "image": f"s3://b/i{n % 7}.png", "audio": f"s3://b/a{n % 20}.wav"} for n in range(60)] + [
        {"text": f"u{n}", "image": f"s3://b/j{n}.png", "audio": None} for n in range(5)
    ]
    frame = pl.DataFrame(rows).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    pairs = Pairs(frame, "s3://b", len(rows), 0, 0, {}, ())
    contents = {uri: hashlib.sha256(uri.encode()).hexdigest() for modality in pairs.media for uri in pairs.uris(modality)}
    trained = split(pairs.only(("text", "audio")), contents, SHARES, 3)
    found = sided(split(pairs, contents, SHARES, 3), trained)
    expected = dict(trained.frame.select("text", "side").iter_rows())
    assert len(set(expected.values())) == 3
    assert dict(found.frame.select("text", "side").iter_rows()) == expected | {f"u{n}": None for n in range(5)}
    assert found.counts == trained.counts
