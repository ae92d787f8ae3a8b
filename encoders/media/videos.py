"""From a video's bytes to frames, clips and windows of its sound, in one pass, by one clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import av
import numpy as np

from encoders.errors import EmptyError, LimitError, UnreadableError
from encoders.media.clips import ClipMaker
from encoders.media.containers import decoder, open_container, packets, picture_stream, refuse_cut_short, sound_stream
from encoders.media.frames import Canvas, Frame, FrameChoice, FrameChooser, check_pixels
from encoders.media.kinds import Limits, Source, check_bytes, open_source
from encoders.media.sound_track import SoundTrack
from encoders.media.sounds import mono
from encoders.spec import Modality, Spec

_PROMISING = ("mov", "matroska", "avi", "flv", "asf")  # containers whose header states a length; others are asked what they have
_FASTEST = 1000  # frames a second that a header may tell; what tells more, tells the ticks of its clock
_BACK = 1.0  # seconds that a clock may go back before it is a broken one


@dataclass(frozen=True)
class Part:
    """One segment of a video.

    Parameters
    ----------
    modality : "image" for a frame, "video" for a clip, "audio" for a window of the sound.
    start, end : seconds by the video's clock.
    medium : what an encoder of that modality prepares.
    """

    modality: Modality
    start: float
    end: float
    medium: np.ndarray


def parts(
    source: Source,
    specs: Mapping[Modality, Spec],
    choice: FrameChoice | None = None,
    limits: Limits | None = None,
    alive: Callable[[], None] = lambda: None,
) -> Iterator[Part]:
    """Decode a video once and give what each encoder reads of it, as it comes.

    Time 0 is where the container starts, as in players (mpv, ffmpeg): the earliest of all tracks, or 0 if that is later than some track's
    lead-in. Frames and sounds keep their distance: edit lists, start offsets, a delayed track, a variable frame rate and the priming of
    sound codecs are all in the time stamps that are read, never in counts of frames.

    Parameters
    ----------
    source : MP4, QuickTime, 3GP, Matroska, WebM, AVI, MPEG-PS, MPEG-TS, Ogg, FLV or ASF; streamed, so that a path of any size does.
    specs : "image" gets frames, "video" gets clips instead of them, "audio" gets windows of the sound track.
    choice : which frames.
    limits : length and pixels are checked from the header where that tells them, and again while decoding.
    alive : called whenever something was read.

    Raises
    ------
    EmptyError("empty"), LimitError("too many bytes" | "too long" | "too many pixels"),
    UnreadableError("corrupt" | "truncated" | "no sound" | "unknown codec" | "not finite")
        also after some parts have been given: take an object's parts only when all have come.
    """
    limits = limits or Limits()
    check_bytes(source, limits)
    refuse_cut_short(source)
    with open_source(source) as stream, open_container(stream) as container:
        run = _Pass(container, limits)
        takers = _takers(container, specs, choice or FrameChoice(), limits, run)
        if not takers:
            raise UnreadableError("no sound", f"the video ({container.format.name}) has no track that this space reads: {', '.join(specs)}")
        yield from run.parts(takers, alive)


class _Taker(Protocol):
    def take(self, time: float | None, frame: Any) -> Iterator[Part]: ...

    def finish(self) -> Iterator[Part]: ...


class _Pass:
    """One reading of a container from its beginning to its end."""

    def __init__(self, container: Any, limits: Limits) -> None:
        self._container, self._limits = container, limits
        self.origin = max(0.0, (container.start_time or 0) / av.time_base)
        self._promises = container.format.name.startswith(_PROMISING)
        self.seconds = (container.duration or 0) / av.time_base
        if not self._promises and self.seconds > limits.video_seconds:
            self.seconds = 0.0  # estimated from the last time stamps: those of another recording, most likely
        self._packets = self._damaged = 0
        self._end = 0.0
        self._check_length(self.seconds)

    def parts(self, takers: Mapping[int, _Taker], alive: Callable[[], None]) -> Iterator[Part]:
        """All parts, as their tracks come; the pictures' last ones before the sound's."""
        given = 0
        for index, frame in self._frames(takers, alive):
            for part in takers[index].take(self._time(frame), frame):
                given += 1
                yield part
        self._refuse_damage()
        for taker in takers.values():
            for part in taker.finish():
                given += 1
                yield part
        if not given:
            raise EmptyError("empty", "the video has neither a frame nor a sound that can be decoded; remove it")

    def _frames(self, takers: Mapping[int, _Taker], alive: Callable[[], None]) -> Iterator[tuple[int, Any]]:
        for packet in packets(self._container):
            alive()
            self._follow(packet)
            if packet.stream_index in takers:
                yield from ((packet.stream_index, frame) for frame in self._decode(packet))

    def _decode(self, packet: Any) -> list[Any]:
        self._packets += 1
        if not packet.size and packet.pts is not None:
            return []  # Theora and AVI say so that the picture stays as it is; a decoder would take it for the end
        try:
            return list(packet.decode())
        except MemoryError:
            raise
        except av.FFmpegError:
            self._damaged += 1
            return []

    def _follow(self, packet: Any) -> None:
        """Whatever the track, a packet tells how far the container reaches."""
        if packet.pts is not None and packet.time_base:
            self._end = max(self._end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - self.origin)

    def _time(self, frame: Any) -> float | None:
        if frame.pts is None or not frame.time_base:
            return None
        time = float(frame.pts * frame.time_base) - self.origin
        self._check_length(time)
        return time

    def _check_length(self, seconds: float) -> None:
        if seconds > self._limits.video_seconds * (1 + 1e-9):
            raise LimitError(
                "too long",
                f"the video lasts {seconds:,.0f} s or more, allowed are {self._limits.video_seconds:,.0f} s; raise the limit or split it",
            )

    def _refuse_damage(self) -> None:
        if self._damaged > max(1, self._packets // 100):
            raise UnreadableError("corrupt", f"{self._damaged} of {self._packets} packets cannot be decoded; replace it, or remove it")
        # Lengths in headers are often a little wrong; a container that was cut short mostly says so itself, and was refused.
        if self._promises and self._end < 0.95 * self.seconds - 2.0:
            raise UnreadableError(
                "truncated", f"only {self._end:.1f} s of the {self.seconds:.1f} s that the header promises are there; upload it again"
            )


def _takers(container: Any, specs: Mapping[Modality, Spec], choice: FrameChoice, limits: Limits, run: _Pass) -> dict[int, _Taker]:
    takers: dict[int, _Taker] = {}
    picture, sound = picture_stream(container), sound_stream(container)
    if picture is not None and ("video" in specs or "image" in specs):
        context = decoder(container, picture)
        check_pixels(context.width, context.height, limits)
        context.options = {"max_pixels": str(limits.frame_pixels)}
        canvas = Canvas(picture.sample_aspect_ratio, limits)
        if "video" in specs:
            takers[picture.index] = _Pictures("video", ClipMaker(specs["video"].preprocessing, canvas), picture)
        else:
            takers[picture.index] = _Pictures("image", FrameChooser(choice, run.seconds, canvas), picture)
    if sound is not None and "audio" in specs:
        decoder(container, sound)
        how = specs["audio"].preprocessing
        stop = _stated_end(container, sound, run.origin)
        takers[sound.index] = _Sounds(SoundTrack(how["sampling_rate"], how["window_samples"]), stop)
    return takers


def _stated_end(container: Any, track: Any, origin: float) -> float:
    """When a track of an MP4 ends: its last packet is filled up to a whole frame of the codec. Infinity elsewhere."""
    if not container.format.name.startswith("mov") or not track.duration:
        return float("inf")
    return float(((track.start_time or 0) + track.duration) * track.time_base) - origin


class _Viewer(Protocol):
    def see(self, time: float, frame: Any) -> Iterator[Frame]: ...

    def finish(self, time: float) -> Iterator[Frame]: ...


class _Pictures:
    """Frames of the picture track on their way to a chooser or a maker of clips."""

    def __init__(self, modality: Modality, viewer: _Viewer, track: Any) -> None:
        self._modality, self._viewer = modality, viewer
        self._usual = float(1 / track.average_rate) if track.average_rate and track.average_rate <= _FASTEST else 1 / 25
        self._last = self._end = 0.0

    def take(self, time: float | None, frame: Any) -> Iterator[Part]:
        time = self._end if time is None else time
        if time < self._last - _BACK:
            raise UnreadableError("corrupt", f"the clock goes back from {self._last:.1f} s to {time:.1f} s; pack the video again")
        self._last = max(self._last, time)
        self._end = self._last + (float(frame.duration * frame.time_base) if frame.duration and frame.time_base else self._usual)
        return self._named(self._viewer.see(self._last, frame))

    def finish(self) -> Iterator[Part]:
        return self._named(self._viewer.finish(self._end))

    def _named(self, frames: Iterator[Frame]) -> Iterator[Part]:
        return (Part(self._modality, frame.start, frame.end, frame.pixels) for frame in frames)


class _Sounds:
    """Frames of the sound track on their way to windows."""

    def __init__(self, track: SoundTrack, stop: float) -> None:
        self._track, self._stop = track, stop
        self._last = 0.0

    def take(self, time: float | None, frame: Any) -> Iterator[Part]:
        if time is not None:
            if time < self._last - _BACK:
                raise UnreadableError("corrupt", f"the clock goes back from {self._last:.1f} s to {time:.1f} s; pack the video again")
            self._last = max(self._last, time)
        samples, begin = mono(frame), self._track.end if time is None else time
        if begin < self._stop < begin + len(samples) / frame.sample_rate:
            samples = samples[: round((self._stop - begin) * frame.sample_rate)]
        for window in self._track.push(time, frame.sample_rate, samples):
            yield Part("audio", window.start, window.end, window.samples)

    def finish(self) -> Iterator[Part]:
        for window in self._track.finish():
            yield Part("audio", window.start, window.end, window.samples)
