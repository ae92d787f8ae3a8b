"""A whole encoder of one's own, as a package that knows only the spec: counts the letters of a text."""

import numpy as np

from encoders.spec import Spec

ALPHABET = "abcdefghijklmnopqrstuvwxyz"


class Letters:
    modality = "text"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", ignore: str = "") -> Spec:
        return Spec("letters", cls.modality, len(ALPHABET), "counts", preprocessing={"ignore": ignore}, licence="CC0-1.0")

    def __init__(self, spec: Spec, device: str = "cpu", dtype: str = "auto") -> None:
        self.spec = spec

    def prepare(self, medium: str) -> dict[str, np.ndarray]:
        ignored = self.spec.preprocessing["ignore"]
        return {"counts": np.array([0 if letter in ignored else medium.lower().count(letter) for letter in ALPHABET], np.float32)}

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        return inputs["counts"] / np.linalg.norm(inputs["counts"], axis=1, keepdims=True)
