"""Tiny checkpoints of the families that hear: made from configurations, with vectors that differ clearly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tiny_checkpoints import SMALL, WIDE, _byte_tokenizer

RATE = 16000
CLAP_SAMPLES = RATE
WHISPER_SAMPLES = RATE
CONVOLUTIONS = {"conv_dim": (16, 16, 16), "conv_kernel": (10, 3, 3), "conv_stride": (5, 2, 2), "num_feat_extract_layers": 3}
POSITIONS = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4}


def clap(folder: Path, *, fusion: bool = False, padding: str = "repeatpad") -> Path:
    """CLAP: windows of 1 s at 16 kHz, 16 bands; texts of 24 tokens; projected to 20 numbers."""
    torch.manual_seed(0)
    fused = {"enable_fusion": True} if fusion else {}
    hearing = {
        "num_mel_bins": 16, "spec_size": 64, "window_size": 4, "patch_embeds_hidden_size": 16, "hidden_size": 32, "depths": (1, 1),
        "num_attention_heads": (2, 4), "num_hidden_layers": 2, "initializer_factor": 4.0, **fused,
    }  # fmt: skip
    reading = {**SMALL, "initializer_factor": 8.0, "max_position_embeddings": 26, "vocab_size": 300, "pad_token_id": 1}
    model = hf.ClapModel(hf.ClapConfig(text_config=reading, audio_config=hearing, projection_dim=20)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "projection" in name or "relative_position_bias" in name:
                parameter.normal_(0, 0.5)
        _listen(model)
    model.save_pretrained(folder)
    truncation = "fusion" if fusion else "rand_trunc"
    hf.ClapFeatureExtractor(
        feature_size=16, sampling_rate=RATE, hop_length=100, max_length_s=1, fft_window_size=512, frequency_min=50, frequency_max=7000,
        truncation=truncation, padding=padding,
    ).save_pretrained(folder)  # fmt: skip
    return _byte_tokenizer(folder, context=24, pad=1)


def wav2vec2(folder: Path, *, norm: str = "group", normalise: bool = True) -> Path:
    """wav2vec 2.0: frames of 40 samples, one every 20; normalised over time ("group"), or frame by frame ("layer")."""
    return _waves(folder, hf.Wav2Vec2Model, hf.Wav2Vec2Config(**_speech(norm)), normalise)


def hubert(folder: Path, *, norm: str = "group", normalise: bool = True) -> Path:
    """HuBERT, as above."""
    return _waves(folder, hf.HubertModel, hf.HubertConfig(**_speech(norm)), normalise)


def wavlm(folder: Path, *, norm: str = "group", normalise: bool = True) -> Path:
    """WavLM, as above."""
    return _waves(folder, hf.WavLMModel, hf.WavLMConfig(**_speech(norm), num_buckets=32, max_bucket_distance=80), normalise)


def whisper(folder: Path, *, bands: int = 20) -> Path:
    """Whisper: windows of 1 s at 16 kHz, 100 mel frames."""
    torch.manual_seed(0)
    config = hf.WhisperConfig(
        num_mel_bins=bands, d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=48, decoder_ffn_dim=48, max_source_positions=50, max_target_positions=16, vocab_size=300, init_std=0.3,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    hf.WhisperModel(config).eval().save_pretrained(folder)
    hf.WhisperFeatureExtractor(feature_size=bands, chunk_length=1).save_pretrained(folder)
    return folder


TINY: dict[str, Callable[[Path], dict[str, Any]]] = {
    "clap-audio": lambda folder: {"weights": str(clap(folder))},
    "clap-text": lambda folder: {"weights": str(clap(folder))},
    "wav2vec2": lambda folder: {"weights": str(wav2vec2(folder, norm="layer")), "window_samples": 8000},
    "hubert": lambda folder: {"weights": str(hubert(folder)), "window_samples": 8000},
    "wavlm": lambda folder: {"weights": str(wavlm(folder)), "window_samples": 8000},
    "whisper": lambda folder: {"weights": str(whisper(folder))},
}


def _speech(norm: str) -> dict[str, Any]:
    kind = {"feat_extract_norm": norm, "do_stable_layer_norm": norm == "layer"}
    return {**SMALL, **WIDE, **CONVOLUTIONS, **POSITIONS, **kind, "vocab_size": 32}


def _waves(folder: Path, model: type[hf.PreTrainedModel], config: hf.PretrainedConfig, normalise: bool) -> Path:
    torch.manual_seed(0)
    made = model(config).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)  # zeros would give silence a vector of zeros
    made.save_pretrained(folder)
    hf.Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=config.feat_extract_norm == "layer").save_pretrained(folder)
    return folder


def _listen(model: hf.ClapModel) -> None:
    """Means and deviations of the bands as training leaves them: decibels brought to about one."""
    norm = model.audio_model.audio_encoder.batch_norm
    norm.running_mean.fill_(-20.0)
    norm.running_var.fill_(400.0)
