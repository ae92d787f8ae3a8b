"""Sounds through the Audio Spectrogram Transformer, which reads a mel spectrogram as a picture of patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.errors import EncoderError
from encoders.pooling import unwrap
from encoders.pretrained import Pretrained, read_model, setting
from encoders.processor import audio_preprocessing
from encoders.spec import Modality, Spec
from encoders.spectrogram import kaldi_fbank, mel_patches, normalise
from encoders.weights import digest, locate, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

HEAD = "audio_head.safetensors"

_FRAME, _HOP = 400, 160  # samples: 25 ms and 10 ms at 16 kHz, as in Kaldi


class Ast(Pretrained):
    """An AST checkpoint (Gong, Chung, Glass: AST: Audio Spectrogram Transformer, Interspeech 2021), with a linear head if there is one.

    A head stands beside the checkpoint in audio_head.safetensors: "weight" (dimension, width) and perhaps "bias" (dimension,).
    """

    modality: Modality = "audio"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", window_samples: int = 0) -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        window_samples : length of the windows that long sounds are cut into; by default (0) as many as fill the model's frames. The model
            hears nothing of what a window has beyond that, and silence where it is shorter.
        """
        if window_samples < 0:
            raise EncoderError(f"window_samples {window_samples} is no length; give the samples of a window, or 0 for the model's own")
        folder = locate(weights, revision)
        if read_json(folder, "config.json").get("model_type") != "audio-spectrogram-transformer":
            raise EncoderError(f"{folder} holds {read_json(folder, 'config.json').get('model_type')}, not an audio-spectrogram-transformer")
        head = _head_shape(folder)
        how = _preprocessing(folder)
        return Spec(
            encoder="ast",
            modality=cls.modality,
            dimension=head[0] if head else setting(folder, "hidden_size"),
            inputs="mel patches",
            weights=weights,
            revision=revision,
            digest=digest(folder),
            preprocessing={**how, "window_samples": window_samples or heard(how["frames"])},
            pooling="projection" if head else "pooler",
            licence=licence,
        )

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """Patches of a sound's mel spectrogram.

        Parameters
        ----------
        medium : float32 (samples,) at the spec's "sampling_rate", at most "window_samples"; a shorter one is followed by silence, for
            padding after the logarithm is heard as a loud plateau.

        Returns
        -------
        {"mel_patches": float32 (n, p * p)}, normalised, in the order of the model's patch embedding.
        """
        how = self.spec.preprocessing
        if medium.dtype != np.float32 or medium.ndim != 1 or not 0 < len(medium) <= how["window_samples"]:
            raise ValueError(
                f"expected a sound as float32 (1 to {how['window_samples']},), got {medium.dtype} {medium.shape}; cut it into windows"
            )
        whole = np.pad(medium, (0, max(0, heard(how["frames"]) - len(medium))))
        mel = kaldi_fbank(whole, how["sampling_rate"], how["bands"], how["frames"])
        mel = normalise(mel, how["mean"], how["std"])
        return {"mel_patches": mel_patches(mel, how["patch"], how["frequency_stride"], how["time_stride"])}

    def load(self, folder: Path) -> Module:
        """The model with a patch embedding that takes patches already cut, and with its head."""
        from torch.nn import Linear, Parameter

        model: Any = read_model(folder)
        convolution = model.embeddings.patch_embeddings.projection
        kernel = convolution.weight.flatten(1)  # (width, p * p)
        projection = Linear(kernel.shape[1], kernel.shape[0])
        projection.weight, projection.bias = Parameter(kernel), convolution.bias
        model.embeddings.patch_embeddings = projection
        if self.spec.pooling == "projection":
            model.add_module("head", _read_head(folder))
        frozen: Module = model.requires_grad_(False)
        return frozen

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The mean of class and distillation token, through the head if there is one."""
        pooled = unwrap(model(input_values=inputs["mel_patches"].to(model.dtype)))
        return model.head(pooled) if self.spec.pooling == "projection" else pooled

    def probe(self) -> Sequence[np.ndarray]:
        """A rising tone, noise, and a tone that stops halfway."""
        how = self.spec.preprocessing
        time = np.arange(how["window_samples"]) / how["sampling_rate"]
        rising = np.sin(2 * np.pi * (200 + 800 * time) * time)
        noise = np.random.default_rng(0).standard_normal(len(time)) / 4
        stopping = np.sin(2 * np.pi * 440 * time) * (np.arange(len(time)) < len(time) // 2)
        return [(sound / 2).astype(np.float32) for sound in (rising, noise, stopping)]


def heard(frames: int) -> int:
    """Samples that fill so many frames: of 400 samples each (25 ms at 16 kHz), one every 160."""
    return _FRAME + _HOP * (frames - 1)


def _preprocessing(folder: Path) -> dict[str, Any]:
    how = audio_preprocessing(folder)
    for name, key in (("bands", "num_mel_bins"), ("frames", "max_length")):
        if how[name] != setting(folder, key):
            raise EncoderError(
                f"{folder} prepares {how[name]} {name} for a model of {setting(folder, key)}; correct preprocessor_config.json"
            )
    strides = {name: setting(folder, name) for name in ("frequency_stride", "time_stride")}
    return {**how, "patch": setting(folder, "patch_size"), **strides}


def _head_shape(folder: Path) -> list[int]:
    from safetensors import safe_open

    if not (folder / HEAD).is_file():
        return []
    with safe_open(folder / HEAD, framework="numpy") as tensors:
        return list(tensors.get_slice("weight").get_shape())


def _read_head(folder: Path) -> Module:
    from safetensors.torch import load_file
    from torch.nn import Linear

    tensors = load_file(folder / HEAD)
    out, width = tensors["weight"].shape
    head = Linear(width, out, bias="bias" in tensors)
    head.load_state_dict(tensors)
    return head.float().requires_grad_(False)
