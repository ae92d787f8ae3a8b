"""A checkpoint's feature extractor (transformers' term for what prepares sounds) as plain parameters; what is not known is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from encoders.errors import EncoderError
from encoders.processor import read_settings
from encoders.spectrogram import KALDI_FLOOR

_AST = {
    "sampling_rate": 16000,
    "num_mel_bins": 128,
    "max_length": 1024,
    "do_normalize": True,
    "mean": -4.2677393,
    "std": 4.5689974,
}
_CLAP = {
    "feature_size": 64,
    "sampling_rate": 48000,
    "hop_length": 480,
    "max_length_s": 10,
    "fft_window_size": 1024,
    "frequency_min": 0,
    "frequency_max": 14000,
    "truncation": "fusion",
    "padding": "repeatpad",
}
_WHISPER = {"feature_size": 80, "sampling_rate": 16000, "hop_length": 160, "chunk_length": 30, "n_fft": 400, "dither": 0.0}
_WAV2VEC2 = {"sampling_rate": 16000, "do_normalize": True, "feature_size": 1, "padding_value": 0.0}

CLAP_PADDINGS = ("repeatpad", "repeat", "pad")


def ast_preprocessing(folder: Path) -> dict[str, Any]:
    """Parameters between a sound and the mel spectrogram that an AST reads.

    Returns
    -------
    {"sampling_rate", "length", "hop", "preemphasis", "bands", "low", "high", "scale", "floor", "unit", "frames", "mean", "std"}: those
    of `spectrogram.kaldi_fbank`, and then (mel - mean) / (2 * std).

    Raises
    ------
    EncoderError : the settings are missing or not those of ASTFeatureExtractor.
    """
    settings = _settings(folder, "ASTFeatureExtractor", _AST)
    rate = settings["sampling_rate"]
    return {
        "sampling_rate": rate,
        "length": 400,  # 25 ms and 10 ms at 16 kHz, as in Kaldi; the extractor keeps these counts at other rates
        "hop": 160,
        "preemphasis": 0.97,
        "bands": settings["num_mel_bins"],
        "low": 20.0,
        "high": float(rate // 2),
        "scale": "kaldi",
        "floor": KALDI_FLOOR,
        "unit": "ln",
        "frames": settings["max_length"],
        "mean": settings["mean"] if settings["do_normalize"] else 0.0,
        "std": settings["std"] if settings["do_normalize"] else 0.5,
    }


def clap_preprocessing(folder: Path) -> dict[str, Any]:
    """Parameters between a sound and the mel spectrogram that CLAP reads.

    Checkpoints without fusion ("rand_trunc") were trained on librosa's mel filters, those with fusion on torchaudio's.

    Returns
    -------
    {"sampling_rate", "hop", "fft", "center", "pad_mode", "bands", "low", "high", "scale", "norm", "floor", "unit"}, those of
    `spectrogram.log_mel_of`, and {"padded_samples": what the model hears at once, "padding": how shorter sounds are filled up to it,
    "fusion": whether the model has a branch for sounds that are longer (`clap.ClapAudio` never uses it)}.

    Raises
    ------
    EncoderError : the settings are missing or not those of ClapFeatureExtractor.
    """
    settings = _settings(folder, "ClapFeatureExtractor", _CLAP)
    if settings["truncation"] not in ("fusion", "rand_trunc") or settings["padding"] not in CLAP_PADDINGS:
        raise EncoderError(
            f"{folder} has truncation {settings['truncation']!r} and padding {settings['padding']!r}; "
            f"known are fusion and rand_trunc, {', '.join(CLAP_PADDINGS)}"
        )
    fusion = settings["truncation"] == "fusion"
    return {
        **_centred(settings["sampling_rate"], settings["hop_length"], settings["fft_window_size"]),
        "bands": settings["feature_size"],
        "low": float(settings["frequency_min"]),
        "high": float(settings["frequency_max"]),
        "scale": "htk" if fusion else "slaney",
        "norm": None if fusion else "slaney",
        "unit": "dB",
        "padded_samples": int(settings["max_length_s"] * settings["sampling_rate"]),
        "padding": settings["padding"],
        "fusion": fusion,
    }


def whisper_preprocessing(folder: Path) -> dict[str, Any]:
    """Parameters between a sound and the mel spectrogram that Whisper reads.

    Returns
    -------
    {"sampling_rate", "hop", "fft", "center", "pad_mode", "bands", "low", "high", "scale", "norm", "floor", "unit"}, those of
    `spectrogram.log_mel_of`, and {"padded_samples": what the model hears at once, "below_loudest": decades that are kept below the loudest
    band, "shift", "divide": (mel + shift) / divide is the model's input}.

    Raises
    ------
    EncoderError : the settings are missing or not those of WhisperFeatureExtractor, or want random noise to be added.
    """
    settings = _settings(folder, "WhisperFeatureExtractor", _WHISPER)
    if settings["dither"]:
        raise EncoderError(f"{folder} adds random noise to sounds (dither {settings['dither']}); set it to 0 in preprocessor_config.json")
    return {
        **_centred(settings["sampling_rate"], settings["hop_length"], settings["n_fft"]),
        "bands": settings["feature_size"],
        "low": 0.0,
        "high": 8000.0,
        "scale": "slaney",
        "norm": "slaney",
        "unit": "log10",
        "padded_samples": int(settings["chunk_length"] * settings["sampling_rate"]),
        "below_loudest": 8.0,
        "shift": 4.0,
        "divide": 4.0,
    }


def wav2vec2_preprocessing(folder: Path) -> dict[str, Any]:
    """Parameters between a sound and the samples that wav2vec 2.0 and its heirs read.

    Returns
    -------
    {"sampling_rate", "normalise": whether each sound is brought to mean zero and variance one}

    Raises
    ------
    EncoderError : the settings are missing or not those of Wav2Vec2FeatureExtractor.
    """
    settings = _settings(folder, "Wav2Vec2FeatureExtractor", _WAV2VEC2)
    if settings["feature_size"] != 1 or settings["padding_value"] != 0:
        raise EncoderError(
            f"{folder} wants {settings['feature_size']} numbers a sample and pads with {settings['padding_value']}; "
            "only 1 and 0 are supported"
        )
    return {"sampling_rate": settings["sampling_rate"], "normalise": settings["do_normalize"]}


def _settings(folder: Path, kind: str, defaults: dict[str, Any]) -> dict[str, Any]:
    """Those of a family's own extractor, which a file need not name."""
    given = read_settings(folder, "feature_extractor")
    named = given.get("feature_extractor_type", kind)
    if named != kind:
        raise EncoderError(f"{folder} preprocesses with {named}; only {kind} is known here")
    return {**defaults, **given}


def _centred(sampling_rate: int, hop: int, fft: int) -> dict[str, Any]:
    """What the extractors of CLAP and Whisper have in common: Hann windows as long as the frame, and mirrored ends."""
    return {
        "sampling_rate": sampling_rate,
        "hop": hop,
        "fft": fft,
        "window": "hann",
        "center": True,
        "pad_mode": "reflect",
        "floor": 1e-10,
    }
