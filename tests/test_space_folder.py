"""Two strangers in one space: a folder that embed and search take like any other."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints
import torch
from batch import vectors
from buckets import embed, picture, rows, words
from safetensors.torch import load_file
from torch import Tensor

from encoders import registry
from encoders.align import card as cards
from encoders.align import space_folder
from encoders.align.heads import Head
from encoders.errors import EncoderError
from encoders.media import pictures
from encoders.media.kinds import Limits
from encoders.spaces import anchored, load_encoders, load_space
from encoders.spec import Space
from retrieval.query import Searcher
from tasks.plan import RefusedError

ROOT = Path(__file__).parents[1]
TOGETHER = 12  # numbers of the aligned space's vectors
STRANGERS = (
    'name = "strangers"\n[text]\nencoder = "clip-text"\nweights = "clip"\n[image]\nencoder = "vit"\nweights = "vit"\nlicence = "MIT"\n'
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts as 16 numbers and pictures as 32, a bucket of both, and an aligned space over the two."""
    home = tmp_path_factory.mktemp("strangers")
    tiny_checkpoints.clip(home / "clip")
    tiny_checkpoints.vit(home / "vit")
    (home / "space.toml").write_text(STRANGERS)
    (home / "bucket").mkdir()
    for seed in range(3):
        (home / "bucket" / f"{seed}.png").write_bytes(picture(seed))
        (home / "bucket" / f"{seed}.txt").write_text(words(seed, 2))
    align(home)
    return home


def heads(seed: int = 0) -> dict[str, Head]:
    torch.manual_seed(seed)
    made = {"text": Head("mlp", 16, TOGETHER, 20), "image": Head("linear", 32, TOGETHER)}
    return {modality: head.calibrated(torch.linspace(-0.1, 0.1, TOGETHER)) for modality, head in made.items()}


def align(home: Path, name: str = "aligned", seed: int = 0) -> Space:
    return space_folder.write(home / name, name, anchored(str(home / "space.toml")), heads(seed), {"seed": seed, "loss": math.nan})


def sensorium(home: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments), "--json"]
    return subprocess.run(
        command, cwd=home, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def answer(home: Path, *arguments: object):
    done = sensorium(home, *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_strangers_alone_are_no_space_and_are_read_for_alignment(home: Path):
    with pytest.raises(EncoderError, match=r"mixes dimensions \(text: 16, image: 32\)"):
        load_space(str(home / "space.toml"))
    assert {modality: spec.dimension for modality, spec in load_encoders(str(home / "space.toml")).items()} == {"text": 16, "image": 32}


def test_a_folder_holds_a_space_its_heads_and_its_card(home: Path):
    assert sorted(path.name for path in (home / "aligned").iterdir()) == [
        *("card.json", "image.safetensors", "space.toml", "text.safetensors")
    ]
    space = load_space(str(home / "aligned/space.toml"))
    assert (space.name, space.dimension, space.encoders["image"].licence) == ("aligned", TOGETHER, "MIT")
    assert [spec.base for spec in space] == list(load_encoders(str(home / "space.toml")).values())
    assert cards.read(home / "aligned") == {"seed": 0, "loss": None}


def test_the_same_heads_are_the_same_generation_anywhere_and_others_are_another(home: Path, tmp_path: Path):
    first = load_space(str(home / "aligned/space.toml")).generation
    assert align(home, "again").generation == first
    assert align(home, "other", seed=1).generation != first
    assert load_space(str(shutil.copytree(home / "aligned", home / "moved") / "space.toml")).generation == first
    shutil.copytree(home / "vit", tmp_path / "aligned/vit")
    sections = {"image": {"encoder": "vit", "weights": str(tmp_path / "aligned/vit")}}
    inside = space_folder.write(tmp_path / "aligned", "one", sections, {"image": heads()["image"]}, {})
    shutil.move(tmp_path / "aligned", tmp_path / "elsewhere")
    assert load_space(str(tmp_path / "elsewhere/space.toml")).generation == inside.generation, "what lies inside moves along"


@pytest.mark.slow
def test_embed_and_search_work_over_two_strangers(home: Path):
    account = answer(home, "embed", home / "bucket", home / "lance", "--space", home / "aligned/space.toml", "--direct")
    assert (account["listed"], account["embedded"], account["quarantined"]) == (6, 6, 0)
    assert account["generation"] == load_space(str(home / "aligned/space.toml")).generation
    space, held = load_space(str(home / "aligned/space.toml")), {Path(row["uri"]).name: row["vector"] for row in rows(home / "lance")}
    for seed in range(3):
        for modality, medium, name in (("text", words(seed, 2), f"{seed}.txt"), ("image", pixels(home, seed), f"{seed}.png")):
            expected = by_hand(home, modality, medium)
            np.testing.assert_allclose(vectors(registry.build(space.encoders[modality], dtype="float32"), [medium])[0], expected, atol=1e-6)
            assert expected @ np.array(held[name], np.float32) > 0.999, "a table holds float16, perhaps encoded in bfloat16"
    hits = answer(home, "search", home / "lance", words(1, 2), "--limit", 6)
    assert [Path(hits[0]["uri"]).name, len(hits)] == ["1.txt", 6]
    scores = {Path(hit["uri"]).name: hit["score"] for hit in hits}
    assert scores["2.png"] == pytest.approx(float(by_hand(home, "text", words(1, 2)) @ by_hand(home, "image", pixels(home, 2))), abs=2e-2)
    assert Path(answer(home, "search", home / "lance", home / "bucket/2.png")[0]["uri"]).name == "2.png"


def pixels(home: Path, seed: int) -> np.ndarray:
    return pictures.decode(home / "bucket" / f"{seed}.png", Limits())


def by_hand(home: Path, modality: str, medium: object) -> np.ndarray:
    """The encoder beneath, and the head's formula from the numbers in its file, in float64."""
    base = registry.build(load_encoders(str(home / "space.toml"))[modality], dtype="float32")
    x = torch.from_numpy(vectors(base, [medium])).double()
    w: dict[str, Tensor] = {name: tensor.double() for name, tensor in load_file(home / "aligned" / f"{modality}.safetensors").items()}
    if modality == "image":
        y = x @ w["straight.weight"].T + w["straight.bias"]
    else:
        inner = 4 * x @ w["mlp.0.weight"].T + w["mlp.0.bias"]  # 4 is the root of 16
        gelu = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
        y = gelu @ w["mlp.2.weight"].T + w["mlp.2.bias"]
    y = y / y.norm() - torch.linspace(-0.1, 0.1, TOGETHER).double()
    return (y / y.norm()).float().numpy()[0]


def test_a_table_is_neither_filled_nor_asked_with_other_heads(home: Path):
    space = align(home, "changing")
    path = home / "changing/space.toml"
    embed(home / "bucket", home / "held", space=str(path))
    align(home, "changing", seed=1)
    assert load_space(str(path)).generation != space.generation
    with pytest.raises(RefusedError, match="generation"):
        embed(home / "bucket", home / "held", space=str(path))
    asked = sensorium(home, "search", home / "held", "a dog")
    assert asked.returncode == 2
    assert "changing/text.safetensors is not that of the spec" in asked.stderr.replace("\n", "")
    assert "Traceback" not in asked.stderr
    align(home, "changing")
    assert Searcher(str(home / "held")).search("a dog")


def test_what_was_written_before_is_replaced_and_what_else_is_there_stays(home: Path):
    align(home, "twice")
    (home / "twice/vectors").mkdir()
    sections = anchored(str(home / "space.toml"))
    del sections["text"]
    space_folder.write(home / "twice", "twice", sections, {"image": heads()["image"]}, {})
    assert sorted(path.name for path in (home / "twice").iterdir()) == ["card.json", "image.safetensors", "space.toml", "vectors"]


def test_options_survive_the_toml_of_a_space(tmp_path: Path):
    section = {
        "encoder": "e",
        "licence": 'a "b"\\\n\t\x7f狗',
        "cut": 3,
        "share": 0.5,
        "on": True,
        "kinds": ["a", 1],
        "prompts": {"query": "q: ", "of 狗": ""},
    }
    text = space_folder.text_of(tmp_path, 'na"me', {"text": section}, ("text",))
    import tomllib

    assert tomllib.loads(text) == {"name": 'na"me', "text": {**section, "head": "text.safetensors"}}


@pytest.mark.parametrize(
    ("sections", "made", "message"),
    [
        ({"image": "vit"}, {"image": Head("linear", 16, 8)}, "the head of image takes 16 numbers, vit gives 32"),
        ({"image": "vit"}, {"text": Head("linear", 32, 8)}, "there is a head for text, and no encoder of it; the encoders are of image"),
        ({"image": "vit", "text": "clip-text"}, {"image": Head("linear", 32, 8)}, r"mixes dimensions \(text: 16, image: 8\)"),
    ],
)
def test_heads_that_do_not_fit_leave_no_space_behind(home: Path, tmp_path: Path, sections, made, message: str):
    weights = {"vit": home / "vit", "clip-text": home / "clip"}
    with pytest.raises(EncoderError, match=message):
        space_folder.write(tmp_path / "a", "a", {m: {"encoder": e, "weights": str(weights[e])} for m, e in sections.items()}, made, {})
    assert not (tmp_path / "a/space.toml").exists()


def test_what_is_refused_leaves_the_old_space_and_what_breaks_off_half_way_leaves_none(home: Path):
    old, sections = align(home, "half"), anchored(str(home / "space.toml"))
    with pytest.raises(EncoderError, match="the head of image takes 16 numbers"):
        space_folder.write(home / "half", "half", sections, {**heads(1), "image": Head("linear", 16, 8)}, {})
    assert load_space(str(home / "half/space.toml")).generation == old.generation
    broken = heads(1)
    with torch.no_grad():
        broken["image"].straight.bias.fill_(math.nan)
    with pytest.raises(EncoderError, match="not finite"):
        space_folder.write(home / "half", "half", sections, broken, {})
    assert not (home / "half/space.toml").exists(), "or a new head would stand beside an old one"


def test_a_head_is_not_put_upon_a_head(home: Path, tmp_path: Path):
    with pytest.raises(EncoderError, match=r"\[text\] has a head already \(.*text.safetensors\); align the encoder beneath it"):
        space_folder.write(tmp_path, "a", anchored(str(home / "aligned/space.toml")), {"text": Head("linear", 12, 12)}, {})


def test_a_head_over_other_weights_than_it_was_trained_on_is_refused(home: Path, tmp_path: Path):
    shutil.copytree(home / "aligned", tmp_path / "aligned")
    torch.manual_seed(5)
    tiny_checkpoints.siglip(tmp_path / "other")
    toml = tmp_path / "aligned/space.toml"
    toml.write_text(f'name = "x"\n[image]\nencoder = "vit"\nweights = "{home / "vit"}"\npooling = "mean"\nhead = "image.safetensors"\n')
    with pytest.raises(
        EncoderError, match=r"was made for the vectors of 'vit [0-9a-f]{16} cls', and this encoder is 'vit [0-9a-f]{16} mean'"
    ):
        load_space(str(toml))
