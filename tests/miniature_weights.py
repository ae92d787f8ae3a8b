"""The miniature's weights under transformers' own classes and preprocessing: an independent reference for what its world means to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoModel, AutoTokenizer

from encoders import miniature


class Miniature:
    """Vectors (n, 128) of unit length, comparable across texts, pictures and sounds."""

    def __init__(self) -> None:
        folder = Path(miniature.__file__).parent
        clip, audio = folder / "clip", folder / "audio"
        self.clip, self.ast = AutoModel.from_pretrained(clip).eval(), AutoModel.from_pretrained(audio).eval()
        self.tokenize = AutoTokenizer.from_pretrained(clip)
        self.scale = AutoImageProcessor.from_pretrained(clip)
        self.spectrogram = AutoFeatureExtractor.from_pretrained(audio)
        self.head = load_file(audio / "audio_head.safetensors")["weight"]
        self.centers = {name: load_file(folder / "heads" / f"{name}.safetensors")["center"] for name in ("text", "image", "audio")}

    @torch.no_grad()
    def texts(self, texts: Sequence[str]) -> np.ndarray:
        tokens = self.tokenize(list(texts), padding=True, truncation=True, return_tensors="pt")
        return self._centred("text", self.clip.get_text_features(**tokens).pooler_output)

    @torch.no_grad()
    def pictures(self, pictures: Sequence[np.ndarray]) -> np.ndarray:
        pixels = self.scale(images=[Image.fromarray(p) for p in pictures], return_tensors="pt")
        return self._centred("image", self.clip.get_image_features(**pixels).pooler_output)

    @torch.no_grad()
    def sounds(self, sounds: Sequence[np.ndarray]) -> np.ndarray:
        mel = self.spectrogram(list(sounds), sampling_rate=16_000, return_tensors="pt")
        return self._centred("audio", functional.linear(self.ast(**mel).pooler_output, self.head))

    def _centred(self, modality: str, vectors: torch.Tensor) -> np.ndarray:
        return functional.normalize(functional.normalize(vectors, dim=-1) - self.centers[modality], dim=-1).numpy()
