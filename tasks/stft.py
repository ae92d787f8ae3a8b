"""Hear a sound as a picture: decode, resample, cut into windows, STFT, mel, log, patches."""

from __future__ import annotations

from collections.abc import Iterator

from encoders.media import sounds
from encoders.media.kinds import Limits, Source
from encoders.spec import Encoder
from tasks.segments import Segment


def stft(encoder: Encoder, source: Source, limits: Limits) -> Iterator[Segment]:
    """Yield one segment per window of the encoder's length, with its start and end in seconds.

    The window's length and rate stand in the spec's preprocessing: "window_samples" at "sampling_rate". Windows are made one at a time,
    so a sound of hours takes no more memory than one of seconds.
    """
    rate, samples = encoder.spec.preprocessing["sampling_rate"], encoder.spec.preprocessing["window_samples"]
    for window in sounds.windows(source, rate, samples, limits):
        yield Segment(encoder.prepare(window.samples), window.start, window.end)
