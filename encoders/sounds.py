"""From a sound's bytes to windows of mono samples: streamed, so that hours of sound take the memory of seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np
import soxr

from encoders.errors import EmptyError, LimitError, UnreadableError
from encoders.media import Limits, Source, check_bytes, is_cut_short, open_source

# Only these containers may be opened: FFmpeg's playlists would fetch other files and addresses.
_CONTAINERS = "wav,w64,flac,ogg,mp3,aac,mov"
_LOSSLESS = ("pcm", "flac", "alac")

Piece = tuple[np.ndarray, float]
"""Mono float32 samples, and the time in seconds, by the sound's own clock, at which they end."""


@dataclass(frozen=True)
class Window:
    """One segment of a sound.

    Parameters
    ----------
    start, end : seconds from the first decoded sample.
    samples : float32 (samples,), mono, full scale is -1 to 1.
    """

    start: float
    end: float
    samples: np.ndarray


def windows(source: Source, sampling_rate: int, samples: int, limits: Limits | None = None) -> Iterator[Window]:
    """Cut a sound into windows of equal length, back to back.

    The last window ends exactly at the sound's end and overlaps the one before, so that no tail is lost and no window is mostly padding.
    A sound shorter than one window is followed by silence; `end` is then still the sound's own end. A sound of N samples at
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
    with open_source(source) as stream:
        if is_cut_short(source):
            raise UnreadableError("truncated", "the object ends within a box whose length its header states; upload it again")
        _check_whole_wav(stream, size)
        counts_frames = _counts_frames(stream)
        stream.seek(0)
        with _open_container(stream) as container:
            pieces = _decoded(container, _audio_stream(container), counts_frames, limits)
            yield from _cut(_resampled(pieces, sampling_rate), sampling_rate, samples)


def _open_container(stream: BinaryIO) -> Any:
    # One megabyte a read instead of 32 kB; a packet of WAV as large as FFmpeg allows: both only for speed.
    try:
        return av.open(
            stream, metadata_errors="replace", buffer_size=2**20, container_options={"format_whitelist": _CONTAINERS, "max_size": "65536"}
        )
    except av.FFmpegError as error:
        reason = "truncated" if isinstance(error, EOFError) else "corrupt"
        raise UnreadableError(reason, f"no sound can be read from it ({error.strerror}); replace it, or remove it") from error


def _audio_stream(container: Any) -> Any:
    if any(not video.disposition & video.disposition.attached_pic for video in container.streams.video):
        raise UnreadableError("other content", "the object is named as a sound but is a video; rename it to what it is")
    if not container.streams.audio:
        raise UnreadableError("no sound", f"the object ({container.format.name}) holds no sound; remove it or replace it")
    stream: Any = container.streams.audio[0]
    if stream.codec_context is None:
        raise UnreadableError(
            "unknown codec", f"the object ({container.format.name}) is packed with a codec that FFmpeg does not know; convert it"
        )
    stream.codec_context.thread_count = 1
    return stream


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
    packets, damaged = 0, 0
    try:
        for packet in container.demux(stream):
            packets += 1
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                yield frame.sample_rate, _mono(frame)
    except av.FFmpegError as error:
        raise UnreadableError("corrupt", f"reading stopped at packet {packets} ({error.strerror}); replace it, or remove it") from error
    if damaged > max(1, packets // 100):
        raise UnreadableError("corrupt", f"{damaged} of {packets} packets cannot be decoded; replace it, or remove it")


def _mono(frame: Any) -> np.ndarray:
    """The mean of a frame's channels, float32, full scale -1 to 1."""
    values = frame.to_ndarray()
    channels = values if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels).T  # (channels, samples)
    if channels.dtype.kind in "iu":
        offset = 128 if channels.dtype == np.uint8 else 0
        scale = np.float32(2.0 ** (1 - 8 * channels.dtype.itemsize))
        channels = (channels.astype(np.float32) - np.float32(offset)) * scale
    with np.errstate(over="ignore", invalid="ignore"):
        mono: np.ndarray = channels[0] if len(channels) == 1 else channels.mean(axis=0)
        mono = np.asarray(mono, np.float32)
    if not np.isfinite(mono).all():
        raise UnreadableError("not finite", "the sound has samples that are not finite numbers; replace it, or remove it")
    return mono


def _resampled(pieces: Iterator[tuple[int, np.ndarray]], sampling_rate: int) -> Iterator[Piece]:
    """Pieces at `sampling_rate`, at least one sample in all. The rate may change on the way, as in recordings of radio streams."""
    seconds, made, rate = 0.0, 0, 0
    resampler, samples = None, np.zeros(0, np.float32)
    for new_rate, samples in _gathered(pieces):
        if new_rate != rate:
            if resampler is not None:
                yield resampler.resample_chunk(np.zeros(0, np.float32), last=True), seconds
            rate = new_rate
            resampler = soxr.ResampleStream(rate, sampling_rate, 1, dtype="float32", quality="HQ") if rate != sampling_rate else None
        seconds += len(samples) / rate
        piece = samples if resampler is None else resampler.resample_chunk(samples)
        made += len(piece)
        yield piece, seconds
    if resampler is not None:
        piece = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        # A sample or two of a higher rate round to none.
        yield piece if made + len(piece) else samples[:1], seconds


def _gathered(pieces: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """The same samples in arrays of half a second or more: frames of MP3 or FLAC are too short to be worth a call each."""
    held: list[np.ndarray] = []
    rate = length = 0
    for new_rate, samples in pieces:
        if held and (new_rate != rate or 2 * length >= rate):
            yield rate, np.concatenate(held)
            held, length = [], 0
        rate, length = new_rate, length + len(samples)
        held.append(samples)
    if held:
        yield rate, np.concatenate(held)


def _cut(pieces: Iterator[Piece], sampling_rate: int, samples: int) -> Iterator[Window]:
    seconds = samples / sampling_rate
    held, before, count, end = np.zeros(0, np.float32), None, 0, 0.0
    for piece, end in pieces:  # noqa: B007 (used after the loop)
        held = np.concatenate([held, piece])
        while len(held) >= samples:
            before, held = held[:samples], held[samples:]
            yield Window(count * seconds, (count + 1) * seconds, before)
            count += 1
    if before is None:
        yield Window(0.0, end, np.pad(held, (0, samples - len(held))))
    elif len(held):
        yield Window(end - seconds, end, np.concatenate([before[len(held) :], held]))


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
