"""Clips of a video for encoders that read several frames at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from encoders.media.frames import Canvas, Frame


class ClipMaker:
    """Cuts a stream of frames into clips of equal length, back to back.

    A clip shows what was on display at "clip_frames" instants in the middle of equal parts of "clip_seconds". The last clip ends with
    the last of these instants and overlaps the one before; a video shorter than a clip ends with a still. Frames are scaled as they
    come, so that what is held is one clip.

    Parameters
    ----------
    preprocessing : of the encoder's spec: "clip_frames", "clip_seconds" and perhaps "clip_edge".
    canvas : makes pixels of a frame.
    """

    def __init__(self, preprocessing: Mapping[str, Any], canvas: Canvas) -> None:
        self._frames, self._edge = int(preprocessing["clip_frames"]), int(preprocessing.get("clip_edge", 0))
        self._step = float(preprocessing["clip_seconds"]) / self._frames
        self._canvas = canvas
        self._shown: tuple[Any, np.ndarray | None] | None = None
        self._size: tuple[int, int] | None = None
        self._first, self._seen = 0.0, 0
        self._held: deque[np.ndarray] = deque(maxlen=self._frames)

    def see(self, time: float, frame: Any) -> Iterator[Frame]:
        """The next frame comes on display at `time`, which never goes back."""
        if self._shown is None:
            self._first = time
        yield from self._pass(time)
        self._shown = (frame, None)

    def finish(self, time: float) -> Iterator[Frame]:
        """The picture ends at `time`."""
        yield from self._pass(time)
        if self._shown is None or (self._seen and self._seen % self._frames == 0):
            return
        if self._seen < self._frames:
            still = self._pixels()
            self._held.extend([still] * (self._frames - self._seen))
            yield Frame(self._first, max(self._first, time), np.stack(self._held))
        else:
            yield self._clip()

    def _pass(self, until: float) -> Iterator[Frame]:
        while self._shown is not None and self._first + (self._seen + 0.5) * self._step < until:
            self._held.append(self._pixels())
            self._seen += 1
            if self._seen % self._frames == 0:
                yield self._clip()

    def _clip(self) -> Frame:
        end = self._first + self._seen * self._step
        return Frame(end - self._frames * self._step, end, np.stack(self._held))

    def _pixels(self) -> np.ndarray:
        """Of the frame on display, scaled once however often it is needed; all to the size of the first."""
        assert self._shown is not None  # noqa: S101 - callers looked
        frame, pixels = self._shown
        if pixels is None:
            image = Image.fromarray(self._canvas.pixels(frame))
            self._size = self._size or _scaled(image.size, self._edge)
            pixels = np.asarray(image.resize(self._size, Image.Resampling.BICUBIC) if image.size != self._size else image)
            self._shown = (frame, pixels)
        return pixels


def _scaled(size: tuple[int, int], edge: int) -> tuple[int, int]:
    width, height = size
    scale = edge / min(size) if edge else 1.0
    return max(1, round(width * scale)), max(1, round(height * scale))
