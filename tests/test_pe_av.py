"""PE-AV puts texts, sounds, videos and pictures in one space; each tower is loaded by itself and computes what transformers computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import batch
import buckets
import numpy as np
import pytest
import soundfile
import tiny_several
import torch
import transformers as hf
from films import Film
from fixed_weights import media
from PIL import Image
from safetensors.torch import load_file, save_file

from encoders import registry
from encoders.errors import EncoderError
from encoders.pe_av_parts import TEXT_HEADS
from encoders.spaces import load_space
from retrieval.query import Searcher

ROOT = Path(__file__).parents[1]
NAMES = ("pe-av-text", "pe-av-audio", "pe-av-video", "pe-av-image")
TEXTS = ["a", "dog", "a red dog", "a small bird, the sea", "雨", "一只红狗", "Größe 42", "x" * 60, "  two  spaces ", "🙂 smile"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_several.pe_av(tmp_path_factory.mktemp("pe-av"))


def sounds() -> list[np.ndarray]:
    """Ten of odd lengths, from one sample to a whole window of 0.4 s at 800 Hz."""
    rng = np.random.default_rng(2)
    lengths = [1, 7, 8, 9, 100, 161, 250, 311, 319, 320]
    return [(0.5 * np.sin(np.arange(n) * rng.uniform(0.01, 1.5)) + 0.1 * rng.standard_normal(n)).astype(np.float32) for n in lengths]


def vectors(folder: Path, name: str, some: Sequence[Any], **options: Any) -> np.ndarray:
    return batch.vectors(registry.build(registry.describe(name, str(folder), **options), dtype="float32"), some)


def by_transformers(folder: Path) -> hf.PeAudioModel:
    """The half that reads and hears, which transformers builds without timm."""
    config = json.loads((folder / "config.json").read_text())
    parts = {"text_config": config["text_config"], "audio_config": config["audio_video_config"]["audio_config"]}
    model = hf.PeAudioModel(hf.PeAudioConfig(**parts)).eval()
    state = {name.removeprefix("audio_model."): tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    assert set(model.state_dict()) - set(state) == {"text_audio_logit_scale", "text_audio_logit_bias"}
    model.load_state_dict(state, strict=False)
    return model


def assert_same(found: np.ndarray, expected: torch.Tensor) -> None:
    wanted = torch.nn.functional.normalize(expected, dim=-1).numpy()
    assert (wanted @ wanted.T).min() < 0.99
    assert (found * wanted).sum(1).min() > 0.9999


def test_texts_are_those_of_transformers(folder: Path):
    model, tokenizer = by_transformers(folder), hf.AutoTokenizer.from_pretrained(folder)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        read = model.text_model(inputs["input_ids"], inputs["attention_mask"], output_hidden_states=True)
        expected = model.text_audio_head(read.hidden_states[-1][:, 0])
    assert_same(vectors(folder, "pe-av-text", TEXTS, matched="audio"), expected)


def test_sounds_are_those_of_transformers_own_extractor_and_model_each_by_itself(folder: Path):
    model, extractor = by_transformers(folder), hf.PeAudioFeatureExtractor.from_pretrained(folder)
    inputs = [extractor(sound, sampling_rate=tiny_several.RATE, return_tensors="pt") for sound in sounds()]
    with torch.no_grad():
        expected = torch.cat([model.get_audio_embeds(one["input_values"], one["padding_mask"]) for one in inputs])
    assert_same(vectors(folder, "pe-av-audio", sounds(), seconds=0.4), expected)


def test_the_order_of_frames_matters_and_a_picture_is_a_clip_of_one_frame(folder: Path):
    clip = np.random.default_rng(3).integers(0, 256, (3, 50, 40, 3), np.uint8)
    forward, backward = vectors(folder, "pe-av-video", [clip, clip[::-1]], frames=3)
    assert forward @ backward < 0.999
    single = vectors(folder, "pe-av-video", [clip[:1]], frames=1)
    np.testing.assert_allclose(vectors(folder, "pe-av-image", [clip[0]]), single, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_best_dtype_of_this_machine_keeps_the_vectors(name: str, folder: Path):
    spec = registry.describe(name, str(folder), **{"pe-av-audio": {"seconds": 0.4}, "pe-av-video": {"frames": 2}}.get(name, {}))
    found = []
    for dtype in ("float32", "auto"):
        encoder = registry.build(spec, dtype=dtype)
        found.append(batch.vectors(encoder, media(spec)[:4]))
    assert (found[0] * found[1]).sum(1).min() > 0.999


def test_texts_have_a_head_for_what_they_are_matched_with(folder: Path):
    found = {head: vectors(folder, "pe-av-text", ["a red dog"], matched=head)[0] for head in TEXT_HEADS}
    assert all(found[a] @ found[b] < 0.99 for a in found for b in found if a < b)
    assert len({registry.describe("pe-av-text", str(folder), matched=head).fingerprint for head in TEXT_HEADS}) == 3
    with pytest.raises(EncoderError, match="matched 'both' is unknown; use audio-video, audio, video"):
        registry.describe("pe-av-text", str(folder), matched="both")


def test_weights_that_are_saved_under_the_name_of_their_twin_are_found(folder: Path, tmp_path: Path):
    tiny_several.pe_av(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    for part in ("audio", "video"):
        place, twin = f"{part}_model.{part}_encoder.", f"audio_video_encoder.embedder.{part}_encoder."
        state = {name.replace(place, twin): tensor for name, tensor in state.items()}
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    clips = [np.random.default_rng(n).integers(0, 256, (2, 30, 40, 3), np.uint8) for n in range(2)]
    for name, some, options in (("pe-av-audio", sounds()[-2:], {"seconds": 0.4}), ("pe-av-video", clips, {"frames": 2})):
        np.testing.assert_allclose(vectors(tmp_path, name, some, **options), vectors(folder, name, some, **options), atol=1e-6)


@pytest.mark.parametrize(("name", "missing"), [("pe-av-audio", "audio_model.audio_head.proj"), ("pe-av-text", "text_model.final_norm")])
def test_a_checkpoint_that_lacks_weights_is_refused_with_their_names(name: str, missing: str, tmp_path: Path):
    tiny_several.pe_av(tmp_path)
    state = {key: tensor for key, tensor in load_file(tmp_path / "model.safetensors").items() if not key.startswith(missing)}
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match=f"has no weights for {missing}"):
        vectors(tmp_path, name, ["a"] if name == "pe-av-text" else sounds()[-1:])


def test_what_cannot_be_is_refused_by_what_came_and_what_was_allowed(folder: Path, tmp_path: Path):
    encoder = registry.build(registry.describe("pe-av-video", str(folder), frames=3))
    with pytest.raises(ValueError, match=r"expected a clip as uint8 \(3, height, width, 3\), got uint8 \(2, 9, 9, 3\)"):
        encoder.prepare(np.zeros((2, 9, 9, 3), np.uint8))
    with pytest.raises(EncoderError, match=r"a clip of 0 frames of 0 pixels in 10\.0 seconds cannot be"):
        registry.describe("pe-av-video", str(folder), frames=0)
    with pytest.raises(EncoderError, match=r"only mono, of at least 0\.01 s"):
        registry.describe("pe-av-audio", str(folder), seconds=0.001)
    tiny_several.pe_av(tmp_path)
    (tmp_path / "video_preprocessor_config.json").unlink()
    with pytest.raises(EncoderError, match="does not say size, image_mean, image_std of its frames"):
        registry.describe("pe-av-image", str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    config["audio_video_config"]["video_config"]["vision_config"]["model_args"]["swiglu_mlp"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    tiny_several.pe_av(tmp_path / "other")
    (tmp_path / "config.json").rename(tmp_path / "other" / "config.json")
    with pytest.raises(EncoderError, match="is built with swiglu_mlp, which is not supported"):
        vectors(tmp_path / "other", "pe-av-image", [np.zeros((9, 9, 3), np.uint8)])


def space(folder: Path, weights: str, **encoders: str) -> str:
    path = folder / "space.toml"
    path.write_text('name = "several"\n' + "".join(f'[{m}]\nencoder = "{e}"\nweights = "{weights}"\n' for m, e in encoders.items()))
    return str(path)


def test_the_four_encoders_make_one_space(folder: Path, tmp_path: Path):
    made = load_space(space(tmp_path, str(folder), text=NAMES[0], audio=NAMES[1], video=NAMES[2], image=NAMES[3]))
    assert (set(made.encoders), made.dimension) == ({"text", "audio", "video", "image"}, tiny_several.WIDTH)


def test_an_encoder_loads_its_own_tower_alone_and_nobody_imports_timm(folder: Path):
    program = f"""
import sys, json
from encoders import registry
from encoders.pe_av_parts import audio_part, text_part, video_part
from pathlib import Path
describing = [registry.describe(name, {str(folder)!r}).dimension for name in {NAMES!r}]
light = sorted({{"torch", "transformers"}} & set(sys.modules))
parts = [text_part(Path({str(folder)!r}), "audio"), audio_part(Path({str(folder)!r})), video_part(Path({str(folder)!r}))]
print(json.dumps([light, [sum(p.numel() for p in part.parameters()) for part in parts], "timm" in sys.modules]))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=True)
    light, sizes, timm = json.loads(done.stdout.splitlines()[-1])
    whole = sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())
    assert (light, timm) == ([], False)
    assert sum(sizes) < whole  # two heads of texts belong to none of them


def test_a_bucket_of_all_four_is_embedded_and_asked_in_one_space(folder: Path, tmp_path: Path):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    (bucket / "words.txt").write_text("a small red bird sings")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (50, 60, 3), np.uint8)).save(bucket / "picture.png")
    soundfile.write(bucket / "sound.wav", sounds()[-1], tiny_several.RATE)
    Film(seconds=3.0, paint=lambda time: np.full((48, 64, 3), int(80 * time) % 256, np.uint8)).write(bucket / "film.mp4")
    path = tmp_path / "space.toml"
    sections = {"text": "", "image": "", "audio": "seconds = 0.4", "video": "frames = 3\nseconds = 1.5"}
    path.write_text(
        'name = "several"\n' + "".join(f'[{m}]\nencoder = "pe-av-{m}"\nweights = "{folder}"\n{o}\n' for m, o in sections.items())
    )
    account = buckets.embed(bucket, tmp_path / "lance", space=str(path), scratch=str(tmp_path), dtype="float32")
    assert (account.embedded, account.quarantined, account.balanced) == (4, 0, True)
    asked = Searcher(str(tmp_path / "lance"))
    held = [(Path(hit.uri).name, hit.modality) for hit in asked.search("a bird sings", limit=1000)]
    assert {name for name, _ in held} == {"words.txt", "picture.png", "sound.wav", "film.mp4"}
    assert {modality for name, modality in held if name == "film.mp4"} == {"video", "audio"}
    for name in ("picture.png", "sound.wav"):
        best = asked.search(bucket / name, limit=1)[0]
        assert Path(best.uri).name == name
        assert best.score > 0.999
