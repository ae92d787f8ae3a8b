"""An installed package whose encoder misbehaves on pictures of certain colours, as native decoders and models do."""

from __future__ import annotations

import ctypes

import numpy as np

from encoders.spec import Spec

HANG, CRASH, BLOAT, RAISE, ZERO, CHOKE, NAN = range(1, 8)


class Trap:
    """Vectors of a picture's mean colour; the red value of its first pixel may be a trap."""

    modality = "image"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", constant: bool = False) -> Spec:
        return Spec("trap", "image", dimension=4, inputs="pixels", preprocessing={"constant": constant})

    def __init__(self, spec: Spec, device: str = "cpu", dtype: str = "auto") -> None:
        self.spec = spec

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        trap = int(medium[0, 0, 0])
        if trap == HANG:
            ctypes.PyDLL(None).sleep(600)  # in native code, with the interpreter held
        if trap == CRASH:
            ctypes.string_at(0)
        if trap == BLOAT:
            np.ones(1 << 33, np.uint8)
        if trap == RAISE:
            raise KeyError("unforeseen")
        return {"pixels": np.concatenate([[trap], medium.mean((0, 1))])[None].astype(np.float32)}

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        pixels = inputs["pixels"][:, 0]  # (n, 4)
        if CHOKE in pixels[:, 0]:
            raise RuntimeError("out of memory: 12 GiB asked, 8 GiB free")
        vectors = np.ones((len(pixels), 4)) if self.spec.preprocessing["constant"] else pixels + np.arange(4)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors[pixels[:, 0] == ZERO] = 0
        vectors[pixels[:, 0] == NAN] = np.nan
        return vectors.astype(np.float32)
