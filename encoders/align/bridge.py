"""Two spaces that share text, joined with captions alone: no picture here was ever paired with a sound.

Space A holds texts and pictures, space B texts and sounds (CLIP and CLAP, say), each in vectors of its own. Both read the same captions; a
map that brings B's vector of each caption onto A's also brings B's sounds to where A's pictures of the same are, as far as both spaces keep
what a caption says, its picture and its sound together. Wang et al. 2023, "Connecting Multi-modal Contrastive Representations"
(arXiv 2305.14381), C-MCR; A is left as it is here, as in their Ex-MCR (arXiv 2310.08884), so that its vectors need not be made anew.

What is mapped in the end is sounds, not texts, and a space's sounds lie apart from its texts. Hence C-MCR's semantic enhancement: where
there are sounds of B and pictures of A, of anything and in no pairs, each caption is replaced in either space by what it retrieves there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.align.heads import Head
from encoders.align.losses import info_nce
from encoders.align.optimiser import adamw, learning_rate, set_rate
from encoders.align.unit import unit
from encoders.errors import EncoderError

Method = Literal["ridge", "procrustes", "mlp"]
METHODS: tuple[Method, ...] = get_args(Method)

ROWS = 1024  # captions that look at the memory at once
MOST_SCALE = 100.0


@dataclass(frozen=True)
class Side:
    """One space.

    Parameters
    ----------
    captions : unit vectors (n, dimension) of the captions, the same ones in the same order on both sides.
    memory : unit vectors (m, dimension) of any pictures (or sounds) of this space; None where there are none.
    """

    captions: np.ndarray
    memory: np.ndarray | None = None


@dataclass(frozen=True)
class How:
    """How a bridge is built.

    Parameters
    ----------
    method : "ridge" (a linear map by least squares), "procrustes" (the nearest rotation), or "mlp" (C-MCR's trained projector).
    ridge : strength, as if noise of this squared length were added to B's vectors; 0 takes 0.1 with memories and 1 without.
    temperature : of the softmax over a memory; C-MCR has 0.01.
    noise : length, in the mean, of the noise added to a vector in each step of the projector; C-MCR has a variance of 0.004 a number.
    intra : weight of C-MCR's intra-MCR loss, which draws a mapped caption to what it retrieved. Means nothing without a memory.
    steps, batch, rate, seed : of the projector's training.
    """

    method: Method = "ridge"
    ridge: float = 0.0
    temperature: float = 0.02
    noise: float = 0.7
    intra: float = 0.1
    steps: int = 500
    batch: int = 512
    rate: float = 1e-3
    seed: int = 1

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise EncoderError(f"there is no bridge by {self.method!r}; use {', '.join(METHODS)}")
        if self.ridge < 0 or self.noise < 0 or self.intra < 0 or self.temperature <= 0 or self.steps < 1 or self.batch < 2:
            raise EncoderError(f"{self} cannot be: ridge, noise and intra are 0 or more, the temperature above 0, a batch has 2 captions")


def build(a: Side, b: Side, how: How | None = None) -> Head:
    """The map from space B into space A: a head for every encoder of B.

    Returns
    -------
    A head of B's dimension into A's; a linear one has no bias.

    Raises
    ------
    EncoderError : the sides hold different captions, or fewer than two.
    """
    how = how or How()
    _refuse(a, b)
    if how.method == "mlp":
        return _projector(a, b, how)
    one, other = (side.captions if side.memory is None else retrieved(side.captions, side.memory, how.temperature) for side in (a, b))
    if how.method == "procrustes":
        return _linear(_procrustes(one, other))
    enhanced = a.memory is not None and b.memory is not None
    return _linear(_ridge(one, other, how.ridge or (0.1 if enhanced else 1.0)))


def retrieved(captions: np.ndarray, memory: np.ndarray, temperature: float) -> np.ndarray:
    """What captions find in a memory: its mean, weighed by softmax(cosine / temperature); unit vectors (n, dimension).

    C-MCR's equation 2. These lie among the pictures (or sounds) themselves, not where texts are, and hold what both have in common.
    """
    found: np.ndarray = np.empty(captions.shape, np.float32)
    memory = memory.astype(np.float32)
    for first in range(0, len(captions), ROWS):
        cosines = captions[first : first + ROWS].astype(np.float32) @ memory.T / temperature  # (rows, m)
        weights = np.exp(cosines - cosines.max(1, keepdims=True))
        found[first : first + ROWS] = weights @ memory
    return unit(found)


def behind(inner: Head, outer: Head) -> Head:
    """One head that does what two do, one behind the other: for an encoder of B that has a head already.

    Raises
    ------
    EncoderError : there is no such head, for `outer` is no linear map without a bias, or `inner` is a residual, or maps and calibrates.
    """
    linear = outer.straight
    plain = isinstance(linear, nn.Linear) and outer.form.kind == "linear" and not bool(linear.bias.any()) and outer.center is None
    maps = inner.form.kind != "identity"
    if not plain or (maps and inner.center is not None) or inner.form.kind == "residual":
        raise EncoderError(
            "this bridge cannot be put behind a head that is there already; that needs a linear bridge (ridge or procrustes) and a head "
            "that is linear or an mlp and not calibrated: bridge the spaces before they are aligned, or align with --no-calibrate"
        )
    if not maps:
        return _behind_calibration(inner, outer)
    joined = Head(inner.form.kind, inner.form.base_dimension, outer.form.dimension, inner.form.hidden)
    joined.load_state_dict({**joined.state_dict(), **inner.state_dict(), **_mapped_last(inner, outer)})
    return joined.eval().requires_grad_(False)


def _behind_calibration(inner: Head, outer: Head) -> Head:
    """W ((x - c) P) is (W Pᵀ) x - W Pᵀ c, and lengths do not matter."""
    if inner.center is None:
        return outer
    weight = outer.state_dict()["straight.weight"]
    weight = weight if inner.projection is None else weight @ inner.projection.T
    joined = Head("linear", weight.shape[1], weight.shape[0])
    joined.load_state_dict({"straight.weight": weight, "straight.bias": -weight @ inner.center})
    return joined.eval().requires_grad_(False)


def _refuse(a: Side, b: Side) -> None:
    if len(a.captions) != len(b.captions) or len(a.captions) < 2:
        raise EncoderError(f"a bridge needs the same captions in both spaces, two at least; got {len(a.captions)} and {len(b.captions)}")
    for side in (a, b):
        if side.memory is not None and (not len(side.memory) or side.memory.shape[1] != side.captions.shape[1]):
            raise EncoderError(f"a memory of shape {side.memory.shape} does not fit captions of shape {side.captions.shape}")


def _ridge(a: np.ndarray, b: np.ndarray, strength: float) -> np.ndarray:
    """W (d_a, d_b) that makes |W b - a|² + strength · n / d_b · |W|² least."""
    b = b.astype(np.float64)
    gram = b.T @ b + strength * len(b) / b.shape[1] * np.eye(b.shape[1])
    solved: np.ndarray = np.linalg.lstsq(gram, b.T @ a, rcond=None)[0].T
    return solved


def _procrustes(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """W (d_a, d_b) with orthonormal rows or columns that makes |W b - a|² least: the polar part of aᵀ b (Schönemann 1966)."""
    left, _, right = np.linalg.svd(a.astype(np.float64).T @ b, full_matrices=False)
    rotation: np.ndarray = left @ right
    return rotation


def _linear(matrix: np.ndarray) -> Head:
    head = Head("linear", matrix.shape[1], matrix.shape[0])
    head.load_state_dict({"straight.weight": torch.from_numpy(matrix).float(), "straight.bias": torch.zeros(len(matrix))})
    return head.eval().requires_grad_(False)


def _mapped_last(inner: Head, outer: Head) -> dict[str, Tensor]:
    """The last layer of `inner` with the outer map multiplied in: W (V x + c) is (W V) x + W c, and lengths do not matter."""
    map_ = outer.state_dict()["straight.weight"]
    name = "straight" if inner.form.kind == "linear" else "mlp.2"
    state = inner.state_dict()
    return {f"{name}.weight": map_ @ state[f"{name}.weight"], f"{name}.bias": map_ @ state[f"{name}.bias"]}


def _projector(a: Side, b: Side, how: How) -> Head:
    """C-MCR's projector, of B alone: InfoNCE between spaces of captions and of what they retrieve, both with noise, and the intra loss."""
    pairs = [(torch.from_numpy(b.captions).float(), torch.from_numpy(a.captions).float())]
    if a.memory is not None and b.memory is not None:
        found = [torch.from_numpy(retrieved(side.captions, side.memory, how.temperature)) for side in (b, a) if side.memory is not None]
        pairs.append((found[0], found[1]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        head = Head("mlp", b.captions.shape[1], a.captions.shape[1], 4 * max(b.captions.shape[1], a.captions.shape[1]))
        log_scale = nn.Parameter(torch.tensor(3.0))
        optimiser = adamw([*head.parameters(), log_scale], 0.05, (0.9, 0.98))
        for step in range(how.steps):
            rows = torch.randperm(len(a.captions))[: how.batch]
            loss = _loss(head, [(x[rows], y[rows]) for x, y in pairs], log_scale.exp().clamp(max=MOST_SCALE), how)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            set_rate(optimiser, learning_rate(step, how.steps, how.rate, 0.05, 0.0))
            optimiser.step()
    return head.eval().requires_grad_(False)


def _loss(head: Head, pairs: list[tuple[Tensor, Tensor]], scale: Tensor, how: How) -> Tensor:
    noisy = [(head(_noised(x, how.noise)), _noised(y, how.noise)) for x, y in pairs]
    loss = torch.stack([info_nce(x, y, scale) for x, y in noisy]).sum()
    if len(noisy) > 1 and how.intra:
        (text, _), (found, _) = noisy
        loss = loss + how.intra * (text - found).square().sum(1).mean() / 2
    return loss


def _noised(vectors: Tensor, length: float) -> Tensor:
    return functional.normalize(vectors + length / vectors.shape[1] ** 0.5 * torch.randn_like(vectors), dim=1) if length else vectors
