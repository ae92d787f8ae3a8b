"""Sounds through transformers that read samples as they are: wav2vec 2.0, HuBERT and WavLM, averaged over time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.audio import SoundEncoder, window_length
from encoders.errors import EncoderError
from encoders.feature_extractor import wav2vec2_preprocessing
from encoders.pooling import pool_tokens
from encoders.pretrained import read_model, setting
from encoders.spec import Spec
from encoders.weights import locate, origin, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

SECONDS = 10
AT_ONCE = 40 * 16000  # samples in one pass: the first convolution makes 400 bytes of each, several times over


class Wav2Vec2(SoundEncoder):
    """A wav2vec 2.0 checkpoint (Baevski, Zhou, Mohamed, Auli 2020), also one that was tuned to recognise speech.

    Checkpoints whose convolutions are normalised over time ("group") saw no padding with a mask in training, and padding would change their
    vectors: sounds of different lengths are encoded one after another. Those normalised frame by frame ("layer") take a mask.
    """

    family = "wav2vec2"
    masks = True  # whether the model's attention takes a mask
    probe_seconds = 2.0  # a whole window would cost more than it tells

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", window_samples: int = 0) -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        window_samples : length of the windows that long sounds are cut into; by default (0) as many as are 10 s. The model hears sounds of
            any length; its cost grows faster than that.
        """
        folder = locate(weights, revision)
        _check_family(folder, cls.family)
        how = wav2vec2_preprocessing(folder)
        length, hop = receptive_field(setting(folder, "conv_kernel"), setting(folder, "conv_stride"))
        seen = {"length": length, "hop": hop, "mask": cls.masks and setting(folder, "feat_extract_norm") == "layer"}
        return Spec(
            encoder=cls.family,
            modality=cls.modality,
            dimension=int(setting(folder, "hidden_size")),
            inputs="samples",
            preprocessing={**how, **seen, "window_samples": window_length(window_samples, SECONDS * how["sampling_rate"])},
            pooling="mean",
            **origin(folder, weights, revision, licence),
        )

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """Samples of mean zero and variance one, where the checkpoint wants them so.

        Parameters
        ----------
        medium : float32 (samples,) at the spec's "sampling_rate", at most "window_samples".

        Returns
        -------
        {"samples": float32 (n,)}; a sound shorter than the model's first frame (400 samples, 25 ms) is followed by silence up to that.
        """
        how = self.spec.preprocessing
        samples = self.window(medium)
        if how["normalise"]:
            samples = (samples - samples.mean()) / np.sqrt(samples.var() + np.float32(1e-7))
        return {"samples": np.pad(samples, (0, max(0, how["length"] - len(samples))))}

    def load(self, folder: Path) -> Module:
        """The model without the heads it may have been tuned with."""
        model: Module = read_model(folder, unused=("masked_spec_embed",))  # used in training only
        return model

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """The mean of the last layer's states over the frames of the sound."""
        import torch

        samples = inputs["samples"]
        lengths = inputs["lengths"].tolist() if "lengths" in inputs else [samples.shape[1]] * len(samples)
        pooled = torch.empty(len(samples), self.spec.dimension, device=samples.device)
        for rows in self._passes(lengths):
            pooled[rows] = self._pooled(model, samples[rows], [lengths[row] for row in rows])
        return pooled

    def _passes(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Rows that go through the model together; of one length, if there is to be no mask."""
        mask = self.spec.preprocessing["mask"]
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        for _, group in groupby(order, key=lambda row: 0 if mask else lengths[row]):
            rows = list(group)
            most = max(1, AT_ONCE // lengths[rows[-1]])
            yield from (rows[start : start + most] for start in range(0, len(rows), most))

    def _pooled(self, model: Any, samples: Tensor, lengths: list[int]) -> Tensor:
        import torch

        how = self.spec.preprocessing
        real = torch.tensor(lengths, device=samples.device).unsqueeze(1)  # (n, 1)
        samples = samples[:, : max(lengths)].to(next(model.parameters()).dtype)
        mask = (torch.arange(samples.shape[1], device=samples.device) < real).long() if min(lengths) < max(lengths) else None
        states = model(samples, attention_mask=mask).last_hidden_state  # (n, frames, width)
        frames = 1 + (real - how["length"]) // how["hop"]
        return pool_tokens(states, torch.arange(states.shape[1], device=states.device) < frames, "mean")


class Hubert(Wav2Vec2):
    """A HuBERT checkpoint (Hsu, Bolte, Tsai et al. 2021)."""

    family = "hubert"


class WavLm(Wav2Vec2):
    """A WavLM checkpoint (Chen, Wang, Chen et al. 2022).

    Its attention adds a bias to each pair of frames, beside which torch takes no mask but a deprecated one: there is no padding.
    """

    family = "wavlm"
    masks = False


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> tuple[int, int]:
    """Samples that one frame sees, and samples from one frame to the next: 400 and 320 for the usual seven convolutions."""
    length = 1 + sum((kernel - 1) * prod(strides[:layer]) for layer, kernel in enumerate(kernels))
    return length, prod(strides)


def _check_family(folder: Path, family: str) -> None:
    config = read_json(folder, "config.json")
    kind = config.get("model_type", "no named model")
    if kind != family:
        known = " or ".join(sorted({"hubert", "wav2vec2", "wavlm"} - {family}))
        raise EncoderError(f"{folder} holds {kind}, not {family}; the encoders {known} take others")
    if config.get("add_adapter"):
        raise EncoderError(f"{folder} has an adapter for a decoder after its last layer (add_adapter), which is not supported")
