"""Every family of pictures computes what transformers computes with its own processor and model, or what the paper's table says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_pictures
import torch
import transformers as hf
from batch import vectors
from naive_pictures import naive_resnet, naive_vgg
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F  # noqa: N812 - as everyone calls it

from encoders import registry
from encoders.errors import EncoderError
from encoders.processor import picture_preprocessing
from encoders.spec import Encoder

Reference = Callable[[Path, list[np.ndarray]], torch.Tensor]


def pictures() -> list[np.ndarray]:
    """Ten of odd sizes and shapes; the tall ones smooth, so that no rounding tells which side was scaled first."""
    rng = np.random.default_rng(4)
    sizes = [(1, 1), (1, 150), (150, 1), (3, 200), (200, 5), (31, 33), (64, 64), (77, 131), (600, 801), (57, 56)]
    coarse = [rng.integers(0, 256, (max(1, h // 8), max(1, w // 8), 3), dtype=np.uint8) for h, w in sizes]
    return [np.array(Image.fromarray(c).resize((w, h), Image.Resampling.BILINEAR)) for c, (h, w) in zip(coarse, sizes, strict=True)]


def texts() -> list[str]:
    """Ten of different lengths and cases, at most 22 letters."""
    return ["a", "dog", "A Red Dog", "a small bird, the sea", "雨", "一只红狗", "GRÖSSE 42", "x" * 22, "two  spaces", "杰尼龟 and Cat"]


def processed(pool: Callable[[Any], torch.Tensor], processor: Callable[[Path, list[np.ndarray]], Any] | None = None) -> Reference:
    """The reference: transformers' own processor and model, and one of its outputs."""

    def reference(folder: Path, media: list[np.ndarray]) -> torch.Tensor:
        inputs = (processor or own_processor)(folder, media)
        with torch.inference_mode():
            return pool(hf.AutoModel.from_pretrained(folder).eval()(**inputs))

    return reference


def own_processor(folder: Path, media: list[np.ndarray]) -> Any:
    return hf.AutoImageProcessor.from_pretrained(folder)([Image.fromarray(picture) for picture in media], return_tensors="pt")


def dinov3_processor(folder: Path, media: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """DINOv3ViTImageProcessor step by step, for the class itself needs torchvision: scale to 0..1, resize as floats, normalise.

    torchvision resizes tensors by this very call (torchvision/transforms/v2/functional/_geometry.py).
    """
    how = json.loads((folder / "preprocessor_config.json").read_text())
    scaled = [torch.from_numpy(picture).permute(2, 0, 1)[None].float() * how["rescale_factor"] for picture in media]
    size = (how["size"]["height"], how["size"]["width"])
    resized = torch.cat([F.interpolate(s, size, mode="bilinear", align_corners=False, antialias=True) for s in scaled])
    mean, std = (torch.tensor(how[name]).view(3, 1, 1) for name in ("image_mean", "image_std"))
    return {"pixel_values": (resized - mean) / std}


def features(folder: Path, media: list[np.ndarray]) -> torch.Tensor:
    with torch.inference_mode():
        return hf.AutoModel.from_pretrained(folder).eval().get_image_features(**own_processor(folder, media)).pooler_output


def text_features(lower: bool = False, **padding: Any) -> Reference:
    def reference(folder: Path, media: list[Any]) -> torch.Tensor:
        tokenizer = hf.AutoTokenizer.from_pretrained(folder, **({"padding_side": "right"} if padding["padding"] == "max_length" else {}))
        encoded = tokenizer([text.lower() for text in media] if lower else media, return_tensors="pt", **padding)
        seen = {"input_ids": encoded["input_ids"]} if padding["padding"] == "max_length" else encoded
        with torch.inference_mode():
            return hf.AutoModel.from_pretrained(folder).eval().get_text_features(**seen).pooler_output

    return reference


# name in the registry, checkpoint, its options, options of the encoder, reference
CASES: dict[str, tuple[str, str, dict[str, Any], dict[str, Any], Reference]] = {
    "resnet": ("resnet", "resnet", {}, {}, processed(lambda out: out.pooler_output.flatten(1))),
    "resnet of basic blocks": ("resnet", "resnet", {"layer_type": "basic"}, {}, processed(lambda out: out.pooler_output.flatten(1))),
    "resnet max": ("resnet", "resnet", {}, {"pooling": "max"}, processed(lambda out: out.last_hidden_state.amax((2, 3)))),
    "resnet of torchvision": ("resnet", "torchvision_resnet", {}, {}, naive_resnet),
    "resnet of torchvision, basic blocks": ("resnet", "torchvision_resnet", {"layer_type": "basic"}, {}, naive_resnet),
    "convnext": ("convnext", "convnext", {}, {}, processed(lambda out: out.pooler_output)),
    "convnext from 384 on": ("convnext", "convnext", {"size": {"shortest_edge": 384}}, {}, processed(lambda out: out.pooler_output)),
    "dinov3 convnext": ("convnext", "dinov3_convnext", {}, {}, processed(lambda out: out.pooler_output, dinov3_processor)),
    "dinov3 cls": ("vit", "dinov3_vit", {}, {}, processed(lambda out: out.last_hidden_state[:, 0], dinov3_processor)),
    "dinov3 mean": (
        "vit",
        "dinov3_vit",
        {},
        {"pooling": "mean"},
        processed(lambda out: out.last_hidden_state[:, 5:].mean(1), dinov3_processor),
    ),
    **{f"vgg-{depth}": ("vgg", "vgg", {"depth": depth}, {}, naive_vgg(depth, "fc7")) for depth in (11, 13, 16, 19)},
    "vgg-11 normalised": ("vgg", "vgg", {"normalised": True}, {}, naive_vgg(11, "fc7")),
    "vgg-19 normalised, mean": ("vgg", "vgg", {"depth": 19, "normalised": True}, {"pooling": "mean"}, naive_vgg(19, "mean")),
    "vgg-13 of timm": ("vgg", "vgg", {"depth": 13, "timm": True}, {}, naive_vgg(13, "fc7", timm=True)),
    "siglip 2 naflex": ("siglip2-naflex", "naflex", {}, {}, features),
    "siglip 2 naflex texts": ("clip-text", "naflex", {}, {}, text_features(padding="max_length")),
    "siglip 2 of fixed size": ("clip-image", "siglip2", {}, {}, features),
    "siglip 2 of fixed size, texts": ("clip-text", "siglip2", {}, {}, text_features(lower=True, padding="max_length")),
    "chinese clip": ("clip-image", "chinese_clip", {}, {}, features),
    "chinese clip texts": ("clip-text", "chinese_clip", {}, {}, text_features(padding=True)),
}


@dataclass(frozen=True)
class Made:
    """A case with its checkpoint, its encoder, and what that gives for all media in one batch."""

    folder: Path
    encoder: Encoder
    vectors: np.ndarray


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Made]:
    @cache
    def made(case: str) -> Made:
        name, checkpoint, options, choices, _ = CASES[case]
        folder = getattr(tiny_pictures, checkpoint)(tmp_path_factory.mktemp(checkpoint), **options)
        encoder = registry.build(registry.describe(name, str(folder), **choices), dtype="float32")
        return Made(folder, encoder, vectors(encoder, media(encoder)))

    return made


def media(encoder: Encoder) -> list[Any]:
    return texts() if encoder.spec.modality == "text" else pictures()


@pytest.mark.parametrize("case", CASES)
def test_vectors_are_those_of_the_reference(case: str, make: Callable[[str], Made]):
    encoder, found = make(case).encoder, make(case).vectors
    assert found.shape == (10, encoder.spec.dimension)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    expected = F.normalize(CASES[case][-1](make(case).folder, media(encoder)).float(), dim=1).numpy()
    assert (found * expected).sum(1).min() > 0.9999
    between = expected @ expected.T
    assert between[~np.eye(10, dtype=bool)].min() < 0.99  # else all would agree with all


@pytest.mark.parametrize("case", CASES)
def test_one_alone_is_what_it_is_in_a_batch_of_another_order(case: str, make: Callable[[str], Made]):
    encoder, together = make(case).encoder, make(case).vectors
    alone = np.concatenate([vectors(encoder, [one]) for one in media(encoder)])
    np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(vectors(encoder, media(encoder)[::-1])[::-1], together, atol=1e-5)


@pytest.mark.parametrize("case", ["resnet", "convnext", "vgg-11 normalised", "siglip 2 naflex", "dinov3 cls"])
def test_bfloat16_gives_nearly_the_same_vectors(case: str, make: Callable[[str], Made]):
    half = registry.build(make(case).encoder.spec, dtype="bfloat16")
    assert (vectors(half, pictures()) * make(case).vectors).sum(1).min() > 0.99


@pytest.mark.parametrize("name", tiny_pictures.TINY)
def test_every_name_of_pictures_can_be_made_tiny(name: str, tmp_path: Path):
    spec = registry.describe(name, **tiny_pictures.TINY[name](tmp_path))
    assert (spec.encoder, spec.modality) == (name, "image")
    assert registry.build(spec).prepare(pictures()[5])


def test_null_in_a_processors_settings_means_its_default(tmp_path: Path):
    folder = tiny_pictures.dinov3_vit(tmp_path)
    path = folder / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "image_mean": None, "resample": None, "do_normalize": None}))
    found = picture_preprocessing(folder)
    assert found == {"size": 64, "fit": "stretch", "crop": 64, "resample": "bilinear", **tiny_pictures.IMAGENET, "alpha": "white"}


@pytest.mark.parametrize(
    ("name", "checkpoint", "options", "words"),
    [
        ("clip-image", "naflex", {}, "siglip2-naflex"),
        ("siglip2-naflex", "siglip2", {}, "clip-image"),
        ("siglip2-naflex", "naflex", {"max_patches": -1}, "max_patches -1"),
        ("vit", "resnet", {}, "holds resnet.*use the encoder resnet"),
        ("vit", "dinov3_convnext", {}, "holds dinov3_convnext.*use the encoder convnext"),
        ("convnext", "resnet", {}, "holds resnet"),
        ("resnet", "convnext", {}, "holds convnext"),
        ("resnet", "vgg", {}, "holds no ResNet"),
        ("resnet", "resnet", {"pooling": "cls"}, "mean, max"),
        ("vgg", "torchvision_resnet", {}, "holds no VGG"),
        ("vgg", "resnet", {}, "holds no VGG"),
        ("vgg", "vgg", {"pooling": "max"}, "fc7, mean"),
    ],
)
def test_a_checkpoint_of_another_family_is_refused_with_what_to_use(name, checkpoint, options, words, tmp_path: Path):
    folder = getattr(tiny_pictures, checkpoint)(tmp_path)
    with pytest.raises(EncoderError, match=words):
        registry.describe(name, str(folder), **options)


def _without(folder: Path, *beginnings: str, **other: torch.Tensor) -> None:
    state = load_file(folder / "model.safetensors")
    save_file({name: t for name, t in state.items() if not name.startswith(beginnings or (" ",))} | other, folder / "model.safetensors")


def test_vgg_without_its_fully_connected_layers_still_has_a_mean(tmp_path: Path):
    folder = tiny_pictures.vgg(tmp_path)
    whole = vectors(registry.build(registry.describe("vgg", str(folder), pooling="mean")), pictures())
    _without(folder, "classifier.")
    with pytest.raises(EncoderError, match="use the pooling mean"):
        registry.describe("vgg", str(folder))
    np.testing.assert_array_equal(vectors(registry.build(registry.describe("vgg", str(folder), pooling="mean")), pictures()), whole)


def test_vgg_with_a_layer_missing_is_refused(tmp_path: Path):
    folder = tiny_pictures.vgg(tmp_path, normalised=True)
    _without(folder, "features.1.weight")
    with pytest.raises(EncoderError, match=r"features\.1\.weight|holds no VGG"):
        registry.build(registry.describe("vgg", str(folder))).encode({"pixels": np.zeros((1, 64, 64, 3), np.uint8)})


@pytest.mark.parametrize("change", ["missing", "beside"])
def test_a_variant_of_torchvisions_resnet_is_refused(change: str, tmp_path: Path):
    folder = tiny_pictures.torchvision_resnet(tmp_path)
    if change == "missing":
        _without(folder, "layer3.0.bn2.running_var")
    else:
        _without(folder, **{"layer1.0.se.fc1.weight": torch.zeros(2, 2)})
    with pytest.raises(EncoderError, match=r"variant of ResNet.*(running_var|se\.fc1)"):
        registry.build(registry.describe("resnet", str(folder))).encode({"pixels": np.zeros((1, 64, 64, 3), np.uint8)})


@pytest.mark.parametrize(
    ("normalised", "numbers"),
    [
        (False, [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]),
        (True, [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40]),
    ],
)
def test_the_tiny_vgg_counts_its_layers_as_torchvisions_vgg_16_does(normalised: bool, numbers: list[int], tmp_path: Path):
    state = load_file(tiny_pictures.vgg(tmp_path, depth=16, normalised=normalised) / "model.safetensors")
    found = [int(name.split(".")[1]) for name, tensor in state.items() if name.startswith("features.") and tensor.ndim == 4]
    assert sorted(found) == numbers


def test_weights_saved_from_torchvision_are_prepared_as_the_docs_say(tmp_path: Path):
    folder = tiny_pictures.vgg(tmp_path)
    by_timm = registry.describe("vgg", str(folder))
    docs = (Path(__file__).parent.parent / "docs" / "encoders.md").read_text(encoding="utf-8")
    settings = re.search(r"```json\n(.*?)```", docs.partition("saved from torchvision yourself")[2], re.DOTALL)
    assert settings
    (folder / "config.json").write_text(json.dumps({"architecture": "vgg11"}))
    (folder / "preprocessor_config.json").write_text(settings[1])
    spec = registry.describe("vgg", str(folder))
    assert spec.preprocessing == {**by_timm.preprocessing, "size": 256, "crop": 224}
    picture = pictures()[8]
    expected = naive_vgg(11, "fc7", edge=224)(folder, [picture])
    found = vectors(registry.build(spec, dtype="float32"), [picture])
    assert float((found * F.normalize(expected, dim=1).numpy()).sum()) > 0.9999


def test_resnets_early_settings_are_read_as_convnexts(tmp_path: Path):
    """As microsoft/resnet-50 states them: an extractor's name, a bare number as size."""
    folder = tiny_pictures.resnet(tmp_path)
    early = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224, "crop_pct": 0.875, "resample": 3}
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**early, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}))
    how = picture_preprocessing(folder)
    assert how == {"size": 256, "fit": "crop", "crop": 224, "resample": "bicubic", **tiny_pictures.IMAGENET, "alpha": "white"}


def test_timms_other_crops_are_refused(tmp_path: Path):
    folder = tiny_pictures.vgg(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"]["crop_mode"] = "squash"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match=r"squash.*only squares from the middle"):
        registry.describe("vgg", str(folder))


def test_naflex_takes_our_patches_as_they_are(make: Callable[[str], Made]):
    """What `prepare` makes, scaled, is what transformers' processor gives its model, patch by patch."""
    folder = make("siglip 2 naflex").folder
    encoder = registry.build(registry.describe("siglip2-naflex", str(folder)))
    mean, std = (np.tile(encoder.spec.preprocessing[name], 64) for name in ("mean", "std"))
    for picture in pictures():
        ours, theirs = encoder.prepare(picture), own_processor(folder, [picture])
        assert ours["grid"].tolist() == theirs["spatial_shapes"][0].tolist()
        count = int(ours["grid"].prod())
        assert count == int(theirs["pixel_attention_mask"].sum())
        difference = np.abs((ours["patches"][:count] / 255 - mean) / std - theirs["pixel_values"][0, :count].numpy())
        assert (difference * std).max() <= 1.01 / 255
        assert not ours["patches"][count:].any()


def test_naflex_with_more_patches_is_another_space(make: Callable[[str], Made]):
    specs = [registry.describe("siglip2-naflex", str(make("siglip 2 naflex").folder), max_patches=most) for most in (0, 20, 40)]
    assert specs[0].fingerprint == specs[1].fingerprint != specs[2].fingerprint
    assert [registry.build(spec).prepare(pictures()[8])["patches"].shape for spec in specs] == [(20, 192), (20, 192), (40, 192)]


def test_siglip_2_reads_capitals_as_small_letters(make: Callable[[str], Made]):
    for case in ("siglip 2 naflex texts", "siglip 2 of fixed size, texts"):
        encoder = make(case).encoder
        assert encoder.prepare("A Red DOG")["input_ids"].tolist() == encoder.prepare("a red dog")["input_ids"].tolist()


def test_both_halves_of_siglip_2_naflex_share_a_space(make: Callable[[str], Made]):
    picture = registry.describe("siglip2-naflex", str(make("siglip 2 naflex").folder))
    text = registry.describe("clip-text", str(make("siglip 2 naflex").folder))
    assert picture.dimension == text.dimension
    assert picture.digest == text.digest
