"""Two spaces joined by captions alone: the map against independent references, strangers that become one space, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
import tiny_sounds
import torch
from batch import vectors
from fixed_weights import media
from PIL import Image
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge
from typer.testing import CliRunner

from encoders import registry
from encoders.align import bridge, heads
from encoders.align.bridge import How, Side
from encoders.align.heads import Head
from encoders.errors import EncoderError
from encoders.spaces import load_space
from flows.bridge import join
from flows.cli import app
from flows.settings import BridgeSettings, SettingsError
from tasks.captions import encode_captions, read_captions
from tasks.pairs import PairsError
from tasks.plan import RefusedError

RNG = np.random.default_rng(4)


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def mapped(head: Head, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return head(torch.from_numpy(rows)).numpy()


def recall(queries: np.ndarray, found: np.ndarray) -> float:
    return float(((queries @ found.T).argmax(1) == np.arange(len(queries))).mean())


class World:
    """Meanings of 12 numbers, which space A sees in 40 and space B in 30, with noise, and each modality off by a mean of its own."""

    def __init__(self, gap: float = 0.6) -> None:
        self.rng = np.random.default_rng(8)
        self.maps = {"A": self.rng.standard_normal((12, 40)), "B": self.rng.standard_normal((12, 30))}
        self.gaps = {
            key: gap * 3 * self.rng.standard_normal(width) for key, width in {"A text": 40, "A": 40, "B text": 30, "B": 30}.items()
        }

    def meanings(self, n: int) -> np.ndarray:
        return self.rng.standard_normal((n, 12))

    def seen(self, space: str, meanings: np.ndarray, of: str = "", noise: float = 0.5) -> np.ndarray:
        exact = meanings @ self.maps[space] + self.gaps[f"{space} text" if of == "text" else space]
        return unit(exact + noise * self.rng.standard_normal(exact.shape))

    def sides(self, memory: bool, n: int = 3000) -> tuple[Side, Side]:
        captions = self.meanings(n)
        memories = [self.seen(space, self.meanings(2000)) if memory else None for space in "AB"]
        return Side(self.seen("A", captions, "text"), memories[0]), Side(self.seen("B", captions, "text"), memories[1])


def test_the_rotation_is_that_of_scipy() -> None:
    a, b = unit(RNG.standard_normal((50, 8))), unit(RNG.standard_normal((50, 8)))
    head = bridge.build(Side(a), Side(b), How("procrustes"))
    wanted, _ = orthogonal_procrustes(b.astype(np.float64), a.astype(np.float64))
    np.testing.assert_allclose(mapped(head, b), unit(b @ wanted), atol=1e-6)


@pytest.mark.parametrize("strength", [0.01, 3.0])
def test_the_ridge_is_that_of_scikit_learn(strength: float) -> None:
    a, b = unit(RNG.standard_normal((60, 9))), unit(RNG.standard_normal((60, 7)))
    head = bridge.build(Side(a), Side(b), How("ridge", ridge=strength))
    reference = Ridge(alpha=strength * 60 / 7, fit_intercept=False).fit(b, a)
    np.testing.assert_allclose(head.state_dict()["straight.weight"].numpy(), reference.coef_, atol=1e-6)
    assert not head.state_dict()["straight.bias"].any()


def test_what_is_retrieved_is_a_softmax_s_mean_of_the_memory() -> None:
    captions, memory = unit(RNG.standard_normal((5, 6))), unit(RNG.standard_normal((11, 6)))
    for row, found in zip(captions, bridge.retrieved(captions, memory, 0.1), strict=True):
        weights = np.array([np.exp(float(row @ item) / 0.1) for item in memory])
        mean = sum(weight * item for weight, item in zip(weights, memory, strict=True)) / weights.sum()
        np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_memory_larger_than_a_block_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    captions, memory = unit(RNG.standard_normal((50, 6))), unit(RNG.standard_normal((11, 6)))
    whole = bridge.retrieved(captions, memory, 0.05)
    monkeypatch.setattr(bridge, "ROWS", 7)
    np.testing.assert_allclose(bridge.retrieved(captions, memory, 0.05), whole, atol=1e-6)


@pytest.mark.parametrize("method", bridge.METHODS)
def test_strangers_sounds_find_pictures_after_captions_alone_have_joined_them(method: bridge.Method) -> None:
    world = World(gap=0.3)
    a, b = world.sides(memory=True)
    things = world.meanings(200)
    pictures, sounds = world.seen("A", things), world.seen("B", things)
    assert recall(np.pad(sounds, ((0, 0), (0, 10))), pictures) < 0.05
    assert recall(mapped(bridge.build(a, b, How(method, steps=200)), sounds), pictures) > 0.7


def test_memories_help_where_sounds_lie_apart_from_texts() -> None:
    world = World(gap=1.0)
    (a, b), things = world.sides(memory=True), world.meanings(300)
    pictures, sounds = world.seen("A", things), world.seen("B", things)
    without = recall(mapped(bridge.build(Side(a.captions), Side(b.captions)), sounds), pictures)
    assert recall(mapped(bridge.build(a, b), sounds), pictures) > without + 0.1


def test_noise_has_the_length_that_is_asked_for_whatever_the_dimension() -> None:
    torch.manual_seed(1)
    for dimension in (16, 512):
        rows = torch.nn.functional.normalize(torch.randn(4000, dimension), dim=1)
        cosines = (bridge._noised(rows, 0.7) * rows).sum(1)
        assert float(cosines.mean()) == pytest.approx(1 / (1 + 0.7**2) ** 0.5, abs=0.02)


def test_one_seed_is_one_projector_and_leaves_the_generator_alone() -> None:
    a, b = World().sides(memory=True, n=200)
    torch.manual_seed(5)
    wanted = torch.rand(2)
    torch.manual_seed(5)
    heads = [bridge.build(a, b, How("mlp", steps=5, seed=seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.rand(2), wanted)
    one, same, other = (mapped(head, b.captions) for head in heads)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("kind", ["linear", "mlp", "identity"])
def test_a_bridge_behind_a_head_is_one_head(kind: Any) -> None:
    inner = Head(kind, 30 if kind == "identity" else 16, 30)
    with torch.no_grad():
        for parameter in inner.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    a, b = World().sides(memory=False, n=300)
    outer = bridge.build(a, b)
    rows = unit(RNG.standard_normal((20, inner.form.base_dimension)))
    np.testing.assert_allclose(mapped(bridge.behind(inner, outer), rows), mapped(outer, mapped(inner, rows)), atol=1e-5)


@pytest.mark.parametrize("projected", [False, True])
def test_a_bridge_behind_a_calibration_is_one_head(projected: bool) -> None:
    projection = torch.randn(30, 30) if projected else None
    inner = Head("identity", 30, 30).calibrated(0.1 * torch.randn(30), projection)
    a, b = World().sides(memory=False, n=300)
    outer = bridge.build(a, b)
    rows = unit(RNG.standard_normal((20, 30)))
    np.testing.assert_allclose(mapped(bridge.behind(inner, outer), rows), mapped(outer, mapped(inner, rows)), atol=1e-5)


def test_a_bridge_behind_a_head_that_cannot_be_one_head_is_refused() -> None:
    a, b = World().sides(memory=False, n=50)
    outer, plain = bridge.build(a, b), Head("linear", 16, 30)
    for inner, bridged in (
        (plain.calibrated(torch.ones(30)), outer),
        (Head("residual", 30, 30), outer),
        (plain, bridge.build(a, b, How("mlp", steps=1))),
        (plain, outer.calibrated(torch.ones(40))),
    ):
        with pytest.raises(EncoderError, match="--no-calibrate"):
            bridge.behind(inner, bridged)


def test_sides_that_do_not_fit_are_refused() -> None:
    rows = unit(RNG.standard_normal((4, 3)))
    for a, b in ((Side(rows), Side(rows[:3])), (Side(rows[:1]), Side(rows[:1])), (Side(rows, np.ones((5, 2))), Side(rows))):
        with pytest.raises(EncoderError, match="captions"):
            bridge.build(a, b)
    for wrong in ({"method": "magic"}, {"ridge": -1.0}, {"temperature": 0.0}, {"steps": 0}):
        with pytest.raises(EncoderError):
            How(**wrong)


def test_captions_are_read_from_lines_and_from_columns(tmp_path: Path) -> None:
    lines = tmp_path / "captions.txt"
    lines.write_text("\ufeffa dog\n\n  a cat \na dog\n一只狗\n", encoding="utf-8")
    found = read_captions(lines)
    assert (found.texts, found.rows, found.blank, found.duplicates) == (("a dog", "a cat", "一只狗"), 5, 1, 1)
    rows = tmp_path / "captions.jsonl"
    rows.write_text('{"told": "a dog", "n": 1}\n{"told": null, "n": 2}\n{"told": "a cat", "n": 3}\n')
    found = read_captions(rows, "told")
    assert (found.texts, found.rows, found.blank) == (("a dog", "a cat"), 3, 1)
    for path, column, told in (
        (rows, "text", "no column 'text'"),
        (rows, "n", "captions are texts"),
        (tmp_path / "no.txt", "text", "cannot"),
    ):
        with pytest.raises(PairsError, match=told):
            read_captions(path, column)
    lines.write_bytes(b"\xff\xfe")
    with pytest.raises(PairsError, match="UTF-8"):
        read_captions(lines)


@pytest.fixture
def spaces(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny CLIP and a tiny CLAP: 16 and 20 numbers."""
    for name, maker in (("clip", tiny_checkpoints.clip), ("clap", tiny_sounds.clap)):
        (tmp_path / name).mkdir()
        maker(tmp_path / name)
    a, b = tmp_path / "a.toml", tmp_path / "b.toml"
    a.write_text('name = "a"\n[text]\nencoder = "clip-text"\nweights = "clip"\n[image]\nencoder = "clip-image"\nweights = "clip"\n')
    b.write_text('name = "b"\n[text]\nencoder = "clap-text"\nweights = "clap"\n[audio]\nencoder = "clap-audio"\nweights = "clap"\n')
    return a, b


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    """Sixty, of which one is blank, one stands there twice, and one is too long for either encoder."""
    words = [f"{size} {kind}" for size in ("a", "big", "red", "old", "odd", "my") for kind in ("dog", "cat", "bell", "sea", "car", "owl")]
    path = tmp_path / "captions.txt"
    path.write_text("\n".join([*words, *(f"{word} up" for word in words[:21]), "", "a dog", "x" * 40]) + "\n")
    return path


def asked(spaces: tuple[Path, Path], captions: Path, **more: Any) -> BridgeSettings:
    return BridgeSettings(a=str(spaces[0]), b=str(spaces[1]), captions=str(captions), name="joined", out=str(captions.parent), **more)


def test_a_bridge_is_a_space_with_a_s_encoders_as_they_are_and_b_s_behind_the_map(
    spaces: tuple[Path, Path], captions: Path, tmp_path: Path
) -> None:
    account = join(asked(spaces, captions))
    found = account["captions"]
    assert found["rows"] == 60 == found["used"] + found["held_out"] + found["blank"] + found["duplicates"] + sum(found["left_out"].values())
    assert (found["blank"], found["duplicates"], found["left_out"], found["held_out"]) == (1, 1, {"A: too many tokens": 1}, 5)
    joined, a, b = (load_space(str(path)) for path in (account["space"], *spaces))
    assert [*joined.encoders] == ["text", "image", "audio"]
    assert joined.generation == account["generation"]
    assert joined.encoders["text"] == a.encoders["text"]
    assert joined.encoders["image"] == a.encoders["image"]
    head = heads.load(tmp_path / "joined" / "audio.safetensors")
    sounds = media(b.encoders["audio"])
    np.testing.assert_allclose(
        vectors(registry.build(joined.encoders["audio"], dtype="float32"), sounds),
        mapped(head, vectors(registry.build(b.encoders["audio"], dtype="float32"), sounds)),
        atol=1e-5,
    )
    one, other = (side.captions for side in _sides(a, b, captions))
    cosines = mapped(head, other) @ one.T
    assert cosines.diagonal().mean() > cosines.mean() + 0.1
    card = json.loads((tmp_path / "joined" / "card.json").read_text())
    assert card["a"]["generation"] == a.generation
    assert 0 <= card["held_out"]["recall@1"] <= 1


def _sides(a: Any, b: Any, captions: Path) -> tuple[Side, Side]:
    encoders = {"A": registry.build(a.encoders["text"]), "B": registry.build(b.encoders["text"])}
    found = encode_captions(encoders, read_captions(captions).texts).vectors
    return Side(found["A"]), Side(found["B"])


def test_captions_keep_their_order_whatever_their_length(spaces: tuple[Path, Path], captions: Path) -> None:
    encoder = registry.build(load_space(str(spaces[0])).encoders["text"], dtype="float32")
    texts = [text for text in read_captions(captions).texts if len(text) < 20]
    found = encode_captions({"A": encoder}, texts, batch=7).vectors["A"]
    np.testing.assert_allclose(found, vectors(encoder, texts), atol=1e-5)


def test_a_bridge_of_a_bridge_stays_one_head(spaces: tuple[Path, Path], captions: Path, tmp_path: Path) -> None:
    first = join(asked(spaces, captions))["space"]
    third = tmp_path / "third.toml"
    third.write_text('name = "c"\n[text]\nencoder = "clip-text"\nweights = "clip"\n')
    second = join(BridgeSettings(a=str(third), b=first, captions=str(captions), name="again", out=str(tmp_path)))
    joined = load_space(second["space"])
    assert second["from_b"] == ["image", "audio"]
    sounds = media(joined.encoders["audio"])
    image = vectors(registry.build(joined.encoders["image"], dtype="float32"), media(joined.encoders["image"]))
    assert image.shape[1] == vectors(registry.build(joined.encoders["audio"], dtype="float32"), sounds).shape[1] == 16


def test_the_command_takes_memories_from_databases_and_refuses_those_of_other_spaces(
    spaces: tuple[Path, Path], captions: Path, tmp_path: Path
) -> None:
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    for number in range(4):
        Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(bucket / f"{number}.png")
    database = str(tmp_path / "pictures")
    run = CliRunner().invoke
    assert run(app, ["embed", str(bucket), database, "--space", str(spaces[0]), "--direct"]).exit_code == 0
    line = ["bridge", *map(str, spaces), str(captions), "--name", "joined", "--out", str(tmp_path)]
    told = run(app, [*line, "--memory-a", database, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["memory"] == {"a": 4, "b": 0}
    assert run(app, line).exit_code == 2  # the space is there already
    again = run(app, [*line, "--replace", "--method", "procrustes"])
    assert again.exit_code == 0, again.output
    assert "captions 60 = used 52 + held out 5 + blank 1 + duplicates 1 + A: too many tokens 1" in again.output
    with pytest.raises(RefusedError, match="embedded with that very space"):
        join(asked(spaces, captions, memory_b=database, replace=True))


def test_spaces_that_cannot_be_joined_are_refused(spaces: tuple[Path, Path], captions: Path, tmp_path: Path) -> None:
    a, _ = spaces
    silent = tmp_path / "silent.toml"
    silent.write_text('name = "c"\n[audio]\nencoder = "clap-audio"\nweights = "clap"\n')
    with pytest.raises(SettingsError, match="no encoder of text"):
        join(asked((a, silent), captions))
    with pytest.raises(SettingsError, match="nothing to bring over"):
        join(asked((a, a), captions))
    captions.write_text("a dog\n" + "x" * 40 + "\n")
    with pytest.raises(PairsError, match="1 captions"):
        join(asked(spaces, captions))
