"""Open a container of sounds and pictures: by its content, never by name or address, and only in formats that were tried here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import av

from encoders.errors import EmptyError, UnreadableError
from encoders.media.kinds import HEAD, Source, is_cut_short, open_source, settle, sniff
from encoders.spec import Modality

# Playlists, concatenations and image sequences are left out: FFmpeg would fetch other files and addresses for them.
_FORMATS = "wav,w64,flac,ogg,mp3,aac,mov,matroska,avi,mpegts,mpeg,flv,asf"


def open_container(stream: BinaryIO) -> Any:
    """The container, to be used in a `with` statement.

    Raises
    ------
    UnreadableError("truncated" | "corrupt")
    """
    # One megabyte a read instead of 32 kB; a packet of WAV as large as FFmpeg allows: both only for speed.
    options = {"format_whitelist": _FORMATS, "max_size": "65536"}
    try:
        return av.open(stream, metadata_errors="replace", buffer_size=2**20, container_options=options)
    except av.FFmpegError as error:
        reason = "truncated" if isinstance(error, EOFError) else "corrupt"
        raise UnreadableError(reason, f"nothing can be played from it ({error.strerror}); replace it, or remove it") from error


def medium_of(name: str, source: Source) -> Modality:
    """What an object is by its name and its content, where a container may hold pictures, sound or both: a cover makes no video.

    Parameters
    ----------
    name : the object's key, path or URI.

    Raises
    ------
    EmptyError, UnreadableError : as `media.settle` raises, and "truncated" or "corrupt" if its tracks cannot be listed.
    """
    with open_source(source) as stream:
        head = stream.read(HEAD)
        medium = settle(name, head)
        if medium not in ("audio", "video") or not _tells_by_tracks(head):
            return medium
        refuse_cut_short(source)
        stream.seek(0)
        with open_container(stream) as container:
            if picture_stream(container) is not None:
                return "video"
            if sound_stream(container) is not None:
                return "audio"
            raise EmptyError("empty", f"the object ({container.format.name}) has neither a picture nor a sound track; remove it")


def refuse_cut_short(source: Source) -> None:
    """UnreadableError("truncated") if the container itself says that there should be more bytes."""
    if is_cut_short(source):
        raise UnreadableError("truncated", "the object ends within a box whose length its header states; upload it again")


def picture_stream(container: Any) -> Any | None:
    """The track of moving pictures: the default one, else the first; covers and thumbnails are none."""
    tracks = [track for track in container.streams.video if not track.disposition & track.disposition.attached_pic]
    return _chosen(tracks)


def sound_stream(container: Any) -> Any | None:
    """The sound track: the default one, else the first."""
    return _chosen(list(container.streams.audio))


def decoder(container: Any, track: Any) -> Any:
    """The track's decoder, bound to one thread.

    Raises
    ------
    UnreadableError("unknown codec")
    """
    if track.codec_context is None:
        raise UnreadableError(
            "unknown codec", f"the object ({container.format.name}) is packed with a codec that FFmpeg does not know; convert it"
        )
    track.codec_context.thread_count = 1
    return track.codec_context


def packets(container: Any, *tracks: Any) -> Iterator[Any]:
    """The packets of some tracks, or of all, and an empty one for each at the end, which makes its decoder give what it holds.

    Raises
    ------
    UnreadableError("corrupt") : the container cannot be read on.
    """
    read, count = container.demux(*tracks), 0
    while True:
        try:
            packet = next(read, None)
        except IndexError:
            return  # PyAV stumbles here over tracks that appeared on the way, when all others have ended
        except MemoryError:  # FFmpeg's own is one of both
            raise
        except av.FFmpegError as error:
            raise UnreadableError("corrupt", f"reading stopped at packet {count} ({error.strerror}); replace it, or remove it") from error
        if packet is None:
            return
        count += 1
        yield packet


def _tells_by_tracks(head: bytes) -> bool:
    return sniff(head) in ("video", "mp4") or head[4:8] == b"ftyp" or head.startswith(b"OggS")


def _chosen(tracks: list[Any]) -> Any | None:
    default = (track for track in tracks if track.disposition & track.disposition.default)
    return next(default, tracks[0] if tracks else None)
