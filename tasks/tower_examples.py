"""What encoders are fine-tuned on: prepared inputs of media, read from files as they are needed, in the order of the pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from encoders.align.towers import Tower
from encoders.spec import Modality
from tasks.prepared import inputs_of


class PreparedInputs:
    """Model inputs of one segment of each content: its first. The files are mapped, so memory holds what is in use."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[pa.RecordBatch, int]] = {}

    def add(self, path: Path, contents: Mapping[int, str]) -> None:
        """Take a prepared file in.

        Parameters
        ----------
        contents : by the number of an object in the file, those that are whole.
        """
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                objects, segments = batch.column("object").to_pylist(), batch.column("segment").to_pylist()
                for row, (number, segment) in enumerate(zip(objects, segments, strict=True)):
                    if segment == 0 and number in contents:
                        self._places[contents[number]] = batch, row

    def __contains__(self, content: str) -> bool:
        return content in self._places

    def __getitem__(self, content: str) -> dict[str, np.ndarray]:
        return inputs_of(*self._places[content])


class TowerExamples:
    """Examples for towers, of prepared inputs; and of vectors, where an encoder is kept as it is.

    Parameters
    ----------
    ids : int64 (n,) by modality, the item of each example, -1 where it lacks the modality.
    items : contents by modality, in the order of the ids.
    towers : of the modalities that are trained.
    inputs : of their items.
    vectors : (items, d) of the others.
    """

    def __init__(
        self,
        ids: Mapping[Modality, np.ndarray],
        items: Mapping[Modality, Sequence[str]],
        towers: Mapping[Modality, Tower],
        inputs: Mapping[Modality, PreparedInputs],
        vectors: Mapping[Modality, np.ndarray],
    ) -> None:
        self.ids = ids
        self.items = items
        self._towers, self._inputs, self._vectors = towers, inputs, vectors

    def __len__(self) -> int:
        return len(next(iter(self.ids.values())))

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all contents, and of the encoders that prepared them."""
        hashed = hashlib.sha256()
        for modality, contents in self.items.items():
            mark = self._towers[modality].spec.fingerprint if modality in self._towers else "kept"
            hashed.update("\n".join([modality, mark, *contents]).encode())
        for vectors in self._vectors.values():
            hashed.update(np.ascontiguousarray(vectors).tobytes())
        return hashed.hexdigest()

    def inputs(self, modality: Modality, rows: np.ndarray) -> dict[str, Tensor]:
        """What the tower takes, of some examples."""
        return self.of_items(modality, self.ids[modality][rows])

    def of_items(self, modality: Modality, items: np.ndarray) -> dict[str, Tensor]:
        """What the tower takes, of some items."""
        if modality in self._vectors:
            return {"vectors": torch.from_numpy(self._vectors[modality][items].astype(np.float32))}
        contents = self.items[modality]
        return self._towers[modality].stacked([self._inputs[modality][contents[item]] for item in items.tolist()])
