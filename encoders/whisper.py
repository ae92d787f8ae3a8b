"""Sounds through the encoder of Whisper, averaged over time.

Radford, Kim, Xu et al.: Robust Speech Recognition via Large-Scale Weak Supervision, 2022.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.audio import SoundEncoder, window_length
from encoders.errors import EncoderError
from encoders.feature_extractor import whisper_preprocessing
from encoders.pooling import pool_tokens
from encoders.pretrained import read_model, setting
from encoders.spec import Spec
from encoders.spectrogram import log_mel_of
from encoders.weights import locate, origin, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

AT_ONCE = 8  # sounds in one pass: a layer holds some 30 MB for each, in the large model
_STRIDE = 2  # of the second convolution, in mel frames


class Whisper(SoundEncoder):
    """The encoder of a Whisper checkpoint; its decoder is not used."""

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", window_samples: int = 0) -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        window_samples : length of the windows that long sounds are cut into, at most and by default (0) what the model hears at once:
            480,000 are 30 s at 16 kHz. A shorter window costs as much as a whole one, for silence follows it.
        """
        folder = locate(weights, revision)
        how = _preprocessing(folder)
        longest = how["padded_samples"]
        return Spec(
            encoder="whisper",
            modality=cls.modality,
            dimension=int(setting(folder, "d_model")),
            inputs="mel",
            preprocessing={**how, "window_samples": window_length(window_samples, longest, longest)},
            pooling="mean",
            **origin(folder, weights, revision, licence),
        )

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """The mel spectrogram of a window, and how much of it the sound fills.

        Parameters
        ----------
        medium : float32 (samples,) at the spec's "sampling_rate", at most "window_samples"; silence follows it.

        Returns
        -------
        {"mel": float32 (frames, bands), "heard": int32 (1, 1)}; frames = padded_samples // hop, 3,000 for 30 s, and "heard" counts the
        frames after the model's convolutions (20 ms each) in which there is sound.
        """
        how = self.spec.preprocessing
        heard = -(-len(medium) // (_STRIDE * how["hop"]))
        return {"mel": self.mel(self.window(medium)), "heard": np.array([[heard]], np.int32)}

    def mel(self, medium: np.ndarray) -> np.ndarray:
        """The spectrogram that the model reads, float32 (frames, bands)."""
        how = self.spec.preprocessing
        mel: np.ndarray = log_mel_of(np.pad(medium, (0, how["padded_samples"] - len(medium))), how)[: how["padded_samples"] // how["hop"]]
        np.maximum(mel, mel.max() - np.float32(how["below_loudest"]), out=mel)
        mel += np.float32(how["shift"])
        mel /= np.float32(how["divide"])
        return mel

    def load(self, folder: Path) -> Module:
        """The encoder alone."""
        encoder: Module = read_model(folder, unused=("decoder.",)).get_encoder()
        return encoder

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The mean of the last layer's states over the frames in which there is sound."""
        import torch

        mel = inputs["mel"].to(next(model.parameters()).dtype).transpose(1, 2)  # (n, bands, frames)
        heard = inputs["heard"].flatten(1)  # (n, 1)
        pooled = []
        for start in range(0, len(mel), AT_ONCE):
            features, frames = mel[start : start + AT_ONCE], heard[start : start + AT_ONCE]
            states = model(features).last_hidden_state  # (n, frames / 2, width)
            pooled.append(pool_tokens(states, torch.arange(states.shape[1], device=states.device) < frames, "mean"))
        return torch.cat(pooled)


def _preprocessing(folder: Path) -> dict[str, Any]:
    kind = read_json(folder, "config.json").get("model_type", "no named model")
    if kind != "whisper":
        raise EncoderError(f"{folder} holds {kind}, not whisper")
    how = whisper_preprocessing(folder)
    bands, frames = setting(folder, "num_mel_bins"), _STRIDE * setting(folder, "max_source_positions")
    prepared = how["padded_samples"] // how["hop"]
    if (how["bands"], prepared) != (bands, frames):
        raise EncoderError(
            f"{folder} prepares {how['bands']} bands and {prepared} frames for a model of {bands} and {frames}; "
            "correct preprocessor_config.json"
        )
    return how
