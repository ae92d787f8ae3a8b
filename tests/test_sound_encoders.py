"""Every encoder of sounds hears what transformers' own feature extractor and model hear, in windows that are never cut at random."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import tiny_sounds
import torch
import transformers as hf
from batch import vectors
from nasty_media import sweep
from safetensors.torch import load_file, save_file
from tiny_sounds import CLAP_SAMPLES, POSITIONS, RATE, WHISPER_SAMPLES

from encoders import registry
from encoders.clap import filled
from encoders.errors import EncoderError
from encoders.spec import Encoder
from encoders.wav2vec2 import receptive_field

FRAME = 40  # samples that a frame of the tiny wav2vec 2.0 sees


def sounds(longest: int) -> list[np.ndarray]:
    """Ten of odd lengths, from one sample to a whole window: tones, noise, a click, silence."""
    rng = np.random.default_rng(2)
    lengths = [1, 39, 40, 41, 1600, 3333, longest // 2, longest // 2 + 1, longest - 1, longest]
    made = [rng.uniform(0.05, 0.8) * np.sin(np.arange(n) * rng.uniform(0.01, 1.5)) + 0.02 * rng.standard_normal(n) for n in lengths]
    made[4] *= np.arange(1600) < 30
    made[7] = np.zeros(len(made[7]))
    return [sound.astype(np.float32) for sound in made]


def texts() -> list[str]:
    return ["a", "dog", "rain on a roof", "雨", "Größe 42", "x" * 22, "  two  spaces ", "🙂 smile", "bark", "a bell, far away"]


def clap_sounds(folder: Path, media: Sequence[np.ndarray]) -> torch.Tensor:
    """One sound at a time; where there is fusion, the extractor calls one of each batch longer at random: that is not taken."""
    extractor, model = hf.AutoFeatureExtractor.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    found = []
    for sound in media:
        inputs = extractor(sound, sampling_rate=RATE, return_tensors="pt")
        inputs["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)
        inputs["input_features"] = inputs["input_features"].float()
        found.append(model.get_audio_features(**inputs).pooler_output[0])
    return torch.stack(found)


def clap_texts(folder: Path, media: Sequence[str]) -> torch.Tensor:
    tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    return model.get_text_features(**tokenizer(list(media), padding=True, return_tensors="pt")).pooler_output


def masked(folder: Path, media: Sequence[np.ndarray]) -> torch.Tensor:
    """All sounds in one batch with a mask, as checkpoints normalised by "layer" were trained."""
    extractor, model = hf.AutoFeatureExtractor.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    inputs = extractor(list(media), sampling_rate=RATE, padding=True, return_attention_mask=True, return_tensors="pt")
    mask = inputs["attention_mask"]
    mask[:, :FRAME] = 1  # silence up to the first frame is heard
    states = model(inputs["input_values"], attention_mask=mask).last_hidden_state
    real = model._get_feature_vector_attention_mask(states.shape[1], mask)
    return torch.stack([each[keep].mean(0) for each, keep in zip(states, real, strict=True)])


def one_by_one(folder: Path, media: Sequence[np.ndarray]) -> torch.Tensor:
    """Each sound by itself, without padding and without a mask, as checkpoints normalised by "group" were trained."""
    extractor, model = hf.AutoFeatureExtractor.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    found = []
    for sound in media:
        length = max(FRAME, len(sound))
        options = {"padding": "max_length", "max_length": length, "return_attention_mask": True, "return_tensors": "pt"}
        inputs = extractor(sound, sampling_rate=RATE, **options)
        found.append(model(inputs["input_values"]).last_hidden_state[0].mean(0))
    return torch.stack(found)


def whisper(folder: Path, media: Sequence[np.ndarray]) -> torch.Tensor:
    extractor, model = hf.AutoFeatureExtractor.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    states = model.encoder(extractor(list(media), sampling_rate=RATE, return_tensors="pt")["input_features"]).last_hidden_state
    return torch.stack([each[: -(-len(sound) // 320)].mean(0) for each, sound in zip(states, media, strict=True)])


# name in the registry, checkpoint, its options, reference
CASES: dict[str, tuple[str, Callable[..., Path], dict[str, Any], Callable[[Path, Any], torch.Tensor]]] = {
    "clap sounds": ("clap-audio", tiny_sounds.clap, {}, clap_sounds),
    "clap sounds, repeated and cut": ("clap-audio", tiny_sounds.clap, {"padding": "repeat"}, clap_sounds),
    "clap sounds, followed by silence": ("clap-audio", tiny_sounds.clap, {"padding": "pad"}, clap_sounds),
    "clap sounds, with fusion": ("clap-audio", tiny_sounds.clap, {"fusion": True}, clap_sounds),
    "clap texts": ("clap-text", tiny_sounds.clap, {}, clap_texts),
    "wav2vec2 layer": ("wav2vec2", tiny_sounds.wav2vec2, {"norm": "layer"}, masked),
    "wav2vec2 group": ("wav2vec2", tiny_sounds.wav2vec2, {}, one_by_one),
    "wav2vec2 as it comes": ("wav2vec2", tiny_sounds.wav2vec2, {"normalise": False}, one_by_one),
    "hubert layer": ("hubert", tiny_sounds.hubert, {"norm": "layer"}, masked),
    "hubert group": ("hubert", tiny_sounds.hubert, {}, one_by_one),
    "wavlm layer": ("wavlm", tiny_sounds.wavlm, {"norm": "layer"}, one_by_one),
    "wavlm group": ("wavlm", tiny_sounds.wavlm, {}, one_by_one),
    "whisper": ("whisper", tiny_sounds.whisper, {}, whisper),
    "whisper of 128 bands": ("whisper", tiny_sounds.whisper, {"bands": 128}, whisper),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {case: make(tmp_path_factory.mktemp("tiny"), **options) for case, (_, make, options, _) in CASES.items()}


def build(case: str, folders: dict[str, Path], **options: Any) -> Encoder:
    return registry.build(registry.describe(CASES[case][0], str(folders[case]), **options), dtype="float32")


def media_of(encoder: Encoder) -> list[Any]:
    return texts() if encoder.spec.modality == "text" else sounds(min(RATE, encoder.spec.preprocessing["window_samples"]))


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_those_of_transformers_own_extractor_and_model(case: str, folders: dict[str, Path]):
    encoder = build(case, folders)
    media = media_of(encoder)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(CASES[case][3](folders[case], media), dim=-1).numpy()
    assert (expected @ expected.T).min() < 0.99  # or the comparison would say nothing
    found = vectors(encoder, media)
    assert found.dtype == np.float32
    assert found.shape == (10, encoder.spec.dimension)
    assert (found * expected).sum(1).min() > 0.9999


@pytest.mark.parametrize("case", CASES)
def test_a_vector_does_not_depend_on_its_neighbours_nor_on_their_order(case: str, folders: dict[str, Path]):
    encoder = build(case, folders)
    media = media_of(encoder)
    together = vectors(encoder, media)
    np.testing.assert_allclose(np.concatenate([vectors(encoder, [medium]) for medium in media]), together, atol=1e-5)
    np.testing.assert_allclose(vectors(encoder, media[::-1])[::-1], together, atol=1e-5)


def test_a_batch_that_is_too_large_for_one_pass_goes_in_several(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    for case, place in (("wav2vec2 layer", "wav2vec2"), ("wav2vec2 group", "wav2vec2"), ("clap sounds", "clap"), ("whisper", "whisper")):
        encoder = build(case, folders)
        together = vectors(encoder, media_of(encoder))
        monkeypatch.setattr(f"encoders.{place}.AT_ONCE", 5000 if place == "wav2vec2" else 3)
        np.testing.assert_allclose(vectors(encoder, media_of(encoder)), together, atol=1e-5)


@pytest.mark.parametrize("length", [1, 1500, 7999, 8000, 8001, 16000])
@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("clap sounds")])
def test_the_mel_of_clap_is_that_of_its_extractor(case: str, length: int, folders: dict[str, Path]):
    extractor = hf.AutoFeatureExtractor.from_pretrained(folders[case])
    sound = sounds(CLAP_SAMPLES)[9][:length]
    found = build(case, folders).prepare(sound)["mel"]
    for channel in extractor(sound, sampling_rate=RATE)["input_features"][0]:
        np.testing.assert_allclose(found, channel, atol=1e-3)


@pytest.mark.parametrize(("truncation", "scale", "norm"), [("rand_trunc", "slaney", "slaney"), ("fusion", "htk", None)])
def test_the_mel_of_a_whole_window_of_clap_is_that_of_its_extractor_and_of_librosa(tmp_path: Path, truncation: str, scale: str, norm: Any):
    from encoders.feature_extractor import clap_preprocessing
    from encoders.spectrogram import log_mel_of

    extractor = hf.ClapFeatureExtractor(truncation=truncation, frequency_min=50)
    extractor.save_pretrained(tmp_path)
    how = clap_preprocessing(tmp_path)
    sound = sweep(10.0, 48000)[:480_000]
    found = log_mel_of(sound, how)
    assert (how["padded_samples"], found.shape) == (480_000, (1001, 64))
    np.testing.assert_allclose(found, extractor(sound, sampling_rate=48000)["input_features"][0][0], atol=1e-3)
    energy = librosa.feature.melspectrogram(
        y=sound, sr=48000, n_fft=1024, hop_length=480, n_mels=64, fmin=50, fmax=14000, pad_mode="reflect", htk=scale == "htk", norm=norm
    )
    np.testing.assert_allclose(found, librosa.power_to_db(energy, top_db=None).T, atol=5e-3)


@pytest.mark.parametrize("bands", [80, 128])
@pytest.mark.parametrize("length", [1, 1599, 160_000, 479_999, 480_000])
def test_the_mel_of_whisper_is_that_of_its_extractor_and_of_librosa(tmp_path: Path, bands: int, length: int):
    from encoders.feature_extractor import whisper_preprocessing
    from encoders.spec import Spec
    from encoders.whisper import Whisper

    extractor = hf.WhisperFeatureExtractor(feature_size=bands)
    extractor.save_pretrained(tmp_path)
    how = {**whisper_preprocessing(tmp_path), "window_samples": 480_000}
    encoder = Whisper(Spec("whisper", "audio", 8, "mel", preprocessing=how))
    sound = sweep(length / RATE + 0.1, RATE)[:length].astype(np.float32)
    prepared = encoder.prepare(sound)
    assert prepared["mel"].shape == (3000, bands)
    assert prepared["heard"].tolist() == [[max(1, -(-length // 320))]]
    np.testing.assert_allclose(prepared["mel"], extractor(sound, sampling_rate=RATE)["input_features"][0].T, atol=1e-3)
    padded = np.pad(sound, (0, 480_000 - length))
    energy = librosa.feature.melspectrogram(y=padded, sr=RATE, n_fft=400, hop_length=160, n_mels=bands, pad_mode="reflect", fmax=8000)
    decades = np.log10(np.maximum(energy, 1e-10)).T[:3000]
    np.testing.assert_allclose(prepared["mel"], (np.maximum(decades, decades.max() - 8) + 4) / 4, atol=1e-3)


def test_samples_of_speech_models_are_those_of_their_extractor(folders: dict[str, Path]):
    extractor = hf.AutoFeatureExtractor.from_pretrained(folders["hubert group"])
    encoder = build("hubert group", folders)
    for sound in sounds(RATE)[2:]:
        expected = extractor(sound, sampling_rate=RATE)["input_values"][0]
        np.testing.assert_allclose(encoder.prepare(sound)["samples"], expected, atol=1e-5)
    assert encoder.prepare(sounds(RATE)[1])["samples"].shape == (FRAME,)


def test_every_parameter_of_a_spectrogram_stands_in_the_spec(folders: dict[str, Path]):
    mel = {"sampling_rate", "hop", "bands", "low", "high", "scale", "floor", "unit"}
    for case in ("clap sounds", "whisper"):
        assert mel | {"fft", "window", "center", "pad_mode", "norm"} < set(build(case, folders).spec.preprocessing)
    assert mel | {"length", "preemphasis", "frames"} < set(registry.describe("ast", "package:miniature/audio").preprocessing)


def test_the_frames_of_usual_speech_models_see_25_ms_every_20_ms():
    assert receptive_field((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)) == (400, 320)
    model = hf.Wav2Vec2Model(hf.Wav2Vec2Config(hidden_size=8, num_hidden_layers=0, num_attention_heads=2, intermediate_size=8, **POSITIONS))
    for length in (400, 719, 720, 721, 159_999, 160_000):
        assert 1 + (length - 400) // 320 == model._get_feat_extract_output_lengths(length)


@pytest.mark.parametrize(
    ("padding", "expected"),
    [("repeatpad", [1, 2, 3, 1, 2, 3, 0, 0]), ("repeat", [1, 2, 3, 1, 2, 3, 1, 2]), ("pad", [1, 2, 3, 0, 0, 0, 0, 0])],
)
def test_a_short_sound_is_filled_up_as_the_checkpoint_was_trained(padding: str, expected: list[int]):
    np.testing.assert_array_equal(filled(np.float32([1, 2, 3]), 8, padding), expected)
    np.testing.assert_array_equal(filled(np.arange(8), 8, padding), np.arange(8))


@pytest.mark.parametrize("case", ["clap sounds", "wav2vec2 group", "whisper"])
@pytest.mark.parametrize("sound", [np.zeros(0, np.float32), np.zeros(9), np.zeros((2, 9), np.float32), np.zeros(160_001, np.float32)])
def test_a_sound_that_is_no_window_is_refused(case: str, sound: np.ndarray, folders: dict[str, Path]):
    with pytest.raises(ValueError, match=r"expected a sound as float32 \(1 to \d+,\), got"):
        build(case, folders).prepare(sound)


@pytest.mark.parametrize(("case", "longest"), [("clap sounds", CLAP_SAMPLES), ("whisper", WHISPER_SAMPLES)])
def test_windows_are_at_most_what_the_model_hears_at_once(case: str, longest: int, folders: dict[str, Path]):
    assert build(case, folders).spec.preprocessing["window_samples"] == longest
    assert build(case, folders, window_samples=5000).spec.preprocessing["window_samples"] == 5000
    assert build(case, folders, window_samples=5000).spec.fingerprint != build(case, folders).spec.fingerprint
    for wrong in (longest + 1, -1):
        with pytest.raises(EncoderError, match=f"window_samples {wrong} is no length of a window; give 1 to {longest}"):
            build(case, folders, window_samples=wrong)


@pytest.mark.parametrize("case", ["clap sounds, with fusion", "wavlm layer", "hubert layer", "whisper"])
def test_bfloat16_gives_nearly_the_same_vectors(case: str, folders: dict[str, Path]):
    encoder = build(case, folders, window_samples=2000)
    coarse = registry.build(encoder.spec, dtype="bfloat16")
    media = [sound[:2000] for sound in sounds(RATE)[2:]]
    assert (vectors(coarse, media) * vectors(encoder, media)).sum(1).min() > 0.99


def test_checkpoints_of_another_family_are_refused_by_name(folders: dict[str, Path]):
    for name, case, told in (
        ("hubert", "wav2vec2 group", "holds wav2vec2, not hubert; the encoders wav2vec2 or wavlm"),
        ("clap-audio", "whisper", "holds whisper, not clap"),
        ("clap-text", "whisper", "holds whisper, not clap"),
        ("whisper", "clap sounds", "holds clap, not whisper"),
        ("ast", "whisper", "holds whisper, not an audio-spectrogram-transformer"),
    ):
        with pytest.raises(EncoderError, match=told):
            registry.describe(name, str(folders[case]))


def test_settings_that_do_not_fit_the_model_are_refused(tmp_path: Path):
    clap = tiny_sounds.clap(tmp_path / "clap")
    hf.ClapFeatureExtractor(feature_size=16, truncation="fusion").save_pretrained(clap)
    with pytest.raises(EncoderError, match="prepares 16 bands with fusion for a model of 16 without"):
        registry.describe("clap-audio", str(clap))
    whisper = tiny_sounds.whisper(tmp_path / "whisper")
    hf.WhisperFeatureExtractor(feature_size=20, chunk_length=2).save_pretrained(whisper)
    with pytest.raises(EncoderError, match="prepares 20 bands and 200 frames for a model of 20 and 100"):
        registry.describe("whisper", str(whisper))
    hf.WhisperFeatureExtractor(feature_size=20, chunk_length=1, dither=0.1).save_pretrained(whisper)
    with pytest.raises(EncoderError, match="adds random noise"):
        registry.describe("whisper", str(whisper))


def test_an_extractor_that_is_not_named_is_the_familys_own_and_another_is_refused(tmp_path: Path):
    folder = tiny_sounds.hubert(tmp_path)
    named = registry.describe("hubert", str(folder))
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in settings.items() if name != "feature_extractor_type"}))
    assert registry.describe("hubert", str(folder)).preprocessing == named.preprocessing
    path.write_text(json.dumps({**settings, "feature_extractor_type": "SeamlessM4TFeatureExtractor"}))
    with pytest.raises(EncoderError, match="preprocesses with SeamlessM4TFeatureExtractor; only Wav2Vec2FeatureExtractor is known here"):
        registry.describe("hubert", str(folder))


@pytest.mark.parametrize(("name", "tuned"), [("wav2vec2", hf.Wav2Vec2ForCTC), ("hubert", hf.HubertForCTC), ("wavlm", hf.WavLMForCTC)])
def test_checkpoints_tuned_for_a_task_or_saved_by_old_versions_are_read_without_their_head(tmp_path: Path, name: str, tuned: Any):
    base, head = getattr(tiny_sounds, name)(tmp_path / "base"), tmp_path / "head"
    expected = vectors(registry.build(registry.describe(name, str(base)), dtype="float32"), sounds(RATE))
    model = tuned(hf.AutoConfig.from_pretrained(base))
    getattr(model, name).load_state_dict(hf.AutoModel.from_pretrained(base).state_dict())
    model.save_pretrained(head)
    tensors = load_file(head / "model.safetensors")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    for new, before in old.items():
        tensors = {tensor.replace(new, before): value for tensor, value in tensors.items() if "masked_spec_embed" not in tensor}
    save_file(tensors, head / "model.safetensors", metadata={"format": "pt"})
    (head / "preprocessor_config.json").write_bytes((base / "preprocessor_config.json").read_bytes())
    found = vectors(registry.build(registry.describe(name, str(head)), dtype="float32"), sounds(RATE))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_whisper_needs_no_decoder_but_its_whole_encoder(tmp_path: Path):
    folder = tiny_sounds.whisper(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if "decoder" not in n}, folder / "model.safetensors", metadata={"format": "pt"})
    encoder = registry.build(registry.describe("whisper", str(folder)))
    assert vectors(encoder, sounds(RATE)).shape == (10, 32)
    save_file({n: t for n, t in tensors.items() if "conv2" not in n}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"no fitting weights for encoder\.conv2"):
        vectors(registry.build(registry.describe("whisper", str(folder))), sounds(RATE))
