"""Frozen vectors as what is trained on: each item was encoded once, and heads learn on the result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from encoders.errors import EncoderError
from encoders.spec import Modality


class FrozenVectors:
    """Examples for heads: `train(…, towers={"text": OnVectors(head), …}, examples=FrozenVectors(…))`.

    Parameters
    ----------
    vectors : (items, base_dimension) by modality, one row for each different content; float32 or float16, a memory map if need be.
    ids : int64 (n,) by modality: row of `vectors` of each example, -1 where it lacks the modality.

    Raises
    ------
    EncoderError : modalities or lengths differ, or an id is no row of the vectors.
    """

    def __init__(self, vectors: Mapping[Modality, np.ndarray], ids: Mapping[Modality, np.ndarray]) -> None:
        if set(vectors) != set(ids) or len({len(places) for places in ids.values()}) != 1:
            sizes = ", ".join(f"{modality}: {len(places)}" for modality, places in ids.items())
            raise EncoderError(f"vectors are of {', '.join(vectors)}, ids of {sizes}; both need the same modalities, and ids one length")
        for modality, places in ids.items():
            if len(places) and not -1 <= places.min() <= places.max() < len(vectors[modality]):
                raise EncoderError(f"{modality} ids are {places.min()} to {places.max()}, there are {len(vectors[modality])} vectors")
        self.vectors = dict(vectors)
        self.ids: Mapping[Modality, np.ndarray] = {modality: np.asarray(places, np.int64) for modality, places in ids.items()}

    def __len__(self) -> int:
        return len(next(iter(self.ids.values())))

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of all vectors."""
        hashed = hashlib.sha256()
        for modality in sorted(self.vectors):
            array = np.ascontiguousarray(self.vectors[modality])
            hashed.update(f"{modality} {array.dtype} {array.shape} ".encode())
            hashed.update(array.data)
        return hashed.hexdigest()

    def inputs(self, modality: Modality, rows: np.ndarray) -> dict[str, Tensor]:
        """{"vectors": float32 (len(rows), base_dimension)}."""
        taken = self.vectors[modality].take(self.ids[modality][rows], axis=0)
        return {"vectors": torch.from_numpy(taken.astype(np.float32, copy=False))}


class OnVectors(Module):
    """A head as a tower: what maps a tensor maps {"vectors": tensor}."""

    def __init__(self, head: Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The head's vectors (n, dimension)."""
        out: Tensor = self.head(inputs["vectors"])
        return out
