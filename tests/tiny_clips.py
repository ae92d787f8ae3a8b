"""Encoders by hand for frames, sounds and clips, which fail where a test wants them to."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from encoders.spec import Modality, Spec

HOW = {"audio": {"sampling_rate": 16_000, "window_samples": 16_000}, "video": {"clip_frames": 4, "clip_seconds": 2.0, "clip_edge": 16}}


class Plain:
    """The mean and spread of what it gets, as a vector of unit length."""

    modality: ClassVar[Modality] = "image"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "") -> Spec:
        return Spec(f"plain-{cls.modality}", cls.modality, 3, "pixels", preprocessing=HOW.get(cls.modality, {}))

    def __init__(self, spec: Spec, device: str = "cpu", dtype: str = "auto") -> None:
        self.spec = spec

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        return {"pixels": np.float32([1, medium.mean(), medium.std()])}

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        pixels = inputs["pixels"]
        return pixels / np.linalg.norm(pixels, axis=1, keepdims=True)


class Sound(Plain):
    """Of sounds."""

    modality = "audio"


class Deaf(Sound):
    """Fails on every sound."""

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        raise ValueError("heard nothing")


class Clip(Plain):
    """Of clips."""

    modality = "video"
