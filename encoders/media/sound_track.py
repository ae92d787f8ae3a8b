"""The sound of a video as windows with true times: by the container's clock, over gaps and drift."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from encoders.media.sound_windows import Cutter, Window

_SLACK = 0.05  # seconds that clock and count of samples may differ; Matroska and FLV round to milliseconds, and nobody hears it


class SoundTrack:
    """Cuts samples that carry times into windows, back to back from the first sample on.

    A gap is heard as silence; one longer than a window ends the sound there, as the end of a file does, and a new one begins behind it.
    Samples that come before the end of those before them are dropped that far: so the clock holds within 50 ms however long the sound is.

    Parameters
    ----------
    sampling_rate : of the windows, in Hz.
    samples : length of a window.
    """

    def __init__(self, sampling_rate: int, samples: int) -> None:
        self._rate, self._samples = sampling_rate, samples
        self._cutter: Cutter | None = None

    @property
    def end(self) -> float:
        """The time at which the samples that have come end, 0 before any."""
        return self._cutter.end if self._cutter else 0.0

    def push(self, time: float | None, rate: int, samples: np.ndarray) -> Iterator[Window]:
        """The windows that are full with these samples, float32 (n,), which begin at `time`: None continues."""
        begin = self.end if time is None else time
        if begin < 0:
            samples, begin = samples[round(-begin * rate) :], 0.0
        missing = begin - self.end if self._cutter else 0.0
        if missing > self._samples / self._rate:
            yield from self.finish()
            missing = 0.0
        if self._cutter is None:
            self._cutter = Cutter(self._rate, self._samples, begin)
        if missing > _SLACK:
            yield from self._cutter.push(rate, np.zeros(round(missing * rate), np.float32))
        elif missing < -_SLACK:
            samples = samples[round(-missing * rate) :]
        if len(samples):
            yield from self._cutter.push(rate, samples)

    def finish(self) -> Iterator[Window]:
        """The windows that are left."""
        if self._cutter:
            yield from self._cutter.finish()
        self._cutter = None
