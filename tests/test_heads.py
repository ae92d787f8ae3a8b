"""A head is a small map from unit vectors to unit vectors, and its file is one thing or is refused."""

from __future__ import annotations

import hashlib
import math
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from encoders.align import head_file, heads
from encoders.align.heads import Head
from encoders.errors import EncoderError

ROOT = Path(__file__).parents[1]
SHAPES = [("linear", 24, 10), ("linear", 10, 10), ("mlp", 24, 10), ("residual", 24, 10), ("residual", 10, 10), ("identity", 10, 10)]
EVERY = pytest.mark.parametrize(("kind", "base", "dimension"), SHAPES)


def unit(n: int, dimension: int, seed: int = 0) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, dimension, generator=torch.Generator().manual_seed(seed)), dim=1)


def trained(kind: str, base: int, dimension: int, center: bool = True, project: bool = True) -> Head:
    """A head none of whose numbers is what it starts with."""
    head = Head(kind, base, dimension, 7 if kind in {"mlp", "residual"} else 0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 3)
    return head.calibrated(
        torch.linspace(-0.2, 0.1, dimension) if center else None,
        torch.randn(dimension, dimension, generator=generator) if project else None,
    )


def by_formula(head: Head, vectors: torch.Tensor) -> np.ndarray:
    """The docstring's formulas in NumPy and float64, from the head's named numbers."""
    kind, base = head.form.kind, vectors.shape[1]
    w = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in head.state_dict().items()}
    x = vectors.numpy().astype(np.float64)
    if kind in {"mlp", "residual"}:
        inner = math.sqrt(base) * x @ w["mlp.0.weight"].T + w["mlp.0.bias"]
        gelu = np.array([value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in inner.ravel()]).reshape(inner.shape)
        deep = gelu @ w["mlp.2.weight"].T + w["mlp.2.bias"]
    match kind:
        case "linear":
            y = x @ w["straight.weight"].T + w["straight.bias"]
        case "mlp":
            y = deep
        case "residual":
            y = (x @ w["straight.weight"].T if "straight.weight" in w else x) + deep
        case _:
            y = x
    y = y / np.linalg.norm(y, axis=1, keepdims=True)
    if "center" in w:
        y = (y - w["center"]) @ w.get("projection", np.eye(y.shape[1]))
    return y / np.linalg.norm(y, axis=1, keepdims=True)


@EVERY
@pytest.mark.parametrize("calibration", [(False, False), (True, False), (True, True)])
def test_a_head_computes_its_formula_and_gives_unit_vectors(kind: str, base: int, dimension: int, calibration: tuple[bool, bool]):
    head, vectors = trained(kind, base, dimension, *calibration), unit(9, base)
    found = head(vectors).detach().numpy()
    assert (found.dtype, found.shape) == (np.float32, (9, dimension))
    np.testing.assert_allclose(found, by_formula(head, vectors), atol=1e-6)
    np.testing.assert_allclose(torch.cat([head(row[None]) for row in vectors]).detach(), found, atol=1e-6)


@pytest.mark.parametrize("kind", ["linear", "residual", "identity"])
def test_a_head_of_one_dimension_starts_as_the_identity(kind: str):
    torch.testing.assert_close(Head(kind, 10, 10)(unit(5, 10)), unit(5, 10))


def test_a_linear_head_to_more_dimensions_starts_without_bending_angles():
    vectors, head = unit(8, 10), Head("linear", 10, 24)
    torch.testing.assert_close(head(vectors) @ head(vectors).T, vectors @ vectors.T)


@EVERY
def test_a_saved_head_is_loaded_with_the_same_bits_and_leaves_the_numbers_drawn_next_alone(
    kind: str, base: int, dimension: int, tmp_path: Path
):
    head = trained(kind, base, dimension)
    digest = heads.save(head, tmp_path / "head.safetensors", "vit 0123 cls")
    before = torch.get_rng_state()
    again = heads.load(tmp_path / "head.safetensors", digest)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(again(unit(6, base)), head(unit(6, base)))
    assert again.form == head.form
    assert not any(parameter.requires_grad for parameter in again.parameters())
    assert digest == hashlib.sha256((tmp_path / "head.safetensors").read_bytes()).hexdigest()
    assert head_file.read(tmp_path / "head.safetensors").base == "vit 0123 cls"
    assert [path.name for path in tmp_path.iterdir()] == ["head.safetensors"]


def test_one_head_is_the_same_file_in_every_process(tmp_path: Path):
    program = (
        "import sys; from pathlib import Path; import torch; from encoders.align.heads import Head, save; torch.manual_seed(3); "
        "print(save(Head('mlp', 6, 4).calibrated(torch.ones(4), torch.eye(4)), Path(sys.argv[1]), 'vit'))"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / f"{n}.safetensors")], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for n in range(3)
    ]
    assert len({run.stdout for run in runs}) == 1


def test_a_center_is_put_on_a_copy_and_taken_off_again():
    head = Head("linear", 10, 10)
    centred = head.calibrated(torch.full((10,), 0.1))
    assert head.center is None
    assert not torch.equal(centred(unit(3, 10)), head(unit(3, 10)))
    assert torch.equal(centred.calibrated(None)(unit(3, 10)), head(unit(3, 10)))
    with pytest.raises(EncoderError, match=r"a head of 10 numbers takes a center of shape \(10,\), got \(9,\)"):
        head.calibrated(torch.zeros(9))
    with pytest.raises(EncoderError, match="projects around its center"):
        head.calibrated(None, torch.eye(10))
    with pytest.raises(EncoderError, match=r"a projection of shape \(10, 10\), got \(10,\)"):
        head.calibrated(torch.zeros(10), torch.ones(10))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("conv", 4, 4), "there is no head of kind 'conv'; use one of linear, mlp, residual, identity"),
        (("linear", 0, 4), "needs a whole number above 0 as base_dimension, got 0"),
        (("linear", 4, 2.5), "needs a whole number above 0 as dimension, got 2.5"),
        (("identity", 4, 5), "'identity' cannot make 5 numbers of 4; use 'linear'"),
    ],
)
def test_a_head_that_cannot_be_is_refused(arguments: tuple, message: str):
    with pytest.raises(EncoderError, match=message):
        Head(*arguments)


def test_numbers_that_are_not_finite_are_not_saved(tmp_path: Path):
    head = Head("linear", 4, 4)
    with torch.no_grad():
        head.straight.bias[2] = math.nan
    with pytest.raises(EncoderError, match=r"numbers in straight.bias that are not finite"):
        heads.save(head, tmp_path / "head.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    heads.save(trained("mlp", 24, 10), tmp_path / "head.safetensors")
    return tmp_path / "head.safetensors"


def test_a_missing_head_is_told(tmp_path: Path):
    with pytest.raises(EncoderError, match=r"the head .*gone.safetensors cannot be read \(No such file"):
        heads.load(tmp_path / "gone.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(EncoderError, match=r"cannot be read \(Is a directory"):
        heads.load(tmp_path / "folder.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 8, 100, 0.5, -1])
def test_a_truncated_head_is_refused(file: Path, kept: float):
    content = file.read_bytes()
    file.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(EncoderError, match="was cut off"):
        heads.load(file)


def test_a_changed_head_is_refused_by_its_digest(file: Path):
    digest = head_file.read(file).digest
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    heads.load(file)
    with pytest.raises(EncoderError, match=rf"is not that of the spec \(digest [0-9a-f]{{16}}, wanted {digest[:16]}\)"):
        heads.load(file, digest)


def test_only_safetensors_are_opened(tmp_path: Path):
    torch.save({"center": torch.zeros(3)}, tmp_path / "head.pt")
    with pytest.raises(EncoderError, match=r"a head is a \*.safetensors file"):
        heads.load(tmp_path / "head.pt")
    (tmp_path / "head.safetensors").write_bytes(pickle.dumps(print))
    with pytest.raises(EncoderError, match=r"was cut off .* or is no safetensors file"):
        heads.load(tmp_path / "head.safetensors")


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("{}", "describes no head that is known here"),
        ("[]", "describes no head that is known here"),
        ("no json", "describes no head that is known here"),
        ('{"base": "", "kind": "conv", "base_dimension": 24, "dimension": 10, "hidden": 0}', "there is no head of kind 'conv'"),
        (
            '{"base": "", "kind": "mlp", "base_dimension": 24, "dimension": 10, "hidden": 8}',
            "do not fit the head that its metadata describes",
        ),
        (
            '{"base": "", "kind": "mlp", "base_dimension": 24, "dimension": 11, "hidden": 7}',
            "do not fit the head that its metadata describes",
        ),
        ('{"base": "", "kind": "linear", "base_dimension": 24, "dimension": 10, "hidden": 0}', "do not fit the head that its metadata"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(file: Path, about: str, message: str):
    save_file(load_file(file), file, {head_file.KEY: about})
    with pytest.raises(EncoderError, match=message):
        heads.load(file)


def test_weights_that_are_no_head_are_told(file: Path):
    save_file({"a": torch.zeros(2)}, file)
    with pytest.raises(EncoderError, match="holds weights, but no head"):
        heads.load(file)
