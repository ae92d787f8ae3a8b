"""What encoders are fine-tuned on: prepared inputs of media, read from files as they are needed, in the order of the pairs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from encoders.align.towers import Tower
from encoders.spec import Modality
from tasks.prepared import inputs_of


class PreparedInputs:
    """Model inputs of the segments of each content, in their order. The files are mapped, so memory holds what is in use."""

    def __init__(self) -> None:
        self._places: dict[str, list[tuple[pa.RecordBatch, int]]] = {}

    def add(self, path: Path, contents: Mapping[int, str]) -> None:
        """Take a prepared file in.

        Parameters
        ----------
        contents : by the number of an object in the file, those that are whole.
        """
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
            for batch in stream:
                for row, number in enumerate(batch.column("object").to_pylist()):
                    if number in contents:
                        self._places.setdefault(contents[number], []).append((batch, row))

    def __contains__(self, content: str) -> bool:
        return content in self._places

    def count(self, content: str) -> int:
        """How many segments it has."""
        return len(self._places[content])

    def segment(self, content: str, number: int) -> dict[str, np.ndarray]:
        """Inputs of one of them."""
        return inputs_of(*self._places[content][number])


class TowerExamples:
    """Examples for towers, of prepared inputs; and of vectors, where an encoder is kept as it is.

    Of an object of several segments (windows of a sound, chunks of a text) each step sees one, drawn by torch's generator, which the
    training seeds for each step.

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
        items = self.ids[modality][rows]
        if modality in self._vectors:
            return {"vectors": torch.from_numpy(self.kept(modality)[items])}
        inputs, contents = self._inputs[modality], self.items[modality]
        return self._towers[modality].stacked([_drawn(inputs, contents[item]) for item in items.tolist()])

    def kept(self, modality: Modality) -> np.ndarray:
        """Vectors of all items of a modality whose encoder is kept, float32 (items, d)."""
        return self._vectors[modality].astype(np.float32)

    def segments(self, modality: Modality, most: int) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        """All segments of all items, up to `most` at once: which item each belongs to, int64 (n,), and what the tower takes."""
        inputs, contents = self._inputs[modality], self.items[modality]
        places = [(item, number) for item, content in enumerate(contents) for number in range(inputs.count(content))]
        for low in range(0, len(places), most):
            some = places[low : low + most]
            given = self._towers[modality].stacked([inputs.segment(contents[item], number) for item, number in some])
            yield np.array([item for item, _ in some], np.int64), given


def _drawn(inputs: PreparedInputs, content: str) -> dict[str, np.ndarray]:
    count = inputs.count(content)
    return inputs.segment(content, int(torch.randint(count, ())) if count > 1 else 0)
