"""Heads: small maps from a frozen encoder's vectors into a space that several encoders share."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from encoders.align import head_file
from encoders.align.head_file import KINDS, Form, HeadFile, Kind
from encoders.errors import EncoderError
from encoders.pooling import normalise
from encoders.spec import Spec
from encoders.weights import place

__all__ = ["KINDS", "Form", "Head", "Kind", "from_file", "load", "of", "save"]


class Head(nn.Module):
    """A map of unit vectors (n, base_dimension) to unit vectors (n, dimension).

    ::

        linear      W x + b
        mlp         W2 gelu(W1 sqrt(base_dimension) x + b1) + b2
        residual    x + mlp(x), or P x + mlp(x) where the dimensions differ; the MLP's last layer starts at zero
        identity    x

    then length one, and where the head is calibrated also (… - center) projection, and length one again. A unit vector's numbers are as
    small as 1 / sqrt(base_dimension), for which GELU is all but linear; hence the square root. Linear maps start as the identity where the
    dimensions agree, and else orthogonal, so that training starts from a space as little distorted as can be.

    Parameters
    ----------
    kind : "linear", "mlp", "residual" or "identity".
    base_dimension, dimension : numbers of a vector that goes in, and of one that comes out.
    hidden : width of the MLP's hidden layer; 0 takes twice the larger dimension. Means nothing to the other kinds.

    Attributes
    ----------
    center : (dimension,) or None; see `encoders.align.calibration`.
    projection : (dimension, dimension) or None; only with a center.

    Raises
    ------
    EncoderError : there is no such kind, or it cannot have these sizes.
    """

    center: Tensor | None
    projection: Tensor | None

    def __init__(self, kind: Kind, base_dimension: int, dimension: int, hidden: int = 0) -> None:
        super().__init__()
        deep = kind in {"mlp", "residual"}
        self.form = Form(kind, base_dimension, dimension, (hidden or 2 * max(base_dimension, dimension)) if deep else 0)
        self.straight: nn.Module | None = self._straight()
        self.mlp: nn.Sequential | None = self._mlp() if deep else None
        self.register_buffer("center", None)
        self.register_buffer("projection", None)

    def forward(self, vectors: Tensor) -> Tensor:
        """Unit vectors, float32 (n, dimension), of unit vectors (n, base_dimension)."""
        mapped = normalise(self.mapped(vectors))
        if self.center is None:
            return mapped
        centred = mapped - self.center
        return normalise(centred if self.projection is None else centred @ self.projection)

    def mapped(self, vectors: Tensor) -> Tensor:
        """The map alone, (n, dimension) of any length."""
        out = vectors if self.straight is None and self.mlp is None else vectors.new_zeros(len(vectors), self.form.dimension)
        if self.straight is not None:
            out = self.straight(vectors)
        elif self.form.kind == "residual":
            out = vectors
        if self.mlp is not None:
            out = out + self.mlp(vectors * self.form.base_dimension**0.5)
        return out

    def calibrated(self, center: Tensor | None, projection: Tensor | None = None) -> Head:
        """A copy with another center and projection, for rows and queries alike; None for none."""
        if center is None and projection is not None:
            raise EncoderError("a head projects around its center; give a center of zeros to project alone")
        size = self.form.dimension
        for name, values, shape in (("center", center, (size,)), ("projection", projection, (size, size))):
            if values is not None and tuple(values.shape) != shape:
                raise EncoderError(f"a head of {size} numbers takes a {name} of shape {shape}, got {tuple(values.shape)}")
        changed = copy.deepcopy(self)
        device = next((parameter.device for parameter in self.parameters()), None)
        changed.center = None if center is None else center.detach().float().to(device).clone()
        changed.projection = None if projection is None else projection.detach().float().to(device).clone()
        return changed

    def _straight(self) -> nn.Module | None:
        """What goes around an MLP, or is all there is; None for the identity."""
        form = self.form
        if form.kind in {"identity", "mlp"} or (form.kind == "residual" and form.base_dimension == form.dimension):
            return None
        layer = nn.Linear(form.base_dimension, form.dimension, bias=form.kind == "linear")
        with torch.no_grad():
            if form.base_dimension == form.dimension:
                nn.init.eye_(layer.weight)
            else:
                nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                layer.bias.zero_()
        return layer

    def _mlp(self) -> nn.Sequential:
        form = self.form
        last = nn.Linear(form.hidden, form.dimension)
        layers = nn.Sequential(nn.Linear(form.base_dimension, form.hidden), nn.GELU(), last)
        if form.kind == "residual":
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        return layers


def save(head: Head, path: Path, base: str = "") -> str:
    """Write a head as safetensors, beside and then renamed, so that no reader ever sees half of it.

    Parameters
    ----------
    base : whose vectors it was trained on, as `head_file.base_of` puts it; with it, a space refuses the head over another encoder.

    Returns
    -------
    The file's hex SHA-256; one head is always the same bytes.
    """
    tensors = {name: tensor.detach().float().cpu().contiguous() for name, tensor in head.state_dict().items()}
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise EncoderError(f"the head for {path.name} has numbers in {name} that are not finite; train with a smaller learning rate")
    # safetensors refuses to write no tensors at all in some versions, and an identity has none
    tensors = tensors or {"none": torch.zeros(1)}
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(save_tensors(tensors, head_file.metadata(head.form, base)))
    beside.replace(path)
    return head_file.read(path).digest


def load(path: Path, digest: str = "") -> Head:
    """The head in a file, on the CPU, ready to run.

    Parameters
    ----------
    digest : hex SHA-256 that the file must have; "" takes it as it is.

    Raises
    ------
    EncoderError : there is no such file, it was cut off or changed, or it holds no head.
    """
    return from_file(head_file.read(path, digest))


def of(spec: Spec) -> Head | None:
    """The head that an encoder has, on the CPU, or None; errors are those of `load`."""
    return load(place(spec.head["weights"]), spec.head["digest"]) if spec.head else None


def from_file(file: HeadFile) -> Head:
    """The head of a file that was read."""
    form = file.form
    try:
        tensors = {name: tensor.float() for name, tensor in load_tensors(file.content).items() if name != "none"}
    except (SafetensorError, ValueError, RuntimeError) as problem:
        raise EncoderError(f"{file.path} is no safetensors file ({problem}); bring back the whole file, or align anew") from problem
    center, projection = tensors.pop("center", None), tensors.pop("projection", None)
    with torch.random.fork_rng([]):  # what is drawn here is overwritten, and must not move the numbers of a training under way
        head = Head(form.kind, form.base_dimension, form.dimension, form.hidden)
    try:
        head.load_state_dict(tensors)
        head = head.calibrated(center, projection)
    except (RuntimeError, EncoderError) as problem:
        raise EncoderError(f"the weights in {file.path} do not fit the head that its metadata describes, {form}: {problem}") from problem
    return head.eval().requires_grad_(False)
