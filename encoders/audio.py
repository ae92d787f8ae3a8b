"""What all encoders of sounds share, and the Audio Spectrogram Transformer, which reads a mel spectrogram as a picture of patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.errors import EncoderError
from encoders.feature_extractor import ast_preprocessing
from encoders.pooling import unwrap
from encoders.pretrained import Pretrained, read_model, setting
from encoders.spec import Modality, Spec
from encoders.spectrogram import kaldi_fbank, mel_patches, normalise
from encoders.weights import locate, origin, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

HEAD = "audio_head.safetensors"


class SoundEncoder(Pretrained):
    """What all encoders of sounds share: a window of samples goes in, at most as long as the spec says."""

    modality: Modality = "audio"
    probe_seconds = 30.0  # longest sound on which another dtype or device is compared

    def window(self, medium: np.ndarray) -> np.ndarray:
        """The sound as it came.

        Raises
        ------
        ValueError : it is not float32 (samples,), empty, or longer than the spec's "window_samples".
        """
        most = self.spec.preprocessing["window_samples"]
        if medium.dtype != np.float32 or medium.ndim != 1 or not 0 < len(medium) <= most:
            raise ValueError(f"expected a sound as float32 (1 to {most},), got {medium.dtype} {medium.shape}; cut it into windows")
        return medium

    def probe(self) -> Sequence[np.ndarray]:
        """A rising tone, noise, and a tone that stops halfway."""
        how = self.spec.preprocessing
        time = np.arange(min(how["window_samples"], int(self.probe_seconds * how["sampling_rate"]))) / how["sampling_rate"]
        rising = np.sin(2 * np.pi * (200 + 800 * time) * time)
        noise = np.random.default_rng(0).standard_normal(len(time)) / 4
        stopping = np.sin(2 * np.pi * 440 * time) * (np.arange(len(time)) < len(time) // 2)
        return [(sound / 2).astype(np.float32) for sound in (rising, noise, stopping)]


class Ast(SoundEncoder):
    """An AST checkpoint (Gong, Chung, Glass: AST: Audio Spectrogram Transformer, Interspeech 2021), with a linear head if there is one.

    A head stands beside the checkpoint in audio_head.safetensors: "weight" (dimension, width) and perhaps "bias" (dimension,).
    """

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", window_samples: int = 0) -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        window_samples : length of the windows that long sounds are cut into; by default (0) as many as fill the model's frames. The model
            hears nothing of what a window has beyond that, and silence where it is shorter.
        """
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
            preprocessing={**how, "window_samples": window_length(window_samples, heard(how))},
            pooling="projection" if head else "pooler",
            **origin(folder, weights, revision, licence),
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
        mel = self.mel(self.window(medium))
        return {"mel_patches": mel_patches(mel, how["patch"], how["frequency_stride"], how["time_stride"])}

    def mel(self, medium: np.ndarray) -> np.ndarray:
        """The spectrogram that is cut into patches: normalised, float32 (frames, bands)."""
        how = self.spec.preprocessing
        whole = np.pad(medium, (0, max(0, heard(how) - len(medium))))
        names = ("sampling_rate", "bands", "frames", "length", "hop", "low", "high", "preemphasis", "floor")
        return normalise(kaldi_fbank(whole, **{name: how[name] for name in names}), how["mean"], how["std"])

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


def heard(how: Mapping[str, Any]) -> int:
    """Samples that fill a spec's "frames": of "length" samples each, one every "hop"."""
    return int(how["length"] + how["hop"] * (how["frames"] - 1))


def window_length(asked: int, own: int, longest: int = 0) -> int:
    """Samples of the windows that long sounds are cut into: as asked, or (0) the model's own length.

    Raises
    ------
    EncoderError : the number asked for is no length, or more than the longest (0: any) that the model hears.
    """
    if asked < 0 or (longest and asked > longest):
        allowed = f"1 to {longest}" if longest else "1 or more"
        raise EncoderError(f"window_samples {asked} is no length of a window; give {allowed}, or 0 for the model's own {own}")
    return asked or own


def _preprocessing(folder: Path) -> dict[str, Any]:
    how = ast_preprocessing(folder)
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
