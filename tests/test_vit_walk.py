"""A picture's way through ViT, as docs/encoders.md walks it, and through our own encoder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as hf

from encoders import registry
from encoders.stacking import alone

DOCS = Path(__file__).parent.parent / "docs" / "encoders.md"


def picture() -> np.ndarray:
    y, x = np.mgrid[:480, :640]
    return np.stack([x * 255 // 639, y * 255 // 479, (x + y) % 256], axis=-1).astype(np.uint8)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, hf.ViTModel]:
    """ViT-B/16 but for ten of its twelve layers; wider than usual, so that vectors tell pictures apart."""
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    model = hf.ViTModel(hf.ViTConfig(num_hidden_layers=2, initializer_range=0.1)).eval().requires_grad_(False)
    model.save_pretrained(folder)
    hf.models.vit.ViTImageProcessorPil().save_pretrained(folder)
    return folder, model


def test_the_walk_of_the_docs_prints_what_they_say(capsys: pytest.CaptureFixture[str]):
    walk = DOCS.read_text(encoding="utf-8").partition("### A picture's way through ViT")[2]
    code, printed = re.search(r"```python\n(.*?)```", walk, re.DOTALL), re.search(r"```text\n(.*?)```", walk, re.DOTALL)
    assert code and printed
    exec(compile(code[1], str(DOCS), "exec"), {})
    assert capsys.readouterr().out == printed[1]
    assert "False" not in printed[1]


def test_our_patches_times_the_turned_kernel_are_the_models_own_embedding(vit: tuple[Path, hf.ViTModel]):
    """By the encoder's own spec: 224 x 224, patches of 16, 196 of them, 768 numbers each."""
    folder, model = vit
    spec = registry.describe("vit", str(folder))
    how = spec.preprocessing
    assert (how["crop"], how["patch"], spec.dimension) == (224, 16, 768)
    patches = registry.build(spec).prepare(picture())["patches"]
    assert (patches.shape, patches.dtype) == ((196, 768), np.uint8)
    convolution = model.embeddings.patch_embeddings.projection
    assert tuple(convolution.weight.shape) == (768, 3, 16, 16)
    scaled = (patches.astype(np.float32) / 255 - 0.5) / 0.5
    found = scaled @ convolution.weight.numpy().transpose(2, 3, 1, 0).reshape(-1, 768) + convolution.bias.numpy()
    pixels = hf.AutoImageProcessor.from_pretrained(folder)(picture(), return_tensors="pt")["pixel_values"]
    own = model.embeddings.patch_embeddings(pixels)[0].numpy()
    assert np.abs(found - own).mean() < 0.01 * np.abs(own).mean()  # Pillow's rounding to one of 255 apart


def test_the_encoder_ends_where_the_walk_ends(vit: tuple[Path, hf.ViTModel]):
    folder, model = vit
    encoder = registry.build(registry.describe("vit", str(folder)), dtype="float32")
    inputs = encoder.prepare(picture())
    scaled = torch.from_numpy((inputs["patches"].astype(np.float32) / 255 - 0.5) / 0.5)
    weights = model.embeddings.patch_embeddings.projection.weight.permute(2, 3, 1, 0).reshape(768, 768)
    embedded = scaled @ weights + model.embeddings.patch_embeddings.projection.bias
    tokens = torch.cat([model.embeddings.cls_token[0], embedded]) + model.embeddings.position_embeddings[0]
    assert tuple(tokens.shape) == (197, 768)
    hook = model.embeddings.register_forward_hook(lambda *_: tokens[None])
    walked = model(torch.zeros(1, 3, 224, 224)).last_hidden_state[0, 0]
    hook.remove()
    np.testing.assert_allclose(encoder.encode(alone(inputs))[0], (walked / walked.norm()).numpy(), atol=1e-5)
