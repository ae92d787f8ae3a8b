"""Spectra, mel bands and their patches equal those of librosa, transformers and a transform written out as a sum."""

from __future__ import annotations

import time
import warnings

import librosa
import numpy as np
import pytest
import torch
from nasty_media import sweep
from transformers import ASTConfig, ASTFeatureExtractor, ASTModel
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

from encoders.spectrogram import (
    band_centres,
    hann,
    hz_to_mel,
    kaldi_fbank,
    log_mel,
    log_mel_of,
    mel_filters,
    mel_patches,
    mel_to_hz,
    normalise,
    stft,
)


def sound(samples: int, rate: int = 16000) -> np.ndarray:
    """A rising tone in noise, float32 (samples,)."""
    return (sweep(samples / rate, rate)[:samples] + np.random.default_rng(samples).normal(0, 0.05, samples)).astype(np.float32)


def extractor(bands: int, frames: int, **options: object) -> ASTFeatureExtractor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some of 128 filters are empty
        return ASTFeatureExtractor(num_mel_bins=bands, max_length=frames, **options)


@pytest.mark.parametrize(("fft", "hop", "length"), [(512, 160, 400), (400, 160, 400), (2048, 512, 2048), (63, 10, 40), (255, 100, 255)])
@pytest.mark.parametrize("samples", [1, 399, 4567, 16000])
def test_stft_equals_librosa(fft, hop, length, samples):
    y, window = sound(samples), hann(length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a sound is shorter than a frame
        expected = librosa.stft(y, n_fft=fft, hop_length=hop, win_length=length, window=window, center=True).T
    found = stft(y, fft, hop, window)
    assert found.dtype == np.complex64
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if samples >= fft:
        expected = librosa.stft(y, n_fft=fft, hop_length=hop, win_length=length, window=window, center=False).T
        np.testing.assert_allclose(stft(y, fft, hop, window, center=False), expected, atol=1e-4)


def test_stft_mirrors_the_ends_as_librosa_does():
    y, window = sound(5001), hann(400)
    expected = librosa.stft(y, n_fft=512, hop_length=160, win_length=400, window=window, pad_mode="reflect").T
    np.testing.assert_allclose(stft(y, 512, 160, window, pad_mode="reflect"), expected, atol=1e-4)


def test_stft_is_a_sum_of_cosines_and_sines():
    y, window, fft, hop = sound(200), hann(24), 32, 7
    frames = []
    for start in range(0, 200 - fft + 1, hop):
        framed = y[start : start + fft].astype(float)
        framed = framed * np.concatenate([np.zeros(4), window, np.zeros(4)])
        frames.append([sum(framed[n] * np.exp(-2j * np.pi * k * n / fft) for n in range(fft)) for k in range(fft // 2 + 1)])
    np.testing.assert_allclose(stft(y, fft, hop, window, center=False), frames, atol=1e-5)


def test_long_sounds_are_transformed_in_parts_that_do_not_show():
    y, window = sound(160_000), hann(400)
    whole = stft(y, 400, 160, window, center=False)
    for frame in (0, 255, 256, 257, 511, 512, len(whole) - 1):
        np.testing.assert_allclose(whole[frame], np.fft.rfft(y[frame * 160 : frame * 160 + 400] * window), atol=1e-4)


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("length", [1, 2, 25, 400])
def test_the_window_of_hann_equals_scipy(length, periodic):
    from scipy.signal.windows import hann as reference

    np.testing.assert_allclose(hann(length, periodic), reference(length, sym=not periodic) if length > 1 else hann(1), atol=1e-12)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000])
@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize(("bands", "fft", "low"), [(40, 512, 0.0), (64, 1024, 50.0), (80, 400, 20.0), (128, 2048, 133.3)])
def test_mel_filters_equal_librosa(rate, scale, norm, bands, fft, low):
    high = 0.45 * rate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = librosa.filters.mel(
            sr=rate, n_fft=fft, n_mels=bands, fmin=low, fmax=high, htk=scale == "htk", norm=norm, dtype=np.float64
        )
    np.testing.assert_allclose(mel_filters(bands, fft, rate, low, high, scale, norm), expected.T, atol=1e-9)


@pytest.mark.parametrize("bands", [23, 64, 80])
@pytest.mark.parametrize("rate", [8000, 16000])
def test_kaldi_filters_equal_transformers(bands, rate):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = mel_filter_bank(257, bands, 20.0, rate / 2, rate, mel_scale="kaldi", triangularize_in_mel_space=True)
    np.testing.assert_allclose(mel_filters(bands, 512, rate, 20.0, rate / 2, "kaldi"), expected, atol=1e-9)


@pytest.mark.parametrize("scale", ["kaldi", "htk", "slaney"])
def test_mel_and_hertz_are_inverse(scale):
    hertz = np.array([0.0, 20.0, 440.0, 999.9, 1000.0, 1000.1, 4000.0, 24000.0])
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hertz, scale), scale), hertz, atol=1e-8)
    if scale != "kaldi":
        np.testing.assert_allclose(hz_to_mel(hertz, scale), librosa.hz_to_mel(hertz, htk=scale == "htk"), atol=1e-9)


@pytest.mark.parametrize("rate", [16000, 22050])
@pytest.mark.parametrize("samples", [3001, 16000])
def test_log_mel_in_decibel_equals_librosa(rate, samples):
    y = sound(samples, rate)
    energy = librosa.feature.melspectrogram(y=y, sr=rate, n_fft=1024, hop_length=256, n_mels=64, fmax=rate / 2)
    filters = mel_filters(64, 1024, rate, 0.0, rate / 2, "slaney", "slaney")
    found = log_mel(y, filters, 256, hann(1024), unit="dB")
    np.testing.assert_allclose(found, librosa.power_to_db(energy, top_db=None).T, atol=2e-3)
    assert found.dtype == np.float32
    for unit, function in (("ln", np.log), ("log10", np.log10)):
        np.testing.assert_allclose(log_mel(y, filters, 256, hann(1024), unit=unit), function(np.maximum(energy, 1e-10)).T, atol=5e-4)


@pytest.mark.parametrize(("bands", "frames"), [(64, 304), (128, 1024)])
@pytest.mark.parametrize("samples", [399, 400, 401, 559, 560, 16001, 48960, 160_000, 170_123])
def test_kaldi_features_equal_the_extractor_of_ast(bands, frames, samples):
    reference = extractor(bands, frames, mean=-3.2, std=1.9)
    for y in (sound(samples), np.zeros(samples, np.float32), sound(samples) * 1e-4):
        expected = reference(y, sampling_rate=16000, return_tensors="np")["input_values"][0]
        found = normalise(kaldi_fbank(y, 16000, bands, frames), -3.2, 1.9)
        assert found.dtype == np.float32 and found.shape == (frames, bands)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_every_parameter_of_kaldi_features_is_that_of_transformers_function():
    y, (length, hop, fft) = sound(12345), (300, 110, 512)
    expected = spectrogram(
        y * 2.0**15,
        window_function(length, "hann", periodic=False),
        length,
        hop,
        fft_length=fft,
        power=2.0,
        center=False,
        preemphasis=0.9,
        mel_filters=mel_filter_bank(257, 40, 60.0, 7000.0, 16000, mel_scale="kaldi", triangularize_in_mel_space=True),
        log_mel="log",
        mel_floor=1e6,
        remove_dc_offset=True,
    )
    found = kaldi_fbank(
        y, 16000, bands=40, frames=None, length=length, hop=hop, low=60.0, high=7000.0, preemphasis=0.9, floor=1e6 / 2.0**30
    )
    np.testing.assert_allclose(found + 30 * np.log(2), expected.T, atol=1e-4)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_bands_peak_where_librosa_says(scale):
    expected = librosa.mel_frequencies(n_mels=42, fmin=50.0, fmax=7600.0, htk=scale == "htk")[1:-1]
    np.testing.assert_allclose(band_centres(40, 50.0, 7600.0, scale), expected, rtol=1e-9)


def test_kaldi_features_of_any_length_keep_their_own_number_of_frames():
    assert kaldi_fbank(sound(16000), frames=None).shape == (98, 128)
    assert kaldi_fbank(sound(100), frames=None).shape == (0, 128)


def test_kaldi_features_take_at_most_half_the_time_of_the_extractor():
    y, reference = sound(160_000), extractor(128, 1024)

    def ours() -> None:
        normalise(kaldi_fbank(y), -4.2677393, 4.5689974)

    def theirs() -> None:
        reference(y, sampling_rate=16000, return_tensors="np")

    def cost(function) -> float:
        begin = time.thread_time()
        function()
        return time.thread_time() - begin

    rounds = [(cost(ours), cost(theirs)) for _ in range(20)]
    assert min(mine for mine, _ in rounds) < 0.5 * min(reference for _, reference in rounds)


@pytest.mark.parametrize("strides", [(16, 16), (10, 10), (10, 16)])
def test_mel_patches_times_weights_are_the_patch_embedding_of_ast(strides):
    torch.manual_seed(0)
    config = ASTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, num_mel_bins=64, max_length=304, patch_size=16,
        frequency_stride=strides[0], time_stride=strides[1],
    )  # fmt: skip
    embedding = ASTModel(config).embeddings.patch_embeddings
    mel = np.random.default_rng(0).normal(size=(304, 64)).astype(np.float32)
    expected = embedding(torch.from_numpy(mel)[None])[0].detach().numpy()
    weights, bias = embedding.projection.weight.detach().numpy(), embedding.projection.bias.detach().numpy()
    found = mel_patches(mel, 16, *strides) @ weights.reshape(24, -1).T + bias
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(("size", "frequency_stride", "time_stride"), [(4, 4, 4), (4, 3, 2), (5, 7, 1)])
def test_mel_patches_are_what_two_loops_cut(size, frequency_stride, time_stride):
    mel = np.random.default_rng(0).normal(size=(23, 17)).astype(np.float32)
    naive = [
        mel[t : t + size, f : f + size].T.ravel()
        for f in range(0, 17 - size + 1, frequency_stride)
        for t in range(0, 23 - size + 1, time_stride)
    ]
    np.testing.assert_array_equal(mel_patches(mel, size, frequency_stride, time_stride), naive)


def test_what_cannot_be_transformed_is_refused_in_words():
    with pytest.raises(ValueError, match="100 samples are less than one frame of 512"):
        stft(sound(100), 512, 160, hann(400), center=False)
    with pytest.raises(ValueError, match=r"len\(window\)"):
        stft(sound(1000), 256, 160, hann(400))
    with pytest.raises(ValueError, match=r"high <= 8000.*9000"):
        mel_filters(64, 512, 16000, 20.0, 9000.0, "htk")
    with pytest.raises(ValueError, match=r"one channel.*\(2, 100\)"):
        kaldi_fbank(np.zeros((2, 100), np.float32))
    with pytest.raises(ValueError, match="window 'hamming' is unknown"):
        log_mel_of(sound(1000), {"window": "hamming"})
    with pytest.raises(ValueError, match="no patch of 16"):
        mel_patches(np.zeros((10, 64), np.float32), 16, 16, 16)
