"""A text alone goes through NumPy: to the vector that transformers computes, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from encoders import clip_text_numpy, registry
from encoders.errors import EncoderError
from encoders.stacking import alone, together

TEXTS = ("a", "a dog barks", "夜晚的猫", "x" * 22)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.clip(tmp_path_factory.mktemp("clip"))


def changed(folder: Path, to: Path, dtype: torch.dtype | None = None, without: str = "", **text_config: object) -> Path:
    """A copy of a checkpoint with other settings of its text half, other numbers, or a weight less."""
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    config = json.loads((to / "config.json").read_text(encoding="utf-8"))
    config["text_config"] |= text_config
    (to / "config.json").write_text(json.dumps(config), encoding="utf-8")
    weights = {name: tensor.to(dtype or tensor.dtype) for name, tensor in load_file(to / "model.safetensors").items() if name != without}
    save_file(weights, to / "model.safetensors", {"format": "pt"})
    return to


def expected(folder: Path, ids: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        model = hf.CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
        features = model.get_text_features(input_ids=torch.from_numpy(ids[None].astype(np.int64))).pooler_output
    return torch.nn.functional.normalize(features)[0].numpy()


@pytest.mark.parametrize(
    "how",
    [
        {"hidden_act": "quick_gelu"},
        {"hidden_act": "gelu"},
        {"eos_token_id": 2},
        {"num_attention_heads": 4, "layer_norm_eps": 0.01},
        {"dtype": torch.float16},
    ],
    ids=str,
)
def test_a_text_alone_has_the_vector_of_transformers(clip: Path, tmp_path: Path, how: dict[str, object]):
    folder = changed(clip, tmp_path / "other", **how)
    tower = clip_text_numpy.read(folder)
    encoder = registry.build(registry.describe("clip-text", str(folder)), "cpu", "float32")
    vectors = []
    for text in TEXTS:
        ids = encoder.prepare(text)["input_ids"]
        vectors.append(tower.encode(ids))
        np.testing.assert_allclose(vectors[-1], expected(folder, ids), atol=2e-6)
    assert (np.array(vectors) @ np.array(vectors).T)[np.triu_indices(len(TEXTS), 1)].max() < 0.99


def test_weights_in_several_files_are_read_from_all(clip: Path, tmp_path: Path):
    hf.CLIPModel.from_pretrained(clip).save_pretrained(tmp_path, max_shard_size="20kB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ids = np.array([257, 5, 6, 258], np.int32)
    np.testing.assert_array_equal(clip_text_numpy.read(tmp_path).encode(ids), clip_text_numpy.read(clip).encode(ids))


def test_what_is_no_clip_that_numpy_computes_is_left_to_transformers(clip: Path, tmp_path: Path):
    others = [tiny_checkpoints.chinese_clip(tmp_path / "chinese"), tiny_checkpoints.siglip(tmp_path / "siglip")]
    others += [
        changed(clip, tmp_path / "activation", hidden_act="gelu_new"),
        changed(clip, tmp_path / "ends", eos_token_id=[258, 259]),
        changed(clip, tmp_path / "half", dtype=torch.bfloat16),
        changed(clip, tmp_path / "part", without="text_model.encoder.layers.1.mlp.fc2.bias"),
    ]
    assert [clip_text_numpy.read(folder) for folder in others] == [None] * len(others)
    encoder = registry.build(registry.describe("clip-text", str(tmp_path / "half")), "cpu", "float32")
    vector = encoder.encode(alone(encoder.prepare("a dog")))[0]
    np.testing.assert_allclose(vector, expected(tmp_path / "half", encoder.prepare("a dog")["input_ids"]), atol=2e-6)


def test_one_text_and_the_same_in_a_batch_have_one_vector_in_the_miniature():
    encoder = registry.build(registry.describe("clip-text", "package:miniature/clip"), "cpu", "float32")
    prepared = [encoder.prepare(text) for text in ("a dog", "a big red train in the rain", "夜晚，一只白色的猫")]
    one_by_one = np.concatenate([encoder.encode(alone(inputs)) for inputs in prepared])
    np.testing.assert_allclose(one_by_one, encoder.encode(together(prepared)), atol=2e-6)


def test_weights_that_have_changed_are_refused_for_a_text_alone(clip: Path, tmp_path: Path):
    folder = changed(clip, tmp_path / "other")
    encoder = registry.build(registry.describe("clip-text", str(folder)), "cpu", "float32")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["text_config"]["layer_norm_eps"] = 0.1
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(EncoderError, match="they were changed"):
        encoder.encode(alone(encoder.prepare("a dog")))
