"""Encoders are found by name, described from configuration files alone, and built without weights and without torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import tiny_checkpoints

from encoders import registry
from encoders.errors import EncoderError
from encoders.pretrained import setting
from encoders.spec import Spec

ROOT = Path(__file__).parents[1]
WITH_PICTURES = ("clip", "vit")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One checkpoint for each name of the registry."""
    made = {name: getattr(tiny_checkpoints, name)(tmp_path_factory.mktemp(name)) for name in ("clip", "vit", "bert", "ast")}
    return {**made, "clip-text": made["clip"], "clip-image": made["clip"]}


def describe(name: str, folder: Path, **options: Any) -> Spec:
    return registry.describe(name, str(folder), **options)


def test_an_unknown_name_is_told_the_nearest_and_all_names():
    with pytest.raises(
        EncoderError, match=r"no encoder is called 'clip-imgae', did you mean 'clip-image'\?; known: ast, .*clip-image, clip-text, "
    ):
        registry.find("clip-imgae")


def test_an_unknown_or_wrongly_typed_option_is_refused_before_any_work():
    with pytest.raises(
        EncoderError,
        match=r"encoder 'bert' has no option 'poolings', did you mean 'pooling'\?; allowed: weights, revision, licence, pooling",
    ):
        registry.describe("bert", "nowhere", poolings="mean")
    with pytest.raises(EncoderError, match="takes int as 'chunk', got str '100'"):
        registry.describe("bert", "nowhere", chunk="100")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit", {"pooling": "mean"}),
        ("bert", {"pooling": "cls"}),
        ("bert", {"chunk": 20}),
        ("clip-text", {"overlap": 1}),
        ("ast", {"window_samples": 5000}),
    ],
)
def test_an_option_that_moves_vectors_or_segments_changes_the_fingerprint(tiny: dict[str, Path], name: str, options: dict[str, Any]):
    assert describe(name, tiny[name], **options).fingerprint != describe(name, tiny[name]).fingerprint


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [("clip-image", "image_mean", [0.4, 0.5, 0.5]), ("vit", "resample", 3), ("ast", "std", 1.5), ("ast", "mean", 0.0)],
)
def test_a_setting_of_the_processor_changes_the_preprocessing(tiny: dict[str, Path], name: str, key: str, value: Any, tmp_path: Path):
    folder = shutil.copytree(tiny[name], tmp_path / "changed")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**settings, key: value}))
    changed, before = describe(name, folder), describe(name, tiny[name])
    assert changed.preprocessing != before.preprocessing
    assert replace(changed, digest=before.digest).fingerprint != before.fingerprint


def test_every_field_of_a_spec_but_place_and_licence_counts():
    spec = Spec("a", "text", 4, "tokens", "w", "r", "d", {"context": 8}, "mean", "MIT")
    others = {
        "encoder": "b",
        "modality": "image",
        "dimension": 5,
        "inputs": "x",
        "digest": "e",
        "preprocessing": {"context": 9},
        "pooling": "cls",
        "head": {"weights": "h", "digest": "i", "base_dimension": 4},
    }
    free = {"weights": "v", "revision": "s", "licence": "CC0", "service": {"url": "https://elsewhere"}}
    assert {f.name for f in fields(Spec)} == set(others) | set(free)
    assert all(replace(spec, **{name: value}).fingerprint != spec.fingerprint for name, value in others.items())
    assert all(replace(spec, **{name: value}).fingerprint == spec.fingerprint for name, value in free.items())


def test_transformers_processor_config_is_read_where_it_writes_no_preprocessor_config(tiny: dict[str, Path], tmp_path: Path):
    folder = shutil.copytree(tiny["clip"], tmp_path / "clip")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": settings, "processor_class": "CLIPProcessor"}))
    assert describe("clip-image", folder).preprocessing == describe("clip-image", tiny["clip"]).preprocessing


def test_what_an_older_processor_left_to_its_defaults_is_filled_in(tiny: dict[str, Path], tmp_path: Path):
    """As the early checkpoints on the hub state it: a bare number as size, an extractor's name, no scaling."""
    folder = shutil.copytree(tiny["vit"], tmp_path / "vit")
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_extractor_type": "ViTFeatureExtractor", "size": 32}))
    how = describe("vit", folder).preprocessing
    assert (how["size"], how["fit"], how["crop"], how["resample"], how["mean"]) == (32, "stretch", 32, "bilinear", [0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_processor_type": "ConvNextImageProcessor"}, "must say its shortest_edge"),
        ({"image_processor_type": "PoolFormerImageProcessor"}, "which is not known to work as ours does; known: CLIPImageProcessor"),
        ({"do_rescale": False}, "does not scale them to 0..1"),
        ({"rescale_factor": 1 / 127.5}, "does not scale them to 0..1"),
        ({"do_resize": False}, "does not resize pictures"),
        ({"size": {"height": 32, "width": 48}}, "only squares can be encoded"),
        ({"size": {"shortest_edge": 32}}, "only squares can be encoded"),
        ({"size": {"height": 48, "width": 48}}, "prepares pictures of 48 pixels for a model of 32"),
        ({"resample": 9}, "resamples with number 9"),
        ({"do_center_crop": True, "crop_size": {"height": 48, "width": 48}}, "which would need a border"),
    ],
)
def test_a_processor_that_does_something_else_is_refused(tiny: dict[str, Path], tmp_path: Path, settings: dict[str, Any], message: str):
    folder = shutil.copytree(tiny["vit"], tmp_path / "vit")
    before = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**before, **settings}))
    with pytest.raises(EncoderError, match=message):
        describe("vit", folder)


def test_a_checkpoint_without_its_processor_or_tokenizer_is_refused(tiny: dict[str, Path], tmp_path: Path):
    folder = shutil.copytree(tiny["clip"], tmp_path / "clip")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(EncoderError, match=r"no preprocessor_config\.json"):
        describe("clip-image", folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match=r"no tokenizer\.json; transformers writes one"):
        describe("clip-text", folder)


@pytest.mark.parametrize(
    ("name", "other", "message"),
    [
        ("vit", "clip", "CLIP-like checkpoint with two halves; use the encoders clip-image"),
        ("bert", "clip", "CLIP-like checkpoint with two halves; use the encoders clip-text"),
        ("clip-text", "bert", "holds bert, which has no text_config and vision_config"),
        ("clip-image", "vit", "holds vit, which has no text_config and vision_config"),
        ("ast", "bert", "holds bert, not an audio-spectrogram-transformer"),
    ],
)
def test_a_checkpoint_of_another_family_is_refused(tiny: dict[str, Path], name: str, other: str, message: str):
    with pytest.raises(EncoderError, match=message):
        describe(name, tiny[other])


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("config.json", {"is_encoder_decoder": True}, "an encoder with a decoder"),
        ("sentence_bert_config.json", {"module_output_name": "sentence_embedding"}, "takes sentence_embedding from its model"),
        ("1_Pooling/config.json", {"pooling_mode_max_tokens": True}, "pools by max_tokens; known are cls_token, mean_tokens, lasttoken"),
        (
            "modules.json",
            [{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.LSTM"}],
            "LSTM in",
        ),
    ],
)
def test_what_would_be_encoded_wrongly_is_refused(tiny: dict[str, Path], tmp_path: Path, name: str, settings: Any, message: str):
    folder = shutil.copytree(tiny["bert"], tmp_path / "bert")
    (folder / name).parent.mkdir(exist_ok=True)
    before = json.loads((folder / name).read_text()) if (folder / name).is_file() else {}
    (folder / name).write_text(json.dumps({**before, **settings} if isinstance(settings, dict) else settings))
    with pytest.raises(EncoderError, match=message):
        describe("bert", folder)


@pytest.mark.parametrize(("stored", "expected"), [("", "mean"), ("cls_token", "cls"), ("mean_tokens", "mean"), ("lasttoken", "last")])
def test_pooling_is_what_sentence_transformers_stored(tmp_path: Path, stored: str, expected: str):
    assert describe("bert", tiny_checkpoints.bert(tmp_path, pooling=stored)).pooling == expected


@pytest.mark.parametrize(("name", "pooling"), [("vit", "max"), ("bert", "pooler")])
def test_an_unknown_pooling_is_refused(tiny: dict[str, Path], name: str, pooling: str):
    with pytest.raises(EncoderError, match=f"pooling '{pooling}' is unknown"):
        describe(name, tiny[name], pooling=pooling)


@pytest.mark.parametrize(("chunk", "overlap"), [(31, 0), (-1, 0), (10, 10)])
def test_a_chunk_that_does_not_fit_the_context_is_refused(tiny: dict[str, Path], chunk: int, overlap: int):
    with pytest.raises(EncoderError, match="does not fit: at most 30 tokens"):
        describe("bert", tiny["bert"], chunk=chunk, overlap=overlap)


def test_the_context_is_the_least_that_model_tokenizer_and_sentence_transformers_allow(tiny: dict[str, Path], tmp_path: Path):
    assert describe("bert", tiny["bert"]).preprocessing["context"] == 32
    assert describe("bert", tiny_checkpoints.roberta(tmp_path)).preprocessing["context"] == 40
    assert describe("clip-text", tiny["clip"]).preprocessing["chunk"] == {"size": 22, "overlap": 2}


def test_a_window_is_exactly_what_fills_the_frames(tiny: dict[str, Path]):
    """A frame of 400 samples every 160: one sample fewer, and the last of 64 frames would not be full."""
    samples = describe("ast", tiny["ast"]).preprocessing["window_samples"]
    assert 1 + (samples - 400) // 160 == 64
    assert 1 + (samples - 1 - 400) // 160 == 63


def test_a_value_that_a_configuration_leaves_out_is_the_models_default(tmp_path: Path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "distilbert", "dim": 48}))
    assert (setting(tmp_path, "hidden_size"), setting(tmp_path, "max_position_embeddings")) == (48, 512)
    with pytest.raises(EncoderError, match=r"does not say vision_config\.patch_size"):
        setting(tmp_path, "vision_config", "patch_size")


def test_describing_building_and_preparing_import_neither_torch_nor_transformers():
    program = """
import sys
import numpy as np
from encoders import registry
from encoders.spaces import load_space
media = {"text": "a red dog", "image": np.zeros((50, 70, 3), np.uint8), "audio": np.zeros(49152, np.float32)}
for modality, spec in load_space("miniature").encoders.items():
    registry.build(spec).prepare(media[modality])
print(sorted({"torch", "transformers", "pyarrow", "prefect", "lancedb"} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
