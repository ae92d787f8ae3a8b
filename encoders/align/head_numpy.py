"""Heads without an MLP in NumPy: a search through one then starts without torch, whose import takes longer than the search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from encoders.align.head_file import HeadFile
from encoders.align.unit import unit
from encoders.errors import EncoderError

KINDS = ("identity", "linear")


@dataclass(frozen=True)
class StraightHead:
    """A head of kind "linear" or "identity", as `encoders.align.heads.Head` tells it: its map, length one, and its calibration.

    Parameters
    ----------
    weight : (dimension, base_dimension), or None for the identity.
    bias : (dimension,) or None.
    center, projection : (dimension,) and (dimension, dimension), or None.
    """

    weight: np.ndarray | None = None
    bias: np.ndarray | None = None
    center: np.ndarray | None = None
    projection: np.ndarray | None = None

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Unit vectors, float32 (n, dimension), of unit vectors (n, base_dimension)."""
        mapped = vectors if self.weight is None else vectors @ self.weight.T + self.bias
        mapped = unit(mapped)
        if self.center is None:
            return mapped
        centred = mapped - self.center
        return unit(centred if self.projection is None else centred @ self.projection)


def from_file(file: HeadFile) -> StraightHead:
    """The head of a file whose kind is one of `KINDS`.

    Raises
    ------
    EncoderError : it holds no such head.
    """
    form = file.form
    sizes = {"center": (form.dimension,), "projection": (form.dimension, form.dimension)}
    if form.kind == "linear":
        sizes |= {"straight.weight": (form.dimension, form.base_dimension), "straight.bias": (form.dimension,)}
    try:
        tensors = {name: np.asarray(tensor, np.float32) for name, tensor in load_tensors(file.content).items() if name != "none"}
    except (SafetensorError, ValueError, KeyError) as problem:
        raise EncoderError(f"{file.path} is no safetensors file ({problem}); bring back the whole file, or align anew") from problem
    found = {name: tensor.shape for name, tensor in tensors.items()}
    needed = {name: shape for name, shape in sizes.items() if name.startswith("straight") or name in found}
    if found != needed or ("projection" in found and "center" not in found):
        raise EncoderError(f"the weights in {file.path} do not fit the head that its metadata describes, {form}: it holds {found}")
    return StraightHead(tensors.get("straight.weight"), tensors.get("straight.bias"), tensors.get("center"), tensors.get("projection"))
