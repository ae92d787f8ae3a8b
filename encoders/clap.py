"""Sounds and texts through the two halves of a CLAP checkpoint, projected into one space.

Wu, Chen, Zhang et al.: Large-Scale Contrastive Language-Audio Pretraining with Feature Fusion and Keyword-to-Caption Augmentation,
ICASSP 2023.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from encoders.audio import SoundEncoder, window_length
from encoders.errors import EncoderError
from encoders.feature_extractor import clap_preprocessing
from encoders.pooling import unwrap
from encoders.pretrained import read_model, setting
from encoders.spec import Spec
from encoders.spectrogram import log_mel_of
from encoders.text import TextEncoder
from encoders.tokenizer import text_preprocessing
from encoders.weights import locate, origin, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

AT_ONCE = 16  # sounds in one pass: the first stage of HTSAT holds some 30 MB for each


class ClapAudio(SoundEncoder):
    """The sound half of a CLAP checkpoint.

    A sound is cut into windows before it gets here, and no part of it is ever left out at random, as the checkpoint's own extractor does
    with longer ones. A shorter sound is repeated and then followed by silence, as in training. Checkpoints with fusion have a second
    branch for sounds that are longer than a window; windows never take it.
    """

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", window_samples: int = 0) -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        window_samples : length of the windows that long sounds are cut into, at most and by default (0) what the model hears at once:
            480,000 are 10 s at 48 kHz.
        """
        folder = locate(weights, revision)
        _check_clap(folder)
        how = _preprocessing(folder)
        longest = how["padded_samples"]
        return Spec(
            encoder="clap-audio",
            modality=cls.modality,
            dimension=int(setting(folder, "projection_dim")),
            inputs="mel",
            preprocessing={**how, "window_samples": window_length(window_samples, longest, longest)},
            pooling="projection",
            **origin(folder, weights, revision, licence),
        )

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """The mel spectrogram of a window.

        Parameters
        ----------
        medium : float32 (samples,) at the spec's "sampling_rate", at most "window_samples".

        Returns
        -------
        {"mel": float32 (frames, bands)} in decibel; frames = 1 + padded_samples // hop, 1,001 for 10 s.
        """
        return {"mel": self.mel(self.window(medium))}

    def mel(self, medium: np.ndarray) -> np.ndarray:
        """The spectrogram that the model reads, float32 (frames, bands)."""
        how = self.spec.preprocessing
        return log_mel_of(filled(medium, how["padded_samples"], how["padding"]), how)

    def load(self, folder: Path) -> Module:
        """The model without its text half."""
        half: Module = _read_half(folder, "audio")
        return half

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Projected features."""
        import torch

        channels = 4 if self.spec.preprocessing["fusion"] else 1
        mel = inputs["mel"].to(next(model.parameters()).dtype)
        features = mel.unsqueeze(1).expand(-1, channels, -1, -1)  # (n, channels, frames, bands)
        longer = torch.zeros(AT_ONCE, 1, dtype=torch.bool, device=features.device)
        parts = (features[start : start + AT_ONCE] for start in range(0, len(features), AT_ONCE))
        return torch.cat([unwrap(model.get_audio_features(input_features=part, is_longer=longer[: len(part)])) for part in parts])


class ClapText(TextEncoder):
    """The text half of a CLAP checkpoint."""

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", chunk: int = 0, overlap: int = -1) -> Spec:
        """The spec of a checkpoint, from its configuration files; `chunk` and `overlap` as `tokenizer.chunking` says."""
        folder = locate(weights, revision)
        _check_clap(folder)
        # A RoBERTa, whose positions are numbered from the padding token's id on.
        longest = int(setting(folder, "text_config", "max_position_embeddings")) - int(setting(folder, "text_config", "pad_token_id")) - 1
        return Spec(
            encoder="clap-text",
            modality=cls.modality,
            dimension=int(setting(folder, "projection_dim")),
            inputs="tokens",
            preprocessing=text_preprocessing(folder, longest, chunk, overlap),
            pooling="projection",
            **origin(folder, weights, revision, licence),
        )

    def load(self, folder: Path) -> Module:
        """The model without its sound half."""
        half: Module = _read_half(folder, "text")
        return half

    def features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """Projected features."""
        return unwrap(model.get_text_features(input_ids=ids, attention_mask=mask.long()))


def filled(samples: np.ndarray, length: int, padding: str) -> np.ndarray:
    """A sound brought to a length.

    Parameters
    ----------
    samples : (n,), n <= length.
    padding : "repeatpad" repeats it as often as it fits whole, and silence follows; "repeat" repeats it and cuts the last one; "pad" is
        silence alone.
    """
    if padding == "repeat":
        return np.tile(samples, -(-length // len(samples)))[:length]
    whole = np.tile(samples, length // len(samples)) if padding == "repeatpad" else samples
    return np.pad(whole, (0, length - len(whole)))


def _check_clap(folder: Path) -> None:
    kind = read_json(folder, "config.json").get("model_type", "no named model")
    if kind != "clap":
        raise EncoderError(f"{folder} holds {kind}, not clap; for sounds alone use the encoders ast, hubert, wav2vec2, wavlm or whisper")


def _preprocessing(folder: Path) -> dict[str, Any]:
    how = clap_preprocessing(folder)
    fusion, bands = setting(folder, "audio_config", "enable_fusion"), setting(folder, "audio_config", "num_mel_bins")
    if (how["fusion"], how["bands"]) != (fusion, bands):
        raise EncoderError(
            f"{folder} prepares {how['bands']} bands {'with' if how['fusion'] else 'without'} fusion for a model of {bands} "
            f"{'with' if fusion else 'without'}; correct preprocessor_config.json"
        )
    return how


def _read_half(folder: Path, half: Literal["audio", "text"]) -> Any:
    """The model without its other half, which would take memory for nothing."""
    model = read_model(folder)
    other = "text" if half == "audio" else "audio"
    for name in (f"{other}_model", f"{other}_projection"):
        delattr(model, name)
    return model
