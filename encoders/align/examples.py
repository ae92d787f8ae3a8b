"""What is trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from torch import Tensor
from torch.nn import Module

from encoders.errors import EncoderError
from encoders.spec import Modality


class Examples(Protocol):
    """What is trained on: row i of all modalities belongs together."""

    ids: Mapping[Modality, np.ndarray]
    """int64 (n,) by modality: equal where the contents are equal, -1 where a row lacks the modality."""

    @property
    def digest(self) -> str:
        """What the examples are: another digest, another training, whose checkpoint is not gone on from."""
        ...

    def __len__(self) -> int:
        """Rows."""
        ...

    def inputs(self, modality: Modality, rows: np.ndarray) -> dict[str, Tensor]:
        """A tower's inputs of some rows (all of which have the modality), each with len(rows) along its first axis.

        What is random here (such as augmentation) draws from torch's generator, which is seeded for every step; a generator of numpy's is
        made by `np.random.default_rng(torch.initial_seed())`.
        """
        ...


def check_examples(towers: Mapping[Modality, Module], examples: Examples) -> None:
    """EncoderError for examples that are not pairs of what there are towers of."""
    if len(towers) < 2:
        raise EncoderError(f"alignment needs two modalities, got a tower of {', '.join(towers) or 'none'}")
    missing = [modality for modality in towers if modality not in examples.ids]
    if missing:
        raise EncoderError(f"there is a tower of {', '.join(missing)}, and examples of {', '.join(examples.ids)} alone")
    lonely = int((np.sum([examples.ids[modality] >= 0 for modality in towers], axis=0) < 2).sum())
    if lonely:
        raise EncoderError(f"{lonely} of {len(examples)} examples have fewer than two of {', '.join(towers)}; leave them out")


def check_negatives(negatives: Mapping[Modality, np.ndarray], towers: Mapping[Modality, Module], examples: Examples) -> None:
    """EncoderError for hard negatives that name no examples."""
    for modality, rows in negatives.items():
        if modality not in towers or rows.ndim != 2 or len(rows) != len(examples):
            raise EncoderError(
                f"{modality} negatives have shape {rows.shape}; give ({len(examples)}, k) rows of examples, for one of {', '.join(towers)}"
            )
        if not (
            rows.min(initial=-1) >= -1 and rows.max(initial=-1) < len(examples) and (examples.ids[modality][rows[rows >= 0]] >= 0).all()
        ):
            raise EncoderError(f"{modality} negatives name examples that do not exist or have no {modality}; -1 stands for none")
