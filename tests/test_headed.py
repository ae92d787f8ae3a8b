"""An encoder with a head is that encoder in all but its vectors, which are the head's."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_checkpoints
import torch
from batch import vectors
from embedding_server import EmbeddingServer, embedding_server
from fixed_weights import media
from safetensors.torch import save
from tiny_registry import TINY

from encoders import hardware, headed, registry
from encoders.align import head_file, head_numpy, heads
from encoders.align.heads import Head
from encoders.context import fitted
from encoders.errors import EncoderError
from encoders.pretrained import Pretrained
from encoders.spaces import load_encoders, load_space
from encoders.spec import Space, Spec
from encoders.stacking import alone

ROOT = Path(__file__).parents[1]
FAMILIES = [
    "bert",
    "clip-text",
    "clip-image",
    "vit",
    "resnet",
    "siglip2-naflex",
    "ast",
    "wav2vec2",
    "bag-of-words",
    "word-vectors",
    "pe-av-video",
]


def head_over(spec: Spec, folder: Path, dimension: int = 12, kind: str = "mlp") -> tuple[Head, Spec]:
    """A head with a center over an encoder, and the spec of both."""
    torch.manual_seed(4)
    head = Head(kind, spec.dimension, dimension).calibrated(torch.linspace(-0.2, 0.2, dimension)).requires_grad_(False)
    heads.save(head, folder / "head.safetensors", head_file.base_of(spec))
    return head, headed.spec_of(spec, str(folder / "head.safetensors"))


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return registry.describe("vit", str(tiny_checkpoints.vit(tmp_path_factory.mktemp("vit"))))


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


@pytest.mark.parametrize("kind", ["linear", "identity"])
@pytest.mark.parametrize("calibrated", ["", "center", "center and projection"])
def test_a_head_without_mlp_gives_in_numpy_what_it_gives_in_torch(kind: str, calibrated: str, tmp_path: Path):
    torch.manual_seed(6)
    size = 20 if kind == "identity" else 12
    head = Head(kind, 20, size)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter))
    if calibrated:
        head = head.calibrated(torch.randn(size), torch.randn(size, size) if "projection" in calibrated else None)
    heads.save(head, tmp_path / "head.safetensors")
    rows = torch.nn.functional.normalize(torch.randn(30, 20), dim=1)
    with torch.no_grad():
        expected = head(rows).numpy()
    found = head_numpy.from_file(head_file.read(tmp_path / "head.safetensors"))(rows.numpy())
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_file_whose_tensors_are_not_those_of_its_kind_is_refused(tmp_path: Path):
    path = tmp_path / "head.safetensors"
    for tensors in (
        {"straight.weight": torch.zeros(12, 20)},
        {"straight.weight": torch.zeros(12, 19), "straight.bias": torch.zeros(12)},
        {"straight.weight": torch.zeros(12, 20), "straight.bias": torch.zeros(12), "projection": torch.eye(12)},
        {"straight.weight": torch.zeros(12, 20), "straight.bias": torch.zeros(12), "more": torch.eye(12)},
    ):
        path.write_bytes(save(tensors, head_file.metadata(head_file.Form("linear", 20, 12), "")))
        with pytest.raises(EncoderError, match="do not fit the head that its metadata describes"):
            head_numpy.from_file(head_file.read(path))


@pytest.mark.parametrize("name", FAMILIES)
def test_vectors_are_the_heads_of_the_encoders_own_alone_and_in_batches(name: str, tmp_path: Path):
    (tmp_path / "weights").mkdir()
    base = registry.describe(name, **TINY[name](tmp_path / "weights"))
    head, spec = head_over(base, tmp_path)
    with_head, some = registry.build(spec, dtype="float32"), media(base)
    together = vectors(with_head, some)
    own = vectors(registry.build(base, dtype="float32"), some)
    assert (together.dtype, together.shape, spec.dimension) == (np.float32, (10, 12), 12)
    np.testing.assert_allclose(together, head(torch.from_numpy(own)).numpy(), atol=1e-6)
    plain = registry.build(base, dtype="float32")
    alone, own_alone = (np.concatenate([vectors(encoder, [medium]) for medium in some]) for encoder in (with_head, plain))
    np.testing.assert_allclose(alone, head(torch.from_numpy(own_alone)).numpy(), atol=1e-6)
    np.testing.assert_allclose(own_alone, own, atol=1e-5)
    if name != "clip-text":  # whose texts go through NumPy alone: the head magnifies what rounding differs there
        np.testing.assert_allclose(alone, together, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_what_an_encoder_has_beyond_vectors_is_there_with_a_head_and_what_it_lacks_is_not(tmp_path: Path, vit: Spec):
    tiny_checkpoints.bert(tmp_path / "bert")
    base = registry.describe("bert", str(tmp_path / "bert"), chunk=8, overlap=2)
    plain, with_head = registry.build(base), registry.build(head_over(base, tmp_path)[1])
    text = "the bank of the river is green, and the bank account is empty"
    assert [chunk.text for chunk in fitted(with_head, [text])] == [chunk.text for chunk in fitted(plain, [text])]
    for name in ("prepare", "prepare_query"):
        made, expected = getattr(with_head, name)("a dog"), getattr(plain, name)("a dog")
        assert all(np.array_equal(made[key], expected[key]) for key in expected)
    eye = registry.build(head_over(vit, tmp_path)[1])
    assert not any(hasattr(eye, name) for name in ("tokenizer", "prepare_query", "lanes", "tokens", "mel"))


def test_a_server_behind_a_head_keeps_its_lanes_its_check_and_its_count_of_tokens(server: EmbeddingServer, tmp_path: Path):
    base = registry.describe("openai", model=server.model, dimension=12, url=server.url, price=2.0)
    head, spec = head_over(base, tmp_path, 5)
    encoder = registry.build(spec)
    encoder.check()
    assert encoder.lanes == registry.build(base).lanes
    found = vectors(encoder, ["a dog", "a cat"])
    np.testing.assert_allclose(found, head(torch.from_numpy(vectors(registry.build(base), ["a dog", "a cat"]))).numpy(), atol=1e-6)
    assert encoder.tokens > 0
    keyless = registry.build(replace(spec, service={**spec.service, "key": "A_KEY_THAT_IS_NOT_SET"}))
    with pytest.raises(EncoderError, match="A_KEY_THAT_IS_NOT_SET"):
        keyless.check()


def test_a_vector_of_zeros_does_not_become_the_heads_bias(tmp_path: Path):
    base = registry.describe("bag-of-words", **TINY["bag-of-words"](tmp_path))
    _, spec = head_over(base, tmp_path)
    one = np.eye(base.dimension)[:1]
    encoder = headed.Headed(_Fixed(base, np.concatenate([0 * one, one, one / 2])), spec)
    np.testing.assert_allclose(np.linalg.norm(encoder.encode({}), axis=1), [0, 1, 0.5], atol=1e-6)
    encoder = headed.Headed(_Fixed(base, np.full((1, base.dimension), np.nan)), spec)
    assert np.isnan(encoder.encode({})).all()


class _Fixed:
    """An encoder that gives the same vectors whatever it is given."""

    def __init__(self, spec: Spec, vectors: np.ndarray) -> None:
        self.spec, self._vectors = spec, vectors.astype(np.float32)

    def prepare(self, medium: Any) -> dict[str, np.ndarray]:
        return {}

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return self._vectors


def test_vectors_of_another_length_than_the_head_takes_stop_the_run(tmp_path: Path, vit: Spec):
    encoder = headed.Headed(_Fixed(vit, np.ones((2, 31))), head_over(vit, tmp_path)[1])
    with pytest.raises(EncoderError, match=r"vit gives vectors \(2, 31\), its head takes 32 numbers each"):
        encoder.encode({})


def test_threads_that_encode_at_once_load_the_head_once(tmp_path: Path, vit: Spec, monkeypatch: pytest.MonkeyPatch):
    encoder, read = registry.build(head_over(vit, tmp_path)[1], dtype="float32"), []
    whole = head_file.read
    monkeypatch.setattr(head_file, "read", lambda *given: read.append(given) or whole(*given))
    batch, start = alone(encoder.prepare(media(vit)[0])), threading.Barrier(6)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: (start.wait() and None) or encoder.encode(batch), range(6)))
    assert len(read) == 1
    assert all(np.array_equal(one, found[0]) for one in found)


def test_dtypes_are_compared_behind_the_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A center where all vectors lie magnifies what bfloat16 blurs; without it the same encoder keeps its vectors."""
    base = registry.describe("vit", str(tiny_checkpoints.vit(tmp_path / "vit")))
    encoder = registry.build(base, dtype="float32")
    assert isinstance(encoder, Pretrained)
    probed = np.concatenate([encoder.encode(alone(encoder.prepare(medium))) for medium in encoder.probe()])
    center = torch.from_numpy(probed[0]) + 1e-3 * torch.linspace(-1, 1, base.dimension)
    heads.save(Head("identity", 32, 32).calibrated(center), tmp_path / "head.safetensors")
    spec = headed.spec_of(base, str(tmp_path / "head.safetensors"))
    monkeypatch.setattr(hardware, "dtypes", lambda device, dtype: ("bfloat16", "float32"))
    plain, centred = registry.build(base), registry.build(spec)
    plain.warm()
    centred.warm()
    assert (plain.dtype, centred.dtype) == ("bfloat16", "float32")


def test_the_generation_of_a_space_without_heads_is_what_it_was_before_there_were_heads():
    """By the rule as it was: SHA-256 over the sorted, compact JSON of what decides the vectors, and over those of all encoders."""

    def digest(values: Any) -> str:
        return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()[:16]

    space = Space("miniature", load_encoders("miniature"))
    decide = ("encoder", "modality", "dimension", "inputs", "digest", "preprocessing", "pooling")
    fingerprints = {modality: digest({name: getattr(spec, name) for name in decide}) for modality, spec in space.encoders.items()}
    assert space.generation == digest(fingerprints)


def test_the_json_of_a_table_made_before_there_were_heads_is_read_and_written_as_it_was():
    old = {
        "encoder": "vit",
        "modality": "image",
        "dimension": 32,
        "inputs": "patches",
        "weights": "/w",
        "revision": "",
        "digest": "ab",
        "preprocessing": {"size": 32},
        "pooling": "cls",
        "licence": "MIT",
        "service": {},
    }
    text = json.dumps({"name": "old", "encoders": {"image": old}}, ensure_ascii=False)
    space = Space.from_json(text)
    assert space.encoders["image"].head == {}
    assert space.to_json() == text, "an older reader still reads what is written"


def test_a_head_counts_by_its_content_and_its_place_does_not(tmp_path: Path, vit: Spec):
    _, spec = head_over(vit, tmp_path)
    assert spec.base == vit
    assert spec.fingerprint != vit.fingerprint
    assert Space.from_json(Space("a", {"image": spec}).to_json()).encoders["image"] == spec
    assert replace(spec, head={**spec.head, "weights": "elsewhere"}).fingerprint == spec.fingerprint
    assert replace(spec, head={**spec.head, "digest": "other"}).fingerprint != spec.fingerprint
    assert replace(spec, head={**spec.head, "base_dimension": 31}).fingerprint != spec.fingerprint


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    match how:
        case "missing":
            path.unlink()
        case "truncated":
            path.write_bytes(content[:-7])
        case "another":
            heads.save(Head("linear", 32, 12), path)
        case "wrong dimension":
            heads.save(Head("linear", 31, 12), path)
        case _:
            path.write_bytes(b"no safetensors at all")


DAMAGES = [
    ("missing", "cannot be read"),
    ("truncated", "cut off|is not that of the spec"),
    ("wrong dimension", "takes vectors of 31 numbers, and vit gives 32|is not that of the spec"),
    ("garbage", "is no safetensors file|is not that of the spec"),
]


@pytest.mark.parametrize(("how", "message"), DAMAGES)
def test_a_space_with_a_damaged_head_is_refused_with_its_place(how: str, message: str, tmp_path: Path, vit: Spec):
    head_over(vit, tmp_path)
    damaged(tmp_path / "head.safetensors", how)
    (tmp_path / "space.toml").write_text(f'name = "x"\n[image]\nencoder = "vit"\nweights = "{vit.weights}"\nhead = "head.safetensors"\n')
    with pytest.raises(EncoderError, match=rf"space.toml: \[image\] .*({message.split('|', maxsplit=1)[0]})"):
        load_space(str(tmp_path / "space.toml"))


@pytest.mark.parametrize(("how", "message"), [*DAMAGES, ("another", "is not that of the spec")])
@pytest.mark.parametrize("asked", ["check", "warm", "encode"])
def test_a_head_that_was_damaged_after_its_spec_was_made_is_refused(how: str, message: str, asked: str, tmp_path: Path, vit: Spec):
    encoder = registry.build(head_over(vit, tmp_path)[1], dtype="float32")
    inputs = alone(encoder.prepare(media(vit)[0]))
    damaged(tmp_path / "head.safetensors", how)
    with pytest.raises(EncoderError, match=message):
        encoder.encode(inputs) if asked == "encode" else getattr(encoder, asked)()


def test_a_head_of_other_sizes_than_its_spec_says_is_refused(tmp_path: Path, vit: Spec):
    spec = head_over(vit, tmp_path)[1]
    for sizes, message in (
        ((31, 12), "takes vectors of 31 numbers, and vit gives 32"),
        ((32, 13), "gives vectors of 13 numbers, its spec says 12"),
    ):
        other = replace(spec, head={**spec.head, "digest": heads.save(Head("linear", *sizes), tmp_path / "head.safetensors")})
        with pytest.raises(EncoderError, match=message):
            registry.build(other).warm()


def test_the_head_of_a_section_is_a_text_and_lies_beside_the_file(tmp_path: Path, vit: Spec, monkeypatch: pytest.MonkeyPatch):
    head_over(vit, tmp_path)
    section = f'name = "x"\n[image]\nencoder = "vit"\nweights = "{vit.weights}"\nhead = '
    (tmp_path / "space.toml").write_text(section + "5\n")
    with pytest.raises(EncoderError, match=r"\[image\] weights, revision and head are texts"):
        load_space(str(tmp_path / "space.toml"))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/space.toml").write_text(section + '"head.safetensors"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EncoderError, match=rf"the head {tmp_path}/inner/head.safetensors cannot be read"):
        load_space("inner/space.toml")
    (tmp_path / "inner/space.toml").write_text(section + '"../head.safetensors"\n')
    assert load_space("inner/space.toml").encoders["image"].head["weights"] == str(tmp_path / "head.safetensors")


def test_a_head_of_the_identity_alone_is_a_calibration(tmp_path: Path, vit: Spec):
    def only_calibrates(head: Head) -> bool:
        heads.save(head, tmp_path / "head.safetensors")
        return headed.only_calibrates(headed.spec_of(vit, str(tmp_path / "head.safetensors")))

    assert only_calibrates(Head("identity", 32, 32).calibrated(torch.ones(32)))
    assert not only_calibrates(Head("linear", 32, 32).calibrated(torch.ones(32)))
    assert not headed.only_calibrates(vit)


def test_a_space_with_heads_is_read_and_its_media_prepared_without_torch(tmp_path: Path, vit: Spec):
    head_over(vit, tmp_path)
    (tmp_path / "space.toml").write_text(f'name = "x"\n[image]\nencoder = "vit"\nweights = "{vit.weights}"\nhead = "head.safetensors"\n')
    program = f"""
import sys
import numpy as np
from encoders import registry
from encoders.spaces import load_encoders, load_space
encoder = registry.build(load_space({str(tmp_path / "space.toml")!r}).encoders["image"])
encoder.check()
encoder.prepare(np.zeros((50, 70, 3), np.uint8))
print(sorted({{"torch", "transformers", "pyarrow", "prefect", "lancedb"}} & set(sys.modules)))
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
