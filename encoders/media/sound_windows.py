"""From mono samples of any rate to windows of one rate and length, back to back; samples come piece by piece, windows go one by one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import soxr


@dataclass(frozen=True)
class Window:
    """One segment of a sound.

    Parameters
    ----------
    start, end : seconds from the sound's beginning.
    samples : float32 (samples,), mono, full scale is -1 to 1.
    """

    start: float
    end: float
    samples: np.ndarray


class Cutter:
    """Resamples and cuts one sound, whose memory is that of two windows however long it is.

    The last window ends exactly at the sound's end and overlaps the one before. A sound shorter than one window
    comes as it is: its encoder knows whether silence follows it.

    Parameters
    ----------
    sampling_rate : of the windows, in Hz.
    samples : length of a window.
    begin : time of the first sample in seconds.
    """

    def __init__(self, sampling_rate: int, samples: int, begin: float = 0.0) -> None:
        self._wanted, self._samples, self._begin = sampling_rate, samples, begin
        self._rate, self._came = 0, 0  # samples that came at this rate …
        self._before_that = 0.0  # … and seconds at other rates; a sum of seconds alone would not be exact
        self._pieces, self._length = list[np.ndarray](), 0
        self._resampler: soxr.ResampleStream | None = None
        self._made, self._first = 0, np.zeros(0, np.float32)
        self._held, self._before, self._count = np.zeros(0, np.float32), np.zeros(0, np.float32), 0

    @property
    def end(self) -> float:
        """The time at which the samples that have come end."""
        return self._begin + self._before_that + (self._came / self._rate if self._rate else 0.0)

    def push(self, rate: int, samples: np.ndarray) -> list[Window]:
        """The windows that are full with these samples, float32 (n,); `rate` may change on the way, as in recordings of radio streams."""
        windows = self._change(rate) if rate != self._rate else []
        self._pieces.append(samples)
        self._length += len(samples)
        self._came += len(samples)
        # Frames of MP3 or FLAC are too short to be worth a call each.
        return windows + self._resample() if 2 * self._length >= rate else windows

    def finish(self) -> list[Window]:
        """The windows that are left when no more samples come; none if none ever came."""
        windows = self._flush()
        seconds, rest = self._samples / self._wanted, len(self._held)
        if not self._count and rest:
            windows.append(Window(self._begin, self.end, self._held))
        elif rest:
            windows.append(Window(self.end - seconds, self.end, np.concatenate([self._before[rest:], self._held])))
        return windows

    def _change(self, rate: int) -> list[Window]:
        windows = self._flush()
        self._before_that, self._came, self._rate = self.end - self._begin, 0, rate
        self._resampler = soxr.ResampleStream(rate, self._wanted, 1, dtype="float32", quality="HQ") if rate != self._wanted else None
        return windows

    def _resample(self, last: bool = False) -> list[Window]:
        piece = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.float32)
        self._pieces, self._length = [], 0
        self._first = self._first if len(self._first) else piece[:1].copy()
        return self._cut(piece if self._resampler is None else self._resampler.resample_chunk(piece, last=last))

    def _flush(self) -> list[Window]:
        windows = self._resample(last=True)
        # A sample or two of a higher rate round to none.
        return windows if self._made else windows + self._cut(self._first)

    def _cut(self, piece: np.ndarray) -> list[Window]:
        self._made += len(piece)
        self._held = np.concatenate([self._held, piece])
        windows = list[Window]()
        while len(self._held) >= self._samples:
            self._before, self._held = self._held[: self._samples], self._held[self._samples :]
            first = self._count * self._samples
            start, end = (self._begin + sample / self._wanted for sample in (first, first + self._samples))
            windows.append(Window(start, end, self._before))
            self._count += 1
        return windows
