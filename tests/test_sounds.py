"""Sounds are decoded, mixed, resampled and cut as libsndfile, librosa and arithmetic say, in memory that stays flat."""

from __future__ import annotations

import io
import math
import struct
import subprocess
import sys

import av
import librosa
import numpy as np
import pytest
import soundfile
from nasty_media import cover, packed, silent_video, sweep, wave, with_data_length

from encoders.errors import EmptyError, LimitError, UnreadableError
from encoders.media.kinds import Limits
from encoders.media.sounds import Window, windows

RATE = 16000


def joined(parts: list[Window], rate: int = RATE) -> np.ndarray:
    """The sound that windows were cut from, up to its end."""
    body = [part.samples for part in parts[:-1]]
    length = sum(map(len, body))
    last = parts[-1]
    new = round((last.end - max(last.start, 0.0)) * rate) if len(parts) == 1 else round((last.end - length / rate) * rate)
    tail = last.samples[:new] if len(parts) == 1 else last.samples[len(last.samples) - new :]
    return np.concatenate([*body, tail])


def heard(data: bytes, rate: int = RATE, samples: int = 5000) -> np.ndarray:
    return joined(list(windows(data, rate, samples)), rate)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_every_sample_format_of_wav_gives_what_libsndfile_reads(subtype):
    data = wave(sweep(1.234), subtype=subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_allclose(heard(data), expected, atol=1e-6)


@pytest.mark.parametrize(("kind", "subtype"), [("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("W64", "PCM_16"), ("RF64", "PCM_16")])
def test_other_lossless_containers_give_what_libsndfile_reads(kind, subtype):
    data = wave(sweep(1.234), kind=kind, subtype=subtype)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    np.testing.assert_allclose(heard(data), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [2, 3, 6, 8])
@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_channels_are_averaged(channels, kind):
    rng = np.random.default_rng(channels)
    data = wave(rng.uniform(-0.9, 0.9, (9001, channels)), kind=kind)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float64")
    np.testing.assert_allclose(heard(data), expected.mean(axis=1), atol=1e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("wanted", [16000, 48000])
def test_the_rate_is_converted_as_librosa_converts_it_whole(rate, wanted):
    data = wave(sweep(2.345, rate), rate)
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    expected = librosa.resample(samples, orig_sr=rate, target_sr=wanted, res_type="soxr_hq")
    found = heard(data, wanted)
    assert abs(len(found) - len(expected)) <= 1
    length = min(len(found), len(expected))
    np.testing.assert_allclose(found[:length], expected[:length], atol=1e-5)


def test_the_size_of_windows_changes_no_sample():
    data = wave(sweep(1.0, 44100), 44100)
    whole = heard(data, samples=10**6)
    for samples in (1000, 7777, 16000):
        np.testing.assert_array_equal(heard(data, samples=samples)[:15999], whole[:15999])


@pytest.mark.parametrize(
    ("container", "codec", "rate"), [("mp3", "libmp3lame", 44100), ("ipod", "aac", 44100), ("ogg", "libopus", 48000), ("mp4", "aac", 22050)]
)
def test_lossy_formats_begin_and_end_where_the_sound_did(container, codec, rate):
    original = sweep(2.5, rate)
    found = heard(packed(original, rate, container, codec), rate)
    assert len(found) == len(original), "neither the encoder's delay nor its padding is left"
    middle = slice(rate // 2, 2 * rate)
    lags = range(-5, 6)
    likeness = [np.corrcoef(np.roll(found, lag)[middle], original[middle])[0, 1] for lag in lags]
    assert lags[int(np.argmax(likeness))] == 0 and max(likeness) > 0.98


@pytest.mark.parametrize("kind", ["MP3", "OGG"])
def test_lossy_formats_give_what_libsndfile_decodes(kind):
    data = wave(sweep(2.0, 44100), 44100, kind=kind)
    expected, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    found = heard(data, 44100)
    assert len(found) == pytest.approx(len(expected), abs=1200)
    length = min(len(found), len(expected))
    np.testing.assert_allclose(found[:length], expected[:length], atol=1e-3)


@pytest.mark.parametrize("count", [1, 999, 1000, 1001, 1999, 2000, 2001, 5432])
def test_windows_are_back_to_back_and_the_last_one_ends_with_the_sound(count):
    samples = np.linspace(-0.9, 0.9, count).astype(np.float32)
    parts = list(windows(wave(samples, subtype="FLOAT"), RATE, 1000))
    assert len(parts) == max(1, math.ceil(count / 1000))
    for k, part in enumerate(parts):
        first = max(0, min(1000 * k, count - 1000))
        assert part.samples.dtype == np.float32 and part.samples.shape == (min(count, 1000),)
        np.testing.assert_array_equal(part.samples, samples[first : first + 1000])
        assert part.start == pytest.approx(first / RATE, abs=1e-9)
        assert part.end == pytest.approx(min(first + 1000, count) / RATE, abs=1e-9)


def test_a_sample_too_short_to_resample_is_kept():
    (part,) = windows(wave(np.float32([0.5]), 96000, subtype="FLOAT"), RATE, 10)
    assert part.samples.tolist() == [0.5]
    assert part.end == pytest.approx(1 / 96000)


def test_a_change_of_rate_on_the_way_keeps_the_time():
    data = packed(sweep(2.0, 44100), 44100, "adts", "aac") + packed(sweep(2.0, 22050), 22050, "adts", "aac")
    end = list(windows(data, RATE, 4000))[-1].end
    assert 4.0 <= end <= 4.3, "raw AAC keeps what its encoder put before and behind"


def test_limits_hold_by_the_header_before_anything_is_decoded(tmp_path):
    path = tmp_path / "day.wav"
    with path.open("wb") as file:
        file.write(wav_header(24 * 3600 * RATE))
        file.truncate(44 + 2 * 24 * 3600 * RATE)
    with pytest.raises(LimitError, match=r"too long.*86,400 s.*43,200 s"):
        next(windows(path, RATE, 16000))


@pytest.mark.parametrize("stated", [0, 1000])
def test_limits_hold_while_decoding_where_the_header_lies(stated):
    data = bytearray(wave(sweep(5.0), kind="FLAC"))
    place = data.index(b"fLaC") + 8 + 13  # the low 36 bits of 8 bytes in STREAMINFO count the samples
    low = struct.unpack(">Q", data[place - 3 : place + 5])[0]
    data[place - 3 : place + 5] = struct.pack(">Q", low >> 36 << 36 | stated)
    with pytest.raises(LimitError, match="too long"):
        list(windows(bytes(data), RATE, 1000, Limits(sound_seconds=3)))
    assert len(list(windows(wave(sweep(3.0), kind="FLAC"), RATE, RATE, Limits(sound_seconds=3)))) == 3


def test_a_wav_cut_short_is_truncated_but_one_of_open_length_is_taken_as_it_is():
    data = wave(sweep(2.0))
    with pytest.raises(UnreadableError, match=r"truncated.*64,000 bytes.*32,0\d\d are missing"):
        list(windows(data[: len(data) // 2], RATE, 1000))
    for length in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        assert len(heard(with_data_length(data[: len(data) // 2], length))) == pytest.approx(16000, abs=30)
    assert len(heard(with_data_length(data, 64_044))) == 32000, "a header that counts itself is only careless"


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_flac_mp3_and_mp4_cut_short_are_truncated(share):
    index_first = fragmented(sweep(4.0, 44100))
    for data in (wave(sweep(4.0), kind="FLAC"), wave(sweep(4.0), kind="MP3"), packed(sweep(4.0), RATE, "ipod", "aac"), index_first):
        with pytest.raises(UnreadableError) as failure:
            list(windows(data[: int(share * len(data))], RATE, 1000))
        assert failure.value.reason == "truncated"


def test_one_damaged_packet_does_not_lose_a_lossy_sound_but_many_do():
    data = bytearray(wave(sweep(20.0), kind="MP3"))
    one = bytes(data[:3000]) + bytes(60) + bytes(data[3060:])
    assert len(heard(one)) == pytest.approx(20 * RATE, rel=0.01)
    data[2000:-2000] = np.random.default_rng(0).bytes(len(data) - 4000)
    with pytest.raises(UnreadableError):
        heard(bytes(data))


def test_any_damage_gives_windows_or_a_medium_error():
    rng = np.random.default_rng(0)
    tone = sweep(0.5, 44100)
    files = [wave(tone, 44100, kind) for kind in ("WAV", "FLAC", "MP3", "OGG")] + [packed(tone, 44100, "ipod", "aac")]
    for data in files:
        for _ in range(30):
            damaged = np.frombuffer(data, np.uint8).copy()
            damaged[rng.integers(0, len(data), 10)] = rng.integers(0, 256, 10)
            try:
                parts = list(windows(damaged.tobytes(), RATE, 1000, Limits(sound_seconds=60)))
                assert all(np.isfinite(part.samples).all() for part in parts)
            except (UnreadableError, LimitError, EmptyError):
                pass


def test_a_video_is_no_sound_even_with_a_sound_track_but_a_cover_is_no_video():
    with pytest.raises(UnreadableError, match=r"other content.*is a video"):
        list(windows(silent_video(), RATE, 1000))
    with pytest.raises(UnreadableError, match=r"other content.*is a video"):
        list(windows(video_with_sound(), RATE, 1000))
    plain = wave(sweep(1.0), kind="MP3")
    np.testing.assert_array_equal(heard(cover() + plain), heard(plain))


def test_a_playlist_is_not_followed(tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wave(sweep(1.0)))
    lists = (f"#EXTM3U\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n", f"ffconcat version 1.0\nfile {secret}\n", f"[playlist]\nFile1={secret}\n")
    for text in lists:
        path = tmp_path / "list.mp3"
        path.write_text(text)
        with pytest.raises(UnreadableError, match="corrupt"):
            list(windows(path, RATE, 1000))


def test_odd_names_are_names_not_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from pathlib import Path

    for name in ("data:audio.wav", "concat:a|b.wav", "100%25 #?.wav", "声音\n.wav"):
        Path(name).write_bytes(wave(sweep(0.1)))
        assert len(list(windows(Path(name), RATE, 1600))) == 1


def test_tags_in_no_known_encoding_do_not_matter():
    data = wave(sweep(0.5), kind="FLAC")
    comment = struct.pack("<I", 1) + b"x" + struct.pack("<I", 1) + struct.pack("<I", 9) + b"TITLE=\xff\xfe\xe9"
    with_tag = data[:4] + data[4:42] + b"\x04" + struct.pack(">I", len(comment))[1:] + comment + data[42:]
    assert len(heard(with_tag)) == 8000


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf, 1e39])
def test_numbers_that_are_not_finite_in_float32_are_refused(number):
    samples = sweep(1.0).astype(np.float64)
    samples[-1] = number
    with pytest.raises(UnreadableError, match="not finite"):
        list(windows(wave(samples, subtype="DOUBLE"), RATE, 1000))


def test_settings_without_sense_are_refused():
    for rate, samples in ((0, 1000), (RATE, 0), (-1, 5)):
        with pytest.raises(ValueError, match="at least 1"):
            next(windows(wave(sweep(0.1)), rate, samples))


@pytest.mark.slow
def test_three_hours_take_the_memory_of_a_minute(tmp_path):
    program = """
import resource, sys
from pathlib import Path
from encoders.media.sounds import windows
count = sum(1 for _ in windows(Path(sys.argv[1]), 16000, 160000))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = []
    for seconds in (60, 3 * 3600):
        path = tmp_path / f"{seconds}.wav"
        noise = np.random.default_rng(0).integers(-9999, 9999, 60 * RATE, dtype=np.int16).tobytes()
        with path.open("wb") as file:
            file.write(wav_header(seconds * RATE))
            for _ in range(seconds // 60):
                file.write(noise)
        # A shell in between, for a child's peak begins with that of the process that started it.
        command = ["sh", "-c", '"$0" -c "$1" "$2"', sys.executable, program, str(path)]
        count, peak = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
        assert count == seconds // 10
        peaks.append(peak / 1024)
        path.unlink()
    assert peaks[1] - peaks[0] < 50, f"{peaks[0]:.0f} MB for a minute, {peaks[1]:.0f} MB for three hours"


def wav_header(samples: int) -> bytes:
    """Of one channel of 16 bits at 16 kHz."""
    length = 2 * samples
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + length, b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", length)


def fragmented(samples: np.ndarray) -> bytes:
    """An M4A of one fragment whose index stands before the sound."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"}) as file:
        stream = file.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return buffer.getvalue()


def video_with_sound() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as file:
        video, audio = file.add_stream("mpeg4", rate=5), file.add_stream("aac", rate=44100, layout="mono")
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        frame = av.AudioFrame.from_ndarray(sweep(1.0, 44100)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44100, 0
        picture = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
        for packet in (*video.encode(picture), *video.encode(None), *audio.encode(frame), *audio.encode(None)):
            file.mux(packet)
    return buffer.getvalue()
