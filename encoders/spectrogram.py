"""From samples to spectra, mel bands and the patches of them that an audio transformer reads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Scale = Literal["kaldi", "htk", "slaney"]
Unit = Literal["ln", "log10", "dB"]

_MEL_FACTORS = {"htk": 2595.0 / np.log(10.0), "kaldi": 1127.0}

# Smallest energy before the logarithm in Kaldi: the step of float32 at 1.
KALDI_FLOOR = 1.192092955078125e-07

# Frames transformed at once: their arrays stay in the processor's second-level cache (2.5 times as fast as all frames of 10 s at once).
_BLOCK = 256


def hann(length: int, periodic: bool = True) -> np.ndarray:
    """Hann window, float64 (length,): periodic for spectra (librosa, scipy), symmetric as Kaldi has it."""
    return 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / max(length if periodic else length - 1, 1))


def stft(
    samples: np.ndarray, fft: int, hop: int, window: np.ndarray, center: bool = True, pad_mode: Literal["constant", "reflect"] = "constant"
) -> np.ndarray:
    """Short-time Fourier transform: the spectrum of each of a row of overlapping frames.

    Equal to the transpose of `librosa.stft(samples, n_fft=fft, hop_length=hop, window=window, center=center)`.

    Parameters
    ----------
    samples : real (n,).
    fft : length of a frame; 400 samples are 25 ms at 16 kHz. Two spectral lines are sampling_rate / fft Hz apart.
    hop : samples from one frame to the next.
    window : (length,), length <= fft; it stands in the middle of the frame.
    center : whether frame t has its middle at sample t * hop (the sound is padded by fft // 2 at both ends) or its beginning there.
    pad_mode : what is put at the ends: silence, as librosa does, or the mirrored sound, as Whisper and CLAP do (needs n > fft // 2).

    Returns
    -------
    complex64 (frames, fft // 2 + 1)
        frames = 1 + n // hop if center, for an even fft; 1 + (n - fft) // hop otherwise.
    """
    if samples.ndim != 1 or fft < 1 or hop < 1 or not 1 <= len(window) <= fft:
        raise ValueError(f"needs samples (n,), fft >= len(window) >= 1 and hop >= 1, not {samples.shape}, {fft}, {len(window)} and {hop}")
    if center:
        samples = np.pad(samples, fft // 2, mode=pad_mode)
    if len(samples) < fft:
        raise ValueError(f"{len(samples)} samples are less than one frame of {fft}; pad the sound with silence, or use center=True")
    before = (fft - len(window)) // 2
    shaped = np.pad(np.asarray(window, np.float64), (before, fft - len(window) - before))
    frames = sliding_window_view(samples, fft)[::hop]
    spectra = np.empty((len(frames), fft // 2 + 1), np.complex64)
    for start in range(0, len(frames), _BLOCK):
        spectra[start : start + _BLOCK] = np.fft.rfft(frames[start : start + _BLOCK] * shaped)
    return spectra


def hz_to_mel(hertz: np.ndarray, scale: Scale) -> np.ndarray:
    """Frequency to mel.

    "htk" is 2595 log10(1 + f / 700); "kaldi" the same with 1127 ln; "slaney" (Auditory Toolbox, librosa's default) is linear
    below 1 kHz and logarithmic above.
    """
    hertz = np.asarray(hertz, np.float64)
    if scale == "slaney":
        return np.where(hertz < 1000.0, hertz * 3.0 / 200.0, 15.0 + np.log(np.maximum(hertz, 1000.0) / 1000.0) * 27.0 / np.log(6.4))
    mel: np.ndarray = _MEL_FACTORS[scale] * np.log(1.0 + hertz / 700.0)
    return mel


def mel_to_hz(mel: np.ndarray, scale: Scale) -> np.ndarray:
    """The inverse of `hz_to_mel`."""
    mel = np.asarray(mel, np.float64)
    if scale == "slaney":
        return np.where(mel < 15.0, mel * 200.0 / 3.0, 1000.0 * np.exp((np.maximum(mel, 15.0) - 15.0) * np.log(6.4) / 27.0))
    hertz: np.ndarray = 700.0 * (np.exp(mel / _MEL_FACTORS[scale]) - 1.0)
    return hertz


@lru_cache(maxsize=32)
def mel_filters(
    bands: int, fft: int, sampling_rate: int, low: float, high: float, scale: Scale, norm: Literal["slaney"] | None = None
) -> np.ndarray:
    """Triangular filters that sum a power spectrum into mel bands.

    Equal to the transpose of `librosa.filters.mel` for "htk" and "slaney"; for "kaldi" to torchaudio's and Kaldi's, whose
    triangles are straight in mel rather than in hertz.

    Parameters
    ----------
    bands : number of filters. Where they are narrower than a spectral line, some stay empty.
    fft : length of the frames that were transformed.
    sampling_rate : in Hz.
    low, high : where the first filter begins and the last ends, in Hz; high <= sampling_rate / 2.
    scale : see `hz_to_mel`.
    norm : "slaney" gives every filter the same area, None the same height of 1.

    Returns
    -------
    float64 (fft // 2 + 1, bands), read-only: it is kept for the next call.
    """
    if bands < 1 or not 0 <= low < high <= sampling_rate / 2:
        raise ValueError(f"needs bands >= 1 and 0 <= low < high <= {sampling_rate / 2:g}, not {bands} bands from {low} to {high}")
    edges = np.linspace(hz_to_mel(np.array(low), scale), hz_to_mel(np.array(high), scale), bands + 2)
    lines = np.arange(fft // 2 + 1) * (sampling_rate / fft)
    hertz = mel_to_hz(edges, scale)
    if scale == "kaldi":
        lines = hz_to_mel(lines, scale)
    else:
        edges = hertz
    rising = (lines[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - lines[:, None]) / (edges[2:] - edges[1:-1])
    filters: np.ndarray = np.maximum(0.0, np.minimum(rising, falling))
    if norm == "slaney":
        filters *= 2.0 / (hertz[2:] - hertz[:-2])
    filters.setflags(write=False)
    return filters


def log_mel(
    samples: np.ndarray,
    filters: np.ndarray,
    hop: int,
    window: np.ndarray,
    center: bool = True,
    pad_mode: Literal["constant", "reflect"] = "constant",
    floor: float = 1e-10,
    unit: Unit = "ln",
) -> np.ndarray:
    """Logarithm of the energy in mel bands over time.

    Parameters
    ----------
    samples : real (n,).
    filters : (fft // 2 + 1, bands), from `mel_filters`, with an even fft.
    hop, window, center, pad_mode : see `stft`.
    floor : smallest energy; 1e-10 is 100 dB below full scale.
    unit : natural logarithm, decimal logarithm, or decibel (ten times the decimal one).

    Returns
    -------
    float32 (frames, bands)
    """
    spectra = stft(samples, 2 * (len(filters) - 1), hop, window, center, pad_mode)
    factor = {"ln": 1.0, "log10": 1.0 / np.log(10.0), "dB": 10.0 / np.log(10.0)}[unit]
    return _log_energy(spectra, filters, floor) * np.float32(factor)


def log_mel_of(samples: np.ndarray, how: Mapping[str, Any]) -> np.ndarray:
    """`log_mel` by the parameters of a spec.

    Parameters
    ----------
    samples : real (n,), at how["sampling_rate"].
    how : {"fft", "hop", "window": "hann" (as long as a frame), "center", "pad_mode", "bands", "sampling_rate", "low", "high", "scale",
        "norm", "floor", "unit"}, as `stft`, `mel_filters` and `log_mel` explain them.

    Returns
    -------
    float32 (frames, bands)
    """
    if how["window"] != "hann":
        raise ValueError(f"window {how['window']!r} is unknown; only hann is known")
    filters = mel_filters(how["bands"], how["fft"], how["sampling_rate"], how["low"], how["high"], how["scale"], how["norm"])
    return log_mel(samples, filters, how["hop"], hann(how["fft"]), how["center"], how["pad_mode"], how["floor"], how["unit"])


def band_centres(bands: int, low: float, high: float, scale: Scale) -> np.ndarray:
    """Frequency at which each mel band has its peak, in Hz, float64 (bands,)."""
    edges = np.linspace(hz_to_mel(np.array(low), scale), hz_to_mel(np.array(high), scale), bands + 2)
    return mel_to_hz(edges[1:-1], scale)


def kaldi_fbank(  # noqa: PLR0913, PLR0917 - as many as Kaldi's own command has of them
    samples: np.ndarray,
    sampling_rate: int = 16000,
    bands: int = 128,
    frames: int | None = 1024,
    length: int = 400,
    hop: int = 160,
    low: float = 20.0,
    high: float | None = None,
    preemphasis: float = 0.97,
    floor: float = KALDI_FLOOR,
) -> np.ndarray:
    """Kaldi's filter bank features as the Audio Spectrogram Transformer reads them.

    Each frame has its mean removed, is pre-emphasised and shaped by a symmetric Hann window, then transformed to the next
    power of two; natural logarithm of the energy in mel bands. Equal to
    `ASTFeatureExtractor` of transformers without its normalisation. Kaldi, `feat/feature-fbank.cc`; Gong, Chung and Glass 2021,
    section 2.1.

    Parameters
    ----------
    samples : float (n,), full scale is -1 to 1.
    sampling_rate : in Hz.
    bands : number of mel bands.
    frames : the result is cut, or filled with zeros, to this many; None keeps 1 + (n - length) // hop. 1,024 frames are 10.26 s.
    length, hop : of a frame and between frames, in samples: 25 ms and 10 ms at 16 kHz. The model extractor keeps the counts at
    other rates.
    low, high : where the first mel band begins and the last ends, in Hz; by default the last ends at half the sampling rate.
    preemphasis : share of the sample before that is taken from each.
    floor : smallest energy before the logarithm.

    Returns
    -------
    float32 (frames, bands)
    """
    if samples.ndim != 1:
        raise ValueError(f"samples are (n,), one channel, not {samples.shape}")
    count = max(0, 1 + (len(samples) - length) // hop)
    wanted = count if frames is None else frames
    mel = np.zeros((wanted, bands), np.float32)
    fft = 1 << (length - 1).bit_length()
    filters = mel_filters(bands, fft, sampling_rate, low, float(sampling_rate // 2) if high is None else high, "kaldi")
    for start in range(0, min(count, wanted), _BLOCK):
        stop = min(start + _BLOCK, count, wanted)
        cut = sliding_window_view(samples[start * hop : (stop - 1) * hop + length], length)[::hop]
        mel[start:stop] = _log_energy(np.fft.rfft(_emphasised(cut, preemphasis), fft), filters, floor)
    return mel


def normalise(mel: np.ndarray, mean: float, std: float) -> np.ndarray:
    """(mel - mean) / (2 std), float32: what the Audio Spectrogram Transformer was trained on (AudioSet: -4.2677393 and 4.5689974)."""
    return ((mel - mean) / (2.0 * std)).astype(np.float32, copy=False)


def mel_patches(mel: np.ndarray, size: int, frequency_stride: int, time_stride: int) -> np.ndarray:
    """Cut a spectrogram into square patches, each flattened: what a patch embedding multiplies with its weights.

    Patches come in the order of the Audio Spectrogram Transformer's convolution: all times of the lowest bands, then all times of
    the next; inside a patch bands are rows and times are columns. For its weights (out, 1, size, size) the embedding is `patches
    @ weights.reshape(out, -1).T + bias`.

    Parameters
    ----------
    mel : (frames, bands).
    size : side of a patch, in bands and frames.
    frequency_stride, time_stride : from one patch to the next, in bands and frames; less than `size` overlaps them.

    Returns
    -------
    float32 (n, size * size)
        n = (1 + (bands - size) // frequency_stride) * (1 + (frames - size) // time_stride)
    """
    if mel.ndim != 2 or min(mel.shape) < size or min(size, frequency_stride, time_stride) < 1:
        raise ValueError(f"a spectrogram {mel.shape} holds no patch of {size} with strides {frequency_stride} and {time_stride}")
    grid = sliding_window_view(mel.T, (size, size))[::frequency_stride, ::time_stride]  # (rows, columns, size, size)
    return np.ascontiguousarray(grid, np.float32).reshape(-1, size * size)


def _emphasised(frames: np.ndarray, share: float) -> np.ndarray:
    """Frames (count, length) without their mean, pre-emphasised and windowed as Kaldi does it, float64."""
    centred = frames - frames.mean(axis=1, dtype=np.float64, keepdims=True)
    result: np.ndarray = centred - share * np.concatenate([centred[:, :1], centred[:, :-1]], axis=1)
    result *= hann(frames.shape[1], periodic=False)
    return result


def _log_energy(spectra: np.ndarray, filters: np.ndarray, floor: float) -> np.ndarray:
    """Natural logarithm of the energy in each band, float32: sums of positive numbers keep their precision in float32."""
    power = np.square(spectra.real, dtype=np.float32) + np.square(spectra.imag, dtype=np.float32)
    energy: np.ndarray = np.maximum(power @ filters.astype(np.float32), np.float32(floor))
    return np.log(energy, out=energy)  # type: ignore[no-any-return]
