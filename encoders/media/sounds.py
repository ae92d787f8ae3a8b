"""From a sound's bytes to windows of mono samples: streamed, so that hours of sound take the memory of seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import av
import numpy as np

from encoders.errors import EmptyError, LimitError, UnreadableError
from encoders.media.containers import decoder, open_container, packets, picture_stream, refuse_cut_short, sound_stream
from encoders.media.kinds import Limits, Source, check_bytes, open_source
from encoders.media.sound_windows import Cutter, Window

__all__ = ["Window", "mono", "windows"]

_LOSSLESS = ("pcm", "flac", "alac")


def windows(source: Source, sampling_rate: int, samples: int, limits: Limits | None = None) -> Iterator[Window]:
    """Cut a sound into windows of equal length, back to back.

    The last window ends exactly at the sound's end and overlaps the one before, so that no tail is lost and no window is mostly padding.
    A sound shorter than one window comes as it is: its encoder knows whether silence follows it. A sound of N samples at
    `sampling_rate` gives max(1, ceil(N / samples)) windows.

    Channels are averaged; the rate is converted by soxr's high quality (what librosa calls "soxr_hq"). Time is counted in decoded
    samples: the delay that encoders add is removed where the file tells it (MP3 with a LAME header, MP4, Opus), raw AAC keeps its
    1,024 samples or so.

    An incomplete sound is refused, as an incomplete picture is: a WAV, FLAC or MP4, or an MP3 with a frame count, that yields
    less than its header promises is "truncated". A WAV whose header leaves the length open (0 or all ones, as recorders and pipes
    write), an Ogg, a raw AAC or an MP3 without a count promises nothing, and what is there is taken. Of lossy sounds one packet
    in a hundred, or a single one, may be damaged.

    Parameters
    ----------
    source : WAV, FLAC, Ogg (Vorbis, Opus, FLAC), MP3, M4A or AAC; any rate, number of channels and sample format.
    sampling_rate : of the windows, in Hz.
    samples : length of a window.
    limits : the length is checked from the header where that tells it, and again while decoding.

    Yields
    ------
    Window

    Raises
    ------
    EmptyError("empty"), LimitError("too many bytes" | "too long"),
    UnreadableError("corrupt" | "truncated" | "no sound" | "unknown codec" | "other content" | "not finite")
        also after some windows have been given: take an object's windows only when all have come.
    """
    if sampling_rate < 1 or samples < 1:
        raise ValueError(f"sampling_rate and samples must be at least 1, not {sampling_rate} and {samples}")
    limits = limits or Limits()
    size = check_bytes(source, limits)
    refuse_cut_short(source)
    with open_source(source) as stream:
        _check_whole_wav(stream, size)
        counts_frames = _counts_frames(stream)
        stream.seek(0)
        cutter = Cutter(sampling_rate, samples)
        with open_container(stream) as container:
            for rate, piece in _decoded(container, _audio_stream(container), counts_frames, limits):
                yield from cutter.push(rate, piece)
        yield from cutter.finish()


def _audio_stream(container: Any) -> Any:
    if picture_stream(container) is not None:
        raise UnreadableError("other content", "the object is named as a sound but is a video; rename it to what it is")
    track = sound_stream(container)
    if track is None:
        raise UnreadableError("no sound", f"the object ({container.format.name}) holds no sound; remove it or replace it")
    decoder(container, track)
    return track


def _decoded(container: Any, stream: Any, counts_frames: bool, limits: Limits) -> Iterator[tuple[int, np.ndarray]]:
    """(rate, mono samples), no less and no more than the header promises."""
    lossless = stream.codec_context.name.startswith(_LOSSLESS)
    stated = _stated_seconds(container, stream, counts_frames)
    _check_length(stated or 0.0, limits)
    promised = stated if "ogg" not in container.format.name else None
    seconds, held = 0.0, None
    for rate, samples in _frames(container, stream):
        if held is not None:
            yield held
        held, seconds = (rate, samples), seconds + len(samples) / rate
        _check_length(seconds, limits)
    if held is None:
        raise EmptyError("empty", "the sound has no samples; remove it")
    rate, samples = held
    slack = 64 / rate if lossless else max(0.2, (promised or 0.0) / 100)
    if promised and seconds < promised - slack:
        raise UnreadableError(
            "truncated", f"only {seconds:.2f} s of the {promised:.2f} s that the header promises can be decoded; upload it again"
        )
    # The last packet of MP4 is filled up to whole frames of 1,024 samples.
    padding = round((seconds - promised) * rate) if promised and not lossless else 0
    yield rate, samples[: len(samples) - padding] if 0 < padding < len(samples) else samples


def _frames(container: Any, stream: Any) -> Iterator[tuple[int, np.ndarray]]:
    count, damaged = 0, 0
    for packet in packets(container, stream):
        count += 1
        try:
            frames = packet.decode()
        except MemoryError:
            raise
        except av.FFmpegError:
            damaged += 1
            continue
        for frame in frames:
            yield frame.sample_rate, mono(frame)
    if damaged > max(1, count // 100):
        raise UnreadableError("corrupt", f"{damaged} of {count} packets cannot be decoded; replace it, or remove it")


def mono(frame: Any) -> np.ndarray:
    """The mean of a frame's channels, float32, full scale -1 to 1."""
    values = frame.to_ndarray()
    channels = values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T  # (channels, samples)
    if channels.dtype.kind in "iu":
        offset = 128 if channels.dtype == np.uint8 else 0
        scale = np.float32(2.0 ** (1 - 8 * channels.dtype.itemsize))
        channels = (channels.astype(np.float32) - np.float32(offset)) * scale
    with np.errstate(over="ignore", invalid="ignore"):
        mean: np.ndarray = channels[0] if len(channels) == 1 else channels.mean(axis=0)
        mean = np.asarray(mean, np.float32)
    if not np.isfinite(mean).all():
        raise UnreadableError("not finite", "the sound has samples that are not finite numbers; replace it, or remove it")
    return mean


def _check_length(seconds: float, limits: Limits) -> None:
    if seconds > limits.sound_seconds * (1 + 1e-9):  # sums of thousands of frames are not exact
        raise LimitError(
            "too long", f"the sound lasts {seconds:,.0f} s or more, allowed are {limits.sound_seconds:,.0f} s; raise the limit or split it"
        )


def _stated_seconds(container: Any, stream: Any, counts_frames: bool) -> float | None:
    """The length that the header states, if it does; for raw AAC, and MP3 without a count, FFmpeg guesses it from the bit rate."""
    if stream.duration is None or container.format.name == "aac" or (container.format.name == "mp3" and not counts_frames):
        return None
    return float(stream.duration * stream.time_base)


def _counts_frames(stream: BinaryIO) -> bool:
    """Whether the first frame of an MP3 is a Xing or LAME header, which tells the number of frames."""
    stream.seek(0)
    head = stream.read(10)
    tag = 0
    for size in head[6:10] if head[:3] == b"ID3" else b"":
        tag = tag << 7 | size
    stream.seek(tag + 10 if tag else 0)
    frame = stream.read(2048)
    return b"Xing" in frame or b"Info" in frame


def _check_whole_wav(stream: BinaryIO, size: int) -> None:
    """Compare a WAV with the length that its RIFF chunks promise, of which FFmpeg takes what there is. RF64 leaves it open here."""
    head = stream.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return
    while len(chunk := stream.read(8)) == 8:
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            missing = stream.tell() + length - size
            # Headers that are wrong by a few bytes are common, and a recorder that does not know the length writes the largest number.
            if missing > 64 and length < 0x7FFFF000:
                raise UnreadableError(
                    "truncated", f"the header promises {length:,} bytes of samples, {missing:,} are missing; upload it again"
                )
            return
        stream.seek(length + length % 2, 1)
