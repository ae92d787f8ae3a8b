"""Small videos, made when they are asked for: a flash and a beep at known instants, in any container and codec that PyAV writes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

CLOCK = Fraction(1, 90_000)
DARK, BRIGHT = 30, 225

Painter = Callable[[float], np.ndarray]
"""Makes the picture of an instant: uint8 (height, width, 3)."""


@dataclass(frozen=True)
class Film:
    """What to write; times are those that a player shows, unless `begin` moves all of them.

    Parameters
    ----------
    times : of the frames; None for `rate` a second.
    flash, beep : when a fifth of a second of light, and of a 1 kHz tone, begins.
    begin : what the container's clock says at the beginning.
    sound_from, picture_from : when either track begins.
    paint, samples : other pictures than the flash, another sound than the beep.
    """

    container: str = "mp4"
    video: str | None = "libx264"
    audio: str | None = "aac"
    seconds: float = 4.0
    rate: int = 25
    times: Sequence[float] | None = None
    size: tuple[int, int] = (64, 48)
    flash: float = 2.0
    beep: float = 2.0
    begin: float = 0.0
    sound_from: float = 0.0
    picture_from: float = 0.0
    sampling_rate: int = 44_100
    pix_fmt: str = "yuv420p"
    codec_options: tuple[tuple[str, str], ...] = ()
    mux_options: tuple[tuple[str, str], ...] = ()
    rotation: float | None = None
    flipped: bool = False
    aspect: Fraction | None = None
    paint: Painter | None = None
    samples: np.ndarray | None = None

    def write(self, target: Path | io.BytesIO) -> None:
        """Pack it."""
        where: Any = str(target) if isinstance(target, Path) else target
        with _priority_kept(), av.open(where, "w", format=self.container, options=dict(self.mux_options)) as file:
            picture = self._picture_track(file) if self.video else None
            sound = self._sound_track(file) if self.audio else None
            packets = [*(_encoded(picture, self._frames()) if picture else ()), *(_encoded(sound, self._pieces()) if sound else ())]
            # Interleaved by time, as recorders do: a muxer gives up on tracks that come one after the other.
            for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
                file.mux(packet)

    def bytes(self) -> bytes:
        """It as bytes."""
        buffer = io.BytesIO()
        self.write(buffer)
        return buffer.getvalue()

    def _picture_track(self, file: Any) -> Any:
        track = file.add_stream(self.video, rate=self.rate, options=dict(self.codec_options))
        track.width, track.height, track.pix_fmt = *self.size, self.pix_fmt
        track.codec_context.time_base = (
            CLOCK if self.video not in ("mpeg1video", "mpeg2video", "mpeg4", "flv", "wmv2") else Fraction(1, self.rate)
        )
        track.codec_context.thread_count = 1
        if self.aspect:
            track.codec_context.sample_aspect_ratio = self.aspect
        if self.rotation is not None:
            track.set_display_rotation(self.rotation, hflip=self.flipped)
        return track

    def _sound_track(self, file: Any) -> Any:
        return file.add_stream(self.audio, rate=self.sampling_rate, layout="mono")

    def _frames(self) -> Iterator[Any]:
        times = self.times if self.times is not None else np.arange(round(self.seconds * self.rate)) / self.rate
        paint = self.paint or self._lit
        for time in times:
            if time < self.picture_from:
                continue
            frame = av.VideoFrame.from_ndarray(paint(time), format="rgb24").reformat(format=self.pix_fmt)
            frame.pts, frame.time_base = round((time + self.begin) / CLOCK), CLOCK
            yield frame

    def _lit(self, time: float) -> np.ndarray:
        level = BRIGHT if self.flash <= time < self.flash + 0.2 else DARK
        return np.full((self.size[1], self.size[0], 3), level, np.uint8)

    def _pieces(self) -> Iterator[Any]:
        time = np.arange(round(self.sound_from * self.sampling_rate), round(self.seconds * self.sampling_rate)) / self.sampling_rate
        tone = np.sin(2 * np.pi * 1000 * time) * ((self.beep <= time) & (time < self.beep + 0.2)) / 2
        tone = tone if self.samples is None else self.samples
        first = round((self.sound_from + self.begin) * self.sampling_rate)
        for start in range(0, len(tone), 1024):
            piece = tone[start : start + 1024].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(piece[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = self.sampling_rate, first + start, Fraction(1, self.sampling_rate)
            yield frame


@contextmanager
def _priority_kept() -> Iterator[None]:
    """SVT-AV1, run by root, makes the thread that opens it a real-time one and leaves it so.

    Whatever that thread starts later would inherit it, and ordinary threads and processes would hardly run any more.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def _encoded(track: Any, frames: Iterator[Any]) -> list[Any]:
    return [packet for frame in (*frames, None) for packet in track.encode(frame)]
