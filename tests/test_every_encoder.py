"""Every name of the registry keeps every promise: one walk over all of them with tiny checkpoints."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from batch import vectors
from fixed_weights import fix_weights, media
from tiny_registry import TINY

from encoders import registry
from encoders.errors import EncoderError
from encoders.spec import MODALITIES, Spec

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GOLDEN = Path(__file__).parent / "golden"
PLACE = {"weights", "revision", "licence", "service"}
EVERY = pytest.mark.parametrize("name", sorted(registry.ENCODERS))


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Any], Spec]]:
    """What a name is described with, and its spec; each checkpoint is made once."""
    made: dict[str, tuple[dict[str, Any], Spec]] = {}

    def describe(name: str) -> tuple[dict[str, Any], Spec]:
        if name not in made:
            how = TINY[name](tmp_path_factory.mktemp(name))
            made[name] = (how, registry.describe(name, **how))
        return made[name]

    return describe


Described = Callable[[str], tuple[dict[str, Any], Spec]]


def test_every_name_of_the_registry_has_a_tiny_checkpoint_and_no_other_has():
    assert set(TINY) == set(registry.ENCODERS)


@EVERY
def test_vectors_are_float32_of_the_specs_dimension_and_unit_length(name: str, described: Described):
    _, spec = described(name)
    found = vectors(registry.build(spec, dtype="float32"), media(spec))
    assert found.dtype == np.float32
    assert found.shape == (10, spec.dimension)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@EVERY
def test_a_vector_does_not_depend_on_its_neighbours_nor_on_their_order(name: str, described: Described):
    _, spec = described(name)
    encoder, some = registry.build(spec, dtype="float32"), media(spec)
    together = vectors(encoder, some)
    assert (together @ together.T).min() < 0.99  # or the comparison would say nothing
    np.testing.assert_allclose(np.concatenate([vectors(encoder, [medium]) for medium in some]), together, atol=1e-5)
    np.testing.assert_allclose(vectors(encoder, some[::-1])[::-1], together, atol=1e-5)


@EVERY
def test_a_spec_survives_json_and_pickle(name: str, described: Described):
    _, spec = described(name)
    assert spec.encoder == name
    assert spec.modality == registry.find(name).modality in MODALITIES
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert pickle.loads(pickle.dumps(spec)) == spec


@EVERY
def test_the_fingerprint_follows_every_parameter_and_neither_place_nor_licence(name: str, described: Described):
    _, spec = described(name)
    others: dict[str, Any] = {"dimension": spec.dimension + 1, "modality": "other", "head": {"digest": "other"}}
    for field in {f.name for f in fields(Spec)} - PLACE - {"preprocessing"}:
        assert replace(spec, **{field: others.get(field, "other")}).fingerprint != spec.fingerprint, field
    for field in PLACE:
        assert replace(spec, **{field: "other"}).fingerprint == spec.fingerprint, field
    changed = list(_each_value_changed(dict(spec.preprocessing)))
    assert len({replace(spec, preprocessing=how).fingerprint for how in changed} | {spec.fingerprint}) == len(changed) + 1


def _each_value_changed(how: Any) -> Iterator[Any]:
    """Copies of nested values, each with one leaf changed."""
    for key in how if isinstance(how, dict) else range(len(how)):
        if isinstance(how[key], dict | list | tuple) and how[key]:
            for inner in _each_value_changed(how[key]):
                yield {**how, key: inner} if isinstance(how, dict) else [*how[:key], inner, *how[key + 1 :]]
        else:
            copy = deepcopy(how) if isinstance(how, dict) else [*how]
            copy[key] = f"not {how[key]}"
            yield copy


@EVERY
def test_weights_count_by_content_and_not_by_place(name: str, described: Described, tmp_path: Path):
    how, spec = described(name)
    if not spec.digest:
        assert "weights" not in how or not Path(how["weights"]).exists(), "weights in a file have a digest"
        return
    moved = _moved(Path(how["weights"]), tmp_path)
    assert registry.describe(name, **{**how, "weights": str(moved)}).fingerprint == spec.fingerprint
    largest = max((path for path in (moved.rglob("*") if moved.is_dir() else [moved]) if path.is_file()), key=_weighs)
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    assert registry.describe(name, **{**how, "weights": str(moved)}).fingerprint != spec.fingerprint


def _moved(place: Path, target: Path) -> Path:
    return shutil.copytree(place, target / "moved") if place.is_dir() else Path(shutil.copy(place, target / f"moved{place.suffix}"))


def _weighs(path: Path) -> tuple[bool, int]:
    return path.suffix == ".safetensors", path.stat().st_size


@EVERY
def test_weights_that_are_not_here_are_told_by_the_command_which_fetches_them(
    name: str, described: Described, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    how, spec = described(name)
    if not spec.digest:
        return  # has no weights on this machine
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    place = {"weights": "org/name", "revision": COMMIT} if Path(how["weights"]).is_dir() else {"weights": str(tmp_path / "gone.txt")}
    command = rf"run: hf download org/name --revision {COMMIT}" if "revision" in place else r"sensorium train-words"
    with pytest.raises(EncoderError, match=command):
        registry.describe(name, **{**how, **place})


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.json")))
def test_vectors_are_those_that_were_written_down(name: str, tmp_path: Path):
    """tests/golden/make.py wrote them with transformers alone; a cosine of 0.9999 is near enough, for libraries differ in rounding."""
    how = TINY[name](tmp_path)
    fix_weights(tmp_path)
    spec = registry.describe(name, **how)
    golden = np.array(json.loads((GOLDEN / f"{name}.json").read_text())["vectors"], np.float32)
    found = vectors(registry.build(spec, dtype="float32"), media(spec))
    assert (golden @ golden.T).min() < 0.99
    assert (found * golden).sum(1).min() > 0.9999


def test_every_encoder_with_a_model_has_vectors_written_down(described: Described):
    """Those of words and those on a server have none: their own tests compare with numpy and with a server."""
    with_model = {name for name in registry.ENCODERS if described(name)[1].digest and described(name)[1].inputs != "words"}
    assert with_model == {path.stem for path in GOLDEN.glob("*.json")}
