"""Perception Encoder Audio-Visual: texts, sounds, videos and pictures in one space.

Vyas et al.: Pushing the Frontier of Audiovisual Perception with Large-Scale Multimodal Correspondence Learning, 2025 (arXiv 2512.19687).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from encoders.audio import SoundEncoder
from encoders.errors import EncoderError
from encoders.image import probes, scaled
from encoders.patches import prepared_square
from encoders.pe_av_parts import TEXT_HEADS, audio_part, text_part, video_part
from encoders.pretrained import Pretrained, setting
from encoders.processor import picture_parameters, read_settings
from encoders.spec import Modality, Spec
from encoders.text import TextEncoder
from encoders.tokenizer import text_preprocessing
from encoders.weights import locate, origin, read_json

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module

_VIDEO_DEFAULTS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "do_center_crop": False, "resample": 2, "square": True}


class PeAvText(TextEncoder):
    """The text tower of a PE-AV checkpoint: the class token of a ModernBERT, through one of three heads."""

    @classmethod
    def describe(
        cls, weights: str = "", revision: str = "", licence: str = "", matched: str = "audio-video", chunk: int = 0, overlap: int = -1
    ) -> Spec:
        """The spec of a checkpoint, from its configuration files; `chunk` and `overlap` as `tokenizer.chunking` says.

        Parameters
        ----------
        matched : what texts were matched with in training: "audio-video" (both at once), "audio" or "video". A space of sounds alone, or of
            videos alone, is asked best with its own.
        """
        if matched not in TEXT_HEADS:
            raise EncoderError(f"matched {matched!r} is unknown; use {', '.join(TEXT_HEADS)}")
        folder = _locate(weights, revision)
        return Spec(
            encoder="pe-av-text",
            modality=cls.modality,
            dimension=setting(folder, "text_config", "hidden_size"),
            inputs="tokens",
            preprocessing=text_preprocessing(folder, setting(folder, "text_config", "max_position_embeddings"), chunk, overlap),
            pooling=f"{matched} projection",
            **origin(folder, weights, revision, licence),
        )

    def load(self, folder: Path) -> Module:
        """Tower and head."""
        return text_part(folder, self.spec.pooling.removesuffix(" projection"))

    def features(self, model: Any, ids: Tensor, mask: Tensor) -> Tensor:
        """The class token's last state, projected."""
        states = model["tower"](input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states[-1]
        projected: Tensor = model["head"](states[:, 0])
        return projected


class PeAvAudio(SoundEncoder):
    """The sound tower of a PE-AV checkpoint: samples through a codec's encoder, then a transformer whose class token is projected."""

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "", seconds: float = 10.0) -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        seconds : length of the windows that long sounds are cut into, rounded to whole frames of the codec (40 ms at 48 kHz).
        """
        folder = _locate(weights, revision)
        how = read_settings(folder, "feature_extractor")
        rate, hop = how.get("sampling_rate", 48_000), how.get("hop_length", 1920)
        frames = round(seconds * rate / hop)
        if frames < 1 or how.get("feature_size", 1) != 1:
            raise EncoderError(
                f"{seconds} seconds of {how.get('feature_size', 1)} channels cannot be read; only mono, of at least {hop / rate} s"
            )
        return Spec(
            encoder="pe-av-audio",
            modality=cls.modality,
            dimension=setting(folder, "text_config", "hidden_size"),
            inputs="samples",
            preprocessing={"sampling_rate": rate, "window_samples": frames * hop, "hop": hop, "pad": "reflect"},
            pooling="projection",
            **origin(folder, weights, revision, licence),
        )

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """A sound mirrored at its end up to a whole frame of the codec, as PeAudioFeatureExtractor does.

        Parameters
        ----------
        medium : float32 (samples,) at the spec's "sampling_rate", at most "window_samples".

        Returns
        -------
        {"samples": float32 (length,)}; length is a multiple of "hop".
        """
        how = self.spec.preprocessing
        return {"samples": np.pad(self.window(medium), (0, -len(medium) % how["hop"]), "reflect")}

    def load(self, folder: Path) -> Module:
        """Tower and head."""
        return audio_part(folder)

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Projected class tokens; sounds of one length at a time, for padding would be heard through the codec's convolutions."""
        import torch

        samples = inputs["samples"].to(next(model.parameters()).dtype)
        lengths = inputs["lengths"].tolist() if "lengths" in inputs else [samples.shape[1]] * len(samples)
        pooled: list[Tensor] = [samples.new_empty(0)] * len(samples)
        for length in set(lengths):
            rows = [row for row, each in enumerate(lengths) if each == length]
            for row, vector in zip(rows, model["tower"](samples[rows, None, :length]).pooler_output, strict=True):
                pooled[row] = vector
        projected: Tensor = model["head"](torch.stack(pooled))
        return projected


class _Seen(Pretrained):
    """What clips and single pictures share: frames go in as uint8, the video tower looks at all of them."""

    def load(self, folder: Path) -> Module:
        """Tower and head."""
        return video_part(folder)

    def vectors(self, model: Any, inputs: dict[str, Tensor]) -> Tensor:
        """Projected class tokens of clips: uint8 (n, frames, crop, crop, 3)."""
        frames = inputs["frames"].permute(0, 1, 4, 2, 3)  # (n, frames, 3, crop, crop)
        pixels = scaled(frames, self.spec.preprocessing, model)
        projected: Tensor = model["head"](model["tower"](pixels).pooler_output)
        return projected

    def _frame(self, picture: np.ndarray) -> np.ndarray:
        return prepared_square(picture, self.spec.preprocessing)

    def _shapes(self) -> list[np.ndarray]:
        """A gradient, a chequerboard and noise."""
        return probes(self.spec.preprocessing["crop"])


class PeAvVideo(_Seen):
    """The video tower of a PE-AV checkpoint: Perception Encoder over each frame, a transformer over the frames, a projection."""

    modality: Modality = "video"

    @classmethod
    def describe(
        cls, weights: str = "", revision: str = "", licence: str = "", frames: int = 16, seconds: float = 10.0, edge: int = 0
    ) -> Spec:
        """The spec of a checkpoint, from its configuration files.

        Parameters
        ----------
        frames, seconds : a clip is so many frames, evenly spread over so many seconds. Checkpoints called "…-16-frame" were trained on 16.
        edge : shorter side to which frames are scaled as soon as they are decoded. At 0 they stay as they are, as the model's processor
            has them; 16 frames of 1920 x 1080 then take 100 MB.
        """
        if frames < 1 or seconds <= 0 or edge < 0:
            raise EncoderError(
                f"a clip of {frames} frames of {edge} pixels in {seconds} seconds cannot be; give at least one frame and some time"
            )
        folder = _locate(weights, revision)
        how = {**_frame_preprocessing(folder), "clip_frames": frames, "clip_seconds": seconds, "clip_edge": edge}
        return _seen_spec("pe-av-video", cls.modality, folder, weights, revision, licence, how)

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """Resize the frames of a clip.

        Parameters
        ----------
        medium : uint8 (clip_frames, height, width, 3), RGB.

        Returns
        -------
        {"frames": uint8 (clip_frames, crop, crop, 3)}
        """
        wanted = self.spec.preprocessing["clip_frames"]
        if medium.ndim != 4 or len(medium) != wanted:
            raise ValueError(f"expected a clip as uint8 ({wanted}, height, width, 3), got {medium.dtype} {medium.shape}")
        return {"frames": np.stack([self._frame(frame) for frame in medium])}

    def probe(self) -> Sequence[np.ndarray]:
        """Clips that stand still, and one that changes."""
        frames = self.spec.preprocessing["clip_frames"]
        shapes = self._shapes()
        return [np.stack([shape] * frames) for shape in shapes[:2]] + [np.stack([shapes[number % 3] for number in range(frames)])]


class PeAvImage(_Seen):
    """A picture through the video tower of a PE-AV checkpoint, as a video of one frame."""

    modality: Modality = "image"

    @classmethod
    def describe(cls, weights: str = "", revision: str = "", licence: str = "") -> Spec:
        """The spec of a checkpoint, from its configuration files."""
        folder = _locate(weights, revision)
        return _seen_spec("pe-av-image", cls.modality, folder, weights, revision, licence, _frame_preprocessing(folder))

    def prepare(self, medium: np.ndarray) -> dict[str, np.ndarray]:
        """Resize a picture: uint8 (height, width, 3) to {"frames": uint8 (1, crop, crop, 3)}."""
        return {"frames": self._frame(medium)[None]}

    def probe(self) -> Sequence[np.ndarray]:
        """A gradient, a chequerboard and noise."""
        return self._shapes()


def _locate(weights: str, revision: str) -> Path:
    folder = locate(weights, revision)
    kind = read_json(folder, "config.json").get("model_type")
    if kind != "pe_audio_video":
        raise EncoderError(f"{folder} holds {kind}, not a pe_audio_video")
    return folder


def _frame_preprocessing(folder: Path) -> dict[str, Any]:
    """Parameters between a frame and the picture tower's pixels, from the settings of PeVideoVideoProcessor."""
    given = read_json(folder, "video_preprocessor_config.json") or read_json(folder, "processor_config.json").get("video_processor", {})
    settings = {**_VIDEO_DEFAULTS, **{name: value for name, value in given.items() if value is not None}}
    lacking = [name for name in ("size", "image_mean", "image_std") if name not in settings]
    if lacking:
        raise EncoderError(
            f"{folder} does not say {', '.join(lacking)} of its frames; fetch or save the checkpoint with its video processor"
        )
    return picture_parameters(folder, settings)


def _seen_spec(encoder: str, modality: Modality, folder: Path, weights: str, revision: str, licence: str, how: dict[str, Any]) -> Spec:
    return Spec(
        encoder=encoder,
        modality=modality,
        dimension=setting(folder, "text_config", "hidden_size"),
        inputs="frames",
        preprocessing=how,
        pooling="projection",
        **origin(folder, weights, revision, licence),
    )
