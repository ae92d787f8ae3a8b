"""Which frames of a video become segments, and their pixels as a person would see them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np
from PIL import Image

from encoders.errors import LimitError
from encoders.media.hdr import to_standard
from encoders.media.kinds import Limits

_UNSPECIFIED = 2  # AVCOL_SPC_UNSPECIFIED
_BT709 = 1  # SWS_CS_ITU709
_THUMB = (64, 36)


@dataclass(frozen=True)
class FrameChoice:
    """Which frames of a video are taken. Changes which rows there are, and no vector: so it belongs to the settings, not to a spec.

    Parameters
    ----------
    every : seconds between the instants whose frames are taken: the first frame's time, and so on from there. A frame that is on display
        at several of these instants (a still picture, a slow recording) is taken once.
    scene : 0 to take frames by time; else a frame is taken where it differs from the one before by more than this: the mean difference
        of their grey values, 0 to 1, of which a cut has 0.1 or more. The first frame is always taken.
    most : frames of one video. Where its length is known, those taken are spread over all of it: by time as if `every` were as long as
        needed, by scene at least that far apart. Where it is not known, the first ones are taken.
    """

    every: float = 2.0
    scene: float = 0.0
    most: int = 2000


@dataclass(frozen=True)
class Frame:
    """A frame and the time for which it stands.

    Parameters
    ----------
    start : its own time in seconds.
    end : when the next one that is taken begins, or the picture ends.
    pixels : uint8 (height, width, 3).
    """

    start: float
    end: float
    pixels: np.ndarray


class FrameChooser:
    """Takes frames from a stream of them; holds the pixels of one and the frame now on display.

    Parameters
    ----------
    choice : what to take.
    seconds : the video's length, 0 if it is not known.
    canvas : makes pixels of a frame.
    """

    def __init__(self, choice: FrameChoice, seconds: float, canvas: Canvas) -> None:
        self._scene, self._most, self._canvas = choice.scene, choice.most, canvas
        apart = seconds / choice.most
        self._step = apart if choice.scene else max(choice.every, apart)
        self._taken, self._due = 0, float("-inf")
        self._shown: tuple[float, Any] | None = None
        self._held: tuple[float, np.ndarray] | None = None
        self._thumb = np.zeros((0, 0))

    def see(self, time: float, frame: Any) -> Iterator[Frame]:
        """The next frame comes on display at `time`, which never goes back."""
        if self._scene:
            if self._cuts(frame) and time >= self._due:
                yield from self._take(time, frame)
                self._due = time + self._step
            return
        yield from self._pass(time)
        if self._shown is None:
            self._due = time
        self._shown = (time, frame)

    def finish(self, time: float) -> Iterator[Frame]:
        """The picture ends at `time`."""
        yield from self._pass(time)
        if self._held:
            start, pixels = self._held
            yield Frame(start, max(start, time), pixels)

    def _pass(self, until: float) -> Iterator[Frame]:
        """Take the frame on display if one of the wanted instants lies before `until`."""
        if self._shown is None or (self._due >= until and self._taken):
            return
        yield from self._take(*self._shown)
        first = self._due
        self._due = first + self._step * max(1, ceil((until - first) / self._step - 1e-9))

    def _take(self, time: float, frame: Any) -> Iterator[Frame]:
        if self._taken == self._most:
            return
        self._taken += 1
        if self._held:
            yield Frame(self._held[0], time, self._held[1])
        self._held = (time, self._canvas.pixels(frame))

    def _cuts(self, frame: Any) -> bool:
        before, self._thumb = self._thumb, frame.reformat(*_THUMB, "gray8", interpolation="AREA").to_ndarray().astype(np.float32) / 255
        return not before.size or float(np.abs(self._thumb - before).mean()) > self._scene


class Canvas:
    """Makes the pixels of a video's frames: upright, of square pixels, without the comb of interlacing.

    Colours are converted by the frame's own matrix and range, or where it tells none by BT.709 for high definition and BT.601 below, as
    players do. Ten bits are scaled to eight, and the light of HDR (PQ, HLG) is that of a usual screen.

    Parameters
    ----------
    aspect : width of a sample by its height, None if the stream tells none.
    limits : `frame_pixels` is checked for every frame, for size may change on the way.
    """

    def __init__(self, aspect: Fraction | None, limits: Limits) -> None:
        self._aspect = float(aspect) if aspect and Fraction(1, 4) <= aspect <= 4 else 1.0  # beyond that it is a mistake
        self._limits = limits
        self._turn: int | None = None
        self._matrix = (1, 0, 0, 1)

    def pixels(self, frame: Any) -> np.ndarray:
        """uint8 (height, width, 3)"""
        check_pixels(frame.width, frame.height, self._limits)
        untold = frame.colorspace == _UNSPECIFIED and (frame.width > 1024 or frame.height > 576)
        rgb: np.ndarray = frame.to_ndarray(format="rgb24", src_colorspace=_BT709 if untold else None)
        rgb = to_standard(rgb, frame.color_trc, frame.color_primaries)
        if frame.interlaced_frame:
            rgb = one_field(rgb)
        # A frame whose side data were asked for is a cycle of references, freed much later: so they are read once for each turn.
        if frame.rotation != self._turn:
            self._turn, self._matrix = frame.rotation, _display_matrix(frame)
        return np.ascontiguousarray(upright(self._square(rgb), self._matrix))

    def _square(self, rgb: np.ndarray) -> np.ndarray:
        height, width = rgb.shape[:2]
        stretched = (round(width * max(1, self._aspect)), round(height / min(1, self._aspect)))
        return rgb if stretched == (width, height) else np.asarray(Image.fromarray(rgb).resize(stretched, Image.Resampling.BICUBIC))


def check_pixels(width: int, height: int, limits: Limits) -> None:
    """LimitError("too many pixels") for a frame that is larger than allowed."""
    if width * height > limits.frame_pixels:
        raise LimitError(
            "too many pixels",
            f"the video's frames have {width:,} x {height:,} pixels, allowed are {limits.frame_pixels:,}; raise limits.frame_pixels",
        )


def one_field(rgb: np.ndarray) -> np.ndarray:
    """Only the lines of the first field, with means between them: both fields of an interlaced frame are of different instants."""
    whole = rgb.copy()
    field = rgb[::2].astype(np.uint16)
    below = np.concatenate([field[1:], field[-1:]])
    whole[1::2] = ((field + below + 1) // 2)[: len(whole[1::2])]
    return whole


def upright(rgb: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """The picture as its display matrix (a, b, c, d) shows it: (x, y) is shown at (a x + c y, b x + d y), to the quarter turn."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        rgb, a, d = rgb.transpose(1, 0, 2), c, b
    return rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _display_matrix(frame: Any) -> tuple[int, int, int, int]:
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32)
            return int(a), int(b), int(c), int(d)
    return 1, 0, 0, 1
