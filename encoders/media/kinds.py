"""What an object is, from its name and its first bytes; how large it may be; how to open it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from encoders.errors import EmptyError, LimitError, UnreadableError
from encoders.media.signatures import HEAD, sniff
from encoders.spec import MODALITIES, Modality

__all__ = [
    "HEAD",
    "Limits",
    "Source",
    "byte_count",
    "check_bytes",
    "is_cut_short",
    "medium_by_name",
    "open_source",
    "settle",
    "sniff",
    "type_of",
]

_EBML, _MATROSKA_SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"
_OPEN_LENGTH = 0x7FFFF000  # recorders that do not know a length write the largest number

Source = bytes | Path
"""An object for a decoder: small ones as bytes; large ones as a path, which is streamed."""

_EXTENSIONS: dict[str, Modality] = {
    **dict.fromkeys(["jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"], "image"),
    **dict.fromkeys(["wav", "flac", "ogg", "oga", "opus", "mp3", "m4a", "aac"], "audio"),
    **dict.fromkeys(["txt", "md", "markdown", "html", "htm"], "text"),
    **dict.fromkeys(
        ["mp4", "m4v", "mov", "3gp", "webm", "mkv", "avi", "mpg", "mpeg", "vob", "ts", "mts", "m2ts", "ogv", "flv", "wmv"], "video"
    ),
}


@dataclass(frozen=True)
class Limits:
    """How large one object may be; checked before it is decoded.

    Parameters
    ----------
    bytes : of the whole object.
    pixels : width times height, from the picture's header. Pillow's own bound of 178,956,970 stands above it.
    sound_seconds : from the sound's header where it says so, and again while decoding.
    characters : of a text before tags are stripped.
    video_seconds : as of a sound.
    frame_pixels : width times height of a video's frames, before they are decoded; a decoder holds up to 17 frames.
    """

    bytes: int = 4 * 2**30
    pixels: int = 100_000_000
    sound_seconds: float = 12 * 3600.0
    characters: int = 100_000_000
    video_seconds: float = 12 * 3600.0
    frame_pixels: int = 36_000_000


def type_of(name: str) -> str:
    """The extension of an object's name, in lower case and without its dot, for counting what is skipped: "pdf", "zip", "(none)"."""
    extension = PurePosixPath(name).suffix[1:].lower()
    return extension if extension.isalnum() and len(extension) <= 12 else "(none)"


def medium_by_name(name: str) -> Modality | None:
    """What an object seems to be by its extension, or None for a type that is not read."""
    return _EXTENSIONS.get(type_of(name))


def settle(name: str, head: bytes) -> Modality:
    """What an object is, where name and content may contradict each other: content decides.

    Parameters
    ----------
    name : the object's key, path or URI.
    head : its first `HEAD` bytes, or all if it is smaller.

    Raises
    ------
    EmptyError("empty") : it has no bytes.
    UnreadableError("other content") : it is an archive, a document … under the name of a picture, sound, text or video.
    """
    named, found = medium_by_name(name), sniff(head)
    if found == "empty":
        raise EmptyError("empty", "the object has no bytes; upload it again or remove it")
    if found in MODALITIES:
        return found
    if found == "mp4":
        return "audio" if named == "audio" else "video"
    if named and found == "unknown":
        return named
    if named is None:
        raise UnreadableError(
            "other content", f"{_kind(name, found)} is nothing that is embedded or asked with; give a picture, sound, video or text"
        )
    raise UnreadableError(
        "other content",
        f"the object is named as {named} ({type_of(name)}) but its content is {found} data; rename it to what it is, or replace it",
    )


def _kind(name: str, found: str) -> str:
    """What an object is called that is no medium: "pdf", "docx (zip data)", "zip data"."""
    kind, content = type_of(name), "data of an unknown kind" if found == "unknown" else f"{found} data"
    if kind == "(none)":
        return content
    return kind if kind == found else f"{kind} ({content})"


def open_source(source: Source) -> BinaryIO:
    """The object as a binary stream at its beginning; use it in a `with` statement."""
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def byte_count(source: Source) -> int:
    """Size of the object in bytes."""
    return len(source) if isinstance(source, bytes) else source.stat().st_size


def check_bytes(source: Source, limits: Limits) -> int:
    """Size of the object in bytes, if it has any and no more than allowed.

    Raises
    ------
    EmptyError("empty"), LimitError("too many bytes")
    """
    size = byte_count(source)
    if size == 0:
        raise EmptyError("empty", "the object has no bytes; upload it again or remove it")
    if size > limits.bytes:
        raise LimitError("too many bytes", f"the object has {size:,} bytes, allowed are {limits.bytes:,}; raise the limit or split it")
    return size


def is_cut_short(source: Source) -> bool:
    """Whether the container itself says that there are more bytes than came, which decoders do not tell.

    The outermost boxes of an AVIF or MP4, the chunks of a WebP or AVI, and the segment of a Matroska or WebM are looked at.
    """
    size = byte_count(source)
    with open_source(source) as stream:
        head = stream.read(64)
        if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI "):
            length = int.from_bytes(head[4:8], "little")
            return length < _OPEN_LENGTH and length + 8 > size
        if head[:4] == _EBML:
            return _matroska_end(head) > size
        return head[4:8] == b"ftyp" and _boxes_end(stream, size) > size


def _boxes_end(stream: BinaryIO, size: int) -> int:
    """Where the last of the outermost boxes of an ISO base media file ends; a box may state its length in 32 or 64 bits."""
    end, is_box = 0, True
    while is_box and end < size:
        stream.seek(end)
        head = stream.read(16)
        length = int.from_bytes(head[8:] if head[:4] == b"\0\0\0\1" else head[:4], "big")
        is_box = head[4:8].isalpha() and length >= 8
        end += length if is_box else 0
    return end


def _matroska_end(head: bytes) -> int:
    """Where the one segment of a Matroska ends: 0 if its length is open, as that of a stream that was recorded live."""
    length, place = _ebml_number(head, 4)
    place += length
    if head[place : place + 4] != _MATROSKA_SEGMENT:
        return 0
    length, place = _ebml_number(head, place + 4)
    return length + place if length else 0


def _ebml_number(head: bytes, place: int) -> tuple[int, int]:
    """A number whose leading zeros tell its bytes (RFC 8794, section 4), 0 if all its bits are ones; and the place behind it."""
    if place >= len(head) or not head[place]:
        return 0, place
    width = 9 - head[place].bit_length()
    whole = int.from_bytes(head[place : place + width], "big") & ((1 << 7 * width) - 1)
    return (0 if whole == (1 << 7 * width) - 1 else whole), place + width
