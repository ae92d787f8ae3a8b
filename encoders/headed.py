"""An encoder with a head: a small trained map after an encoder that stays as it is, so that strangers' vectors share one space."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from encoders.align import head_file, head_numpy
from encoders.errors import EncoderError
from encoders.pretrained import Pretrained
from encoders.spec import Encoder, Spec
from encoders.weights import place

_UNIT = 1e-3  # how far from one the length of a base vector may be


def spec_of(base: Spec, weights: str) -> Spec:
    """The spec of an encoder with a head; reads and hashes the head's file, without torch.

    Parameters
    ----------
    base : what the head comes after.
    weights : the head's file: a path, or "package:…" for one that ships with this project.

    Raises
    ------
    EncoderError : there is no such file, it holds no head, or one for other vectors than the base's.
    """
    file = head_file.read(place(weights))
    _refuse_other(file.path, file.form.base_dimension, base)
    if file.base and file.base != head_file.base_of(base):
        raise EncoderError(
            f"the head {file.path} was made for the vectors of {file.base!r}, and this encoder is {head_file.base_of(base)!r}; "
            "give the weights it was trained on, or align anew"
        )
    head = {"weights": weights, "digest": file.digest, "base_dimension": base.dimension}
    return replace(base, dimension=file.form.dimension, head=head)


def only_calibrates(spec: Spec) -> bool:
    """Whether an encoder's head leaves its vectors as they are, but for what brings modalities together in mixed lists.

    Raises
    ------
    EncoderError : the head's file is gone or changed.
    """
    return bool(spec.head) and head_file.read(place(spec.head["weights"]), spec.head["digest"]).form.kind == "identity"


class Headed:
    """An encoder whose vectors go through a head: `encode` is the head of the base's `encode`, all else is the base's own.

    Parameters
    ----------
    base : the encoder beneath; costs nothing yet.
    spec : as `spec_of` makes it.
    """

    def __init__(self, base: Encoder, spec: Spec) -> None:
        self.base = base
        self.spec = spec
        self._head: Callable[[np.ndarray], np.ndarray] | None = None
        self._lock = threading.Lock()
        if isinstance(base, Pretrained):
            base.judged = self._mapped  # a center takes away what all vectors have in common, and so magnifies what a dtype blurs

    def __getattr__(self, name: str) -> Any:
        """What is optional in an encoder (tokenizer, prepare_query, lanes, tokens, mel …) is there exactly where the base has it."""
        if name == "base":  # before __init__, as when copied
            raise AttributeError(name)
        return getattr(self.base, name)

    def prepare(self, medium: Any) -> dict[str, np.ndarray]:
        """The base's model inputs of one segment."""
        return self.base.prepare(medium)

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Vectors of a batch, float32 (n, dimension), each of length one; several threads may call this at once."""
        return self._mapped(self.base.encode(inputs))

    def check(self) -> None:
        """EncoderError for what is certainly missing: the head's file, and whatever the base misses."""
        getattr(self.base, "check", lambda: None)()
        self._read()

    def warm(self) -> None:
        """Load the head and the base's weights now."""
        self._loaded()
        getattr(self.base, "warm", lambda: None)()

    def _mapped(self, vectors: np.ndarray) -> np.ndarray:
        """The head of base vectors (n, base_dimension), on the CPU in float32 wherever the base runs.

        A vector that has not length one is the base's fault, such as the zeros of a text without a known word; it keeps its length, so
        that it is refused where vectors are checked, instead of passing as the head's bias.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.spec.base.dimension:
            raise EncoderError(f"{self.spec.encoder} gives vectors {vectors.shape}, its head takes {self.spec.base.dimension} numbers each")
        mapped = self._loaded()(np.ascontiguousarray(vectors, np.float32))
        length = np.linalg.norm(vectors, axis=1, keepdims=True)  # (n, 1)
        return mapped if np.all(np.abs(length - 1) < _UNIT) else mapped * np.where(np.abs(length - 1) < _UNIT, np.float32(1), length)

    def _loaded(self) -> Callable[[np.ndarray], np.ndarray]:
        if self._head is None:
            with self._lock:
                if self._head is None:
                    self._head = _applied(self._read())
        return self._head

    def _read(self) -> head_file.HeadFile:
        """The head's file, if it still is what the spec was made from."""
        file = head_file.read(place(self.spec.head["weights"]), self.spec.head["digest"])
        _refuse_other(file.path, file.form.base_dimension, self.spec.base)
        if file.form.dimension != self.spec.dimension:
            raise EncoderError(f"the head {file.path} gives vectors of {file.form.dimension} numbers, its spec says {self.spec.dimension}")
        return file


def _applied(file: head_file.HeadFile) -> Callable[[np.ndarray], np.ndarray]:
    """A head's map of float32 (n, base_dimension): in NumPy where that is no slower, else in torch."""
    if file.form.kind in head_numpy.KINDS:
        return head_numpy.from_file(file)
    import torch

    from encoders.align.heads import from_file

    head = from_file(file)

    def applied(vectors: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            mapped: np.ndarray = head(torch.from_numpy(vectors)).numpy()
        return mapped

    return applied


def _refuse_other(path: Path, takes: int, base: Spec) -> None:
    if takes != base.dimension:
        raise EncoderError(
            f"the head {path} takes vectors of {takes} numbers, and {base.encoder} gives {base.dimension}; "
            "give the head that was trained on this encoder, or align anew"
        )
