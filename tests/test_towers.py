"""Encoders as trainable modules: which parameters learn, the same gradients in chunks, and checkpoints that any reader takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
import tiny_texts
import torch
import transformers as hf
from batch import vectors
from fixed_weights import media
from safetensors.torch import load_file

from encoders import registry
from encoders.align import grad_cache, tower_folder, towers
from encoders.align.heads import Head
from encoders.align.objective import Objective
from encoders.align.towers import Tower
from encoders.align.training import Options, train
from encoders.errors import EncoderError
from encoders.spec import Modality, Spec

# By family and checkpoint: what plays no part in the vectors, and what comes after the last block.
PARTS: dict[tuple[str, str], tuple[tuple[str, ...], tuple[str, ...]]] = {
    ("clip-text", "clip"): (("logit_scale",), ("final_layer_norm", "text_projection")),
    ("clip-image", "clip"): (("logit_scale",), ("post_layernorm", "visual_projection")),
    ("clip-text", "chinese_clip"): (("logit_scale",), ("text_projection",)),
    ("clip-image", "siglip"): (("logit_scale", "logit_bias"), ("post_layernorm", "vision_model.head")),
    ("clip-text", "siglip"): (("logit_scale", "logit_bias"), ("final_layer_norm", "text_model.head")),
    ("vit", "vit"): (("pooler",), ("model.layernorm",)),
    ("vit", "dinov2"): (("mask_token",), ("model.layernorm",)),
    ("bert", "bert"): (("pooler",), ()),
    ("bert", "roberta"): (("pooler",), ()),
    ("ast", "ast"): ((), ("model.layernorm", "model.head")),
}


@pytest.fixture(params=PARTS, ids="-".join)
def spec(request: pytest.FixtureRequest, tmp_path: Path) -> Spec:
    return _spec(*request.param, tmp_path)


def _spec(family: str, maker: str, folder: Path) -> Spec:
    folder = folder / maker
    folder.mkdir(exist_ok=True)
    return registry.describe(family, str(getattr(tiny_checkpoints, maker)(folder)))


def _names(tower: Tower) -> set[str]:
    return {name for name, parameter in tower.named_parameters() if parameter.requires_grad}


def _inputs(tower: Tower) -> dict[str, torch.Tensor]:
    return tower.stacked([tower.encoder.prepare(medium) for medium in media(tower.spec)])


def _unit(tower: Tower) -> np.ndarray:
    with torch.no_grad():
        return torch.nn.functional.normalize(tower(_inputs(tower)), dim=1).numpy()


def _plain(spec: Spec) -> np.ndarray:
    return vectors(registry.build(spec, dtype="float32"), media(spec))


def _shake(tower: Tower) -> None:
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in tower.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))


@pytest.mark.parametrize("last", ["all", "last:2", "last:1"])
@pytest.mark.parametrize("kind", PARTS, ids="-".join)
def test_gradients_reach_exactly_the_unfrozen_parameters(kind: tuple[str, str], last: str, tmp_path: Path) -> None:
    unused, after = PARTS[kind]
    tower = towers.tower(_spec(*kind, tmp_path), last)
    named = {name for name, _ in tower.named_parameters() if not any(part in name for part in unused)}
    blocks = {"last:1": (".1.",), "last:2": (".0.", ".1.")}.get(last, ())
    inside = {name for name in named if any(f"layer{s}{number}" in name for s in ("", "s") for number in blocks)}
    wanted = named if last == "all" else inside | {name for name in named if any(part in name for part in after)}
    assert _names(tower) == wanted
    tower(_inputs(tower)).square().sum().backward()
    assert {name for name, parameter in tower.named_parameters() if parameter.grad is not None} == wanted
    silent = {name for name, parameter in tower.named_parameters() if parameter.grad is not None and not parameter.grad.any()}
    assert all(name.endswith(("k_proj.bias", "key.bias", "in_proj_bias", "token_type_embeddings.weight")) for name in silent)


def test_a_tower_gives_the_encoder_s_vectors_before_anything_is_trained(spec: Spec) -> None:
    np.testing.assert_allclose(_unit(towers.tower(spec)), _plain(spec), atol=1e-6)


def test_a_saved_tower_is_a_checkpoint_that_describes_itself_and_gives_the_trained_vectors(spec: Spec, tmp_path: Path) -> None:
    tower = towers.tower(spec, "last:1")
    _shake(tower)
    saved = tower_folder.save(tower, tmp_path / "trained")
    again = registry.describe(spec.encoder, str(tmp_path / "trained"))
    assert again == saved
    assert replace(again, weights="", digest="") == replace(spec, weights="", digest="")
    np.testing.assert_allclose(_plain(again), _unit(tower), atol=1e-5)
    assert np.abs(_plain(again) - _plain(spec)).max() > 1e-2
    before, after = (load_file(Path(one.weights) / "model.safetensors") for one in (spec, again))
    assert set(before) == set(after)
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    heads = {name for name in _names(tower) if name.startswith("model.head.") and spec.encoder == "ast"}
    assert len(changed) == len(_names(tower) - heads)


def test_transformers_itself_reads_a_saved_tower(tmp_path: Path) -> None:
    tower = towers.tower(_spec("vit", "vit", tmp_path))
    _shake(tower)
    tower_folder.save(tower, tmp_path / "trained")
    model = hf.AutoModel.from_pretrained(tmp_path / "trained")
    pixels = tower.encoder.pixels(_inputs(tower)["patches"], tower.model)  # type: ignore[attr-defined]
    with torch.no_grad():
        states = model(pixel_values=pixels).last_hidden_state[:, 0]
        assert torch.allclose(states, tower(_inputs(tower)), atol=1e-5)


def test_both_halves_of_one_checkpoint_are_saved_as_one(tmp_path: Path) -> None:
    text, image = (_spec(family, "clip", tmp_path) for family in ("clip-text", "clip-image"))
    sound = _spec("ast", "ast", tmp_path)
    trained: dict[Modality, Tower] = {"text": towers.tower(text), "image": towers.tower(image), "audio": towers.tower(sound)}
    for tower in trained.values():
        _shake(tower)
    saved = tower_folder.save_all(trained, tmp_path / "trained")
    assert [Path(saved[m].weights).name for m in trained] == ["text-image", "text-image", "audio"]
    for modality, tower in trained.items():
        np.testing.assert_allclose(_plain(saved[modality]), _unit(tower), atol=1e-5)
    with pytest.raises(EncoderError, match="2 checkpoints"):
        tower_folder.save_all(trained, tmp_path / "one", subfolders=False)


def test_a_saved_half_leaves_the_other_half_as_it_was(tmp_path: Path) -> None:
    text = towers.tower(_spec("clip-text", "clip", tmp_path))
    _shake(text)
    tower_folder.save(text, tmp_path / "trained")
    image = registry.describe("clip-image", str(tmp_path / "trained"))
    assert np.array_equal(_plain(image), _plain(_spec("clip-image", "clip", tmp_path)))


@pytest.mark.parametrize("architecture", ["bert", "mpnet", "t5", "qwen3"])
def test_models_of_sentence_transformers_are_saved_with_their_dense_layers_and_pooling(architecture: str, tmp_path: Path) -> None:
    made = tiny_texts.checkpoint(tmp_path / "base", architecture, pooling="mean", dense=((24, torch.nn.Tanh()), (16, torch.nn.Identity())))
    tower = towers.tower(registry.describe("bert", str(made)), "last:0")
    assert _names(tower) >= {"model.1.0.weight", "model.1.2.weight"}
    tower = towers.tower(tower.spec, "last:1")
    _shake(tower)
    again = tower_folder.save(tower, tmp_path / "trained")
    assert again == registry.describe("bert", str(tmp_path / "trained"))
    np.testing.assert_allclose(_plain(again), _unit(tower), atol=1e-5)
    assert np.abs(_plain(again) - _plain(tower.spec)).max() > 1e-2


def test_saving_again_replaces_the_folder_as_a_whole_and_gives_the_same_bytes(tmp_path: Path) -> None:
    tower = towers.tower(_spec("bert", "bert", tmp_path))
    first = tower_folder.save(tower, tmp_path / "trained")
    (tmp_path / "trained" / "stale.safetensors").write_bytes(b"")
    assert tower_folder.save(tower, tmp_path / "trained") == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    tower = towers.tower(_spec("vit", "vit", tmp_path))
    with torch.no_grad():
        next(tower.parameters())[...] = torch.nan
    with pytest.raises(EncoderError, match="not finite"):
        tower_folder.save(tower, tmp_path / "trained")
    assert not (tmp_path / "trained").exists()


@pytest.mark.parametrize("kind", [("clip-text", "clip"), ("clip-image", "clip"), ("bert", "bert"), ("ast", "ast")], ids="-".join)
def test_chunks_give_the_same_gradients(kind: tuple[str, str], tmp_path: Path) -> None:
    tower = towers.tower(_spec(*kind, tmp_path), "last:1")
    modality, inputs = tower.spec.modality, _inputs(tower)
    other: Modality = "audio" if modality == "text" else "text"
    fixed = torch.nn.functional.normalize(torch.randn(10, tower.spec.dimension, generator=torch.manual_seed(1)), dim=1)
    ids = {modality: torch.arange(10), other: torch.arange(10)}
    gradients = []
    for chunk in (0, 3):
        objective = Objective()
        tower.zero_grad()
        grad_cache.backward({modality: tower}, {modality: inputs}, lambda out: objective({**out, other: fixed}, ids), chunk)  # noqa: B023
        gradients.append({name: parameter.grad.clone() for name, parameter in tower.named_parameters() if parameter.grad is not None})
    whole, chunked = gradients
    assert set(whole) == set(chunked) == _names(tower)
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    assert max(float((whole[name] - chunked[name]).abs().max()) for name in whole) < 1e-4 * largest


class _Pairs:
    """Ten texts and ten pictures, in order."""

    def __init__(self, given: dict[Modality, Tower]) -> None:
        self.batches = {modality: _inputs(tower) for modality, tower in given.items()}
        self.ids = {modality: np.arange(10) for modality in given}
        self.digest = "ten pairs"

    def __len__(self) -> int:
        return 10

    def inputs(self, modality: Modality, rows: np.ndarray) -> dict[str, torch.Tensor]:
        return {name: tensor[torch.from_numpy(rows)] for name, tensor in self.batches[modality].items()}


@pytest.mark.parametrize("last", ["last:1", "all"])
def test_fine_tuned_towers_learn_a_few_pairs(last: str, tmp_path: Path) -> None:
    given: dict[Modality, Tower] = {
        "text": towers.tower(_spec("clip-text", "clip", tmp_path), last),
        "image": towers.tower(_spec("clip-image", "clip", tmp_path), last),
    }

    def recall() -> float:
        text, image = (_unit(given[modality]) for modality in ("text", "image"))
        return float(((text @ image.T).argmax(1) == np.arange(10)).mean())

    frozen = {name: tensor.clone() for name, tensor in given["text"].state_dict().items() if name not in _names(given["text"])}
    before = recall()
    train(given, Objective(), _Pairs(given), Options(batch=10, chunk=4, steps=40, learning_rate=3e-3), folder=tmp_path / "training")
    assert before <= 0.5
    assert recall() == 1.0
    assert all(torch.equal(tensor, given["text"].state_dict()[name]) for name, tensor in frozen.items())


def test_towers_of_different_dimensions_learn_behind_heads(tmp_path: Path) -> None:
    text, sound = towers.tower(_spec("bert", "bert", tmp_path), "last:1"), towers.tower(_spec("ast", "ast", tmp_path), "last:1")
    headed: dict[Modality, Any] = {
        "text": towers.HeadedTower(text, Head("linear", 32, 12)),
        "audio": towers.HeadedTower(sound, Head("linear", 24, 12)),
    }
    examples = _Pairs({"text": text, "audio": sound})
    train(headed, Objective(), examples, Options(batch=10, steps=60, learning_rate=3e-3), folder=tmp_path / "training")
    with torch.no_grad():
        a, b = (headed[modality](examples.batches[modality]) for modality in headed)
    assert torch.equal((a @ b.T).argmax(1), torch.arange(10))
    assert torch.allclose(a.norm(dim=1), torch.ones(10))


def test_frozen_blocks_keep_their_dropout_off_in_training_mode(tmp_path: Path) -> None:
    tower = towers.tower(_spec("bert", "bert", tmp_path), "last:1").train()
    frozen, trained = towers.blocks(tower.model)
    assert [module.training for module in (tower, frozen, frozen.output.dropout, trained, trained.output.dropout)] == [  # type: ignore[union-attr]
        True, False, False, True, True,
    ]  # fmt: skip
    assert not tower.eval().training
    assert not any(module.training for module in tower.modules())


def test_making_a_tower_leaves_the_generator_alone(tmp_path: Path) -> None:
    made = _spec("vit", "vit", tmp_path)
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    towers.tower(made)
    assert torch.equal(torch.rand(3), wanted)


FRESH: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "clip": ("clip-text", tiny_checkpoints.clip),
    "vit": ("vit", tiny_checkpoints.vit),
    "bert": ("bert", tiny_checkpoints.bert),
    "ast": ("ast", tiny_checkpoints.ast),
}


@pytest.mark.parametrize("kind", FRESH)
def test_a_fresh_checkpoint_is_made_of_configuration_and_seed_alone(kind: str, tmp_path: Path) -> None:
    family, maker = FRESH[kind]
    source = tmp_path / "source"
    source.mkdir()
    old = registry.describe(family, str(maker(source)))
    (source / "model.safetensors").write_bytes(b"never read")
    first, same, other = (tower_folder.fresh(source, tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    new, twin, unlike = (registry.describe(family, str(folder)) for folder in (first, same, other))
    assert new.digest == twin.digest != unlike.digest
    assert replace(new, weights="", digest="") == replace(old, weights="", digest="")
    assert np.abs(_unit(towers.tower(new)) - _unit(towers.tower(unlike))).max() > 1e-2


def test_a_fresh_clip_s_text_half_begins_as_transformers_begins_it(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    tiny_checkpoints.clip(source)
    tower = towers.tower(registry.describe("clip-text", str(tower_folder.fresh(source, tmp_path / "new", seed=4))))
    torch.manual_seed(4)
    wanted = hf.CLIPModel(hf.CLIPConfig.from_pretrained(source)).state_dict()
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in tower.model.state_dict().items())


def test_a_fresh_ast_may_have_a_head_of_another_dimension(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    tiny_checkpoints.ast(source, head=False)
    assert registry.describe("ast", str(tower_folder.fresh(source, tmp_path / "new", dimension=20))).dimension == 20
    assert registry.describe("ast", str(tower_folder.fresh(source, tmp_path / "none"))).dimension == 32


def test_refusals_say_what_to_do(tmp_path: Path) -> None:
    made = _spec("bert", "bert", tmp_path)
    for asked, told in (("most", "last:2"), ("last:-1", "last:2"), ("last:3", "2 blocks"), ("last:0", "last:1 or more")):
        with pytest.raises(EncoderError, match=told):
            towers.tower(made, asked)
    with pytest.raises(EncoderError, match="train a head"):
        towers.tower(replace(made, encoder="resnet"))
    with pytest.raises(EncoderError, match="has a head already"):
        towers.tower(replace(made, head={"weights": "text.safetensors", "digest": "0", "base_dimension": 32}))
    with pytest.raises(EncoderError, match="changed"):
        towers.tower(replace(made, digest="0" * 64))
    with pytest.raises(EncoderError, match=r"no config\.json"):
        tower_folder.fresh(tmp_path / "nothing", tmp_path / "new")
    with pytest.raises(EncoderError, match="only an AST"):
        tower_folder.fresh(Path(made.weights), tmp_path / "new", dimension=5)
