"""What an object is, from its name and its first bytes; how large it may be; how to open it."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from encoders.errors import EmptyError, LimitError, UnreadableError
from encoders.signatures import HEAD, sniff
from encoders.spec import MODALITIES, Modality

__all__ = [
    "HEAD",
    "Limits",
    "Source",
    "byte_count",
    "check_bytes",
    "is_cut_short",
    "modality_of",
    "open_source",
    "settle",
    "sniff",
    "type_of",
]

Source = bytes | Path
"""An object for a decoder: small ones as bytes; large ones as a path, which is streamed."""

_EXTENSIONS: dict[str, Modality] = {
    **dict.fromkeys(["jpg", "jpeg", "jpe", "png", "webp", "gif", "bmp", "tif", "tiff", "avif"], "image"),
    **dict.fromkeys(["wav", "flac", "ogg", "oga", "opus", "mp3", "m4a", "aac"], "audio"),
    **dict.fromkeys(["txt", "md", "markdown", "html", "htm"], "text"),
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
    """

    bytes: int = 4 * 2**30
    pixels: int = 100_000_000
    sound_seconds: float = 12 * 3600.0
    characters: int = 100_000_000


def type_of(name: str) -> str:
    """The extension of an object's name, in lower case and without its dot, for counting what is skipped: "mp4", "pdf", "(none)"."""
    extension = PurePosixPath(name).suffix[1:].lower()
    return extension if extension.isalnum() and len(extension) <= 12 else "(none)"


def modality_of(name: str) -> Modality | None:
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
    UnreadableError("other content") : it is a video, an archive, a document … under the name of a picture, sound or text.
    """
    named, found = modality_of(name), sniff(head)
    if found == "empty":
        raise EmptyError("empty", "the object has no bytes; upload it again or remove it")
    if found in MODALITIES:
        return found
    if named and (found == "unknown" or (named == "audio" and found == "mp4")):
        return named
    kind = "of an unknown kind" if found == "unknown" else f"{found} data"
    wanted = f"named as {named} ({type_of(name)})" if named else f"named as {type_of(name)}"
    raise UnreadableError("other content", f"the object is {wanted} but its content is {kind}; rename it to what it is, or replace it")


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
    """Whether the outermost boxes of a WebP, AVIF or MP4 say that there are more bytes than came: their decoders do not tell."""
    size, end = byte_count(source), 0
    with open_source(source) as stream:
        head = stream.read(12)
        if head[8:] == b"WEBP":
            return int.from_bytes(head[4:8], "little") + 8 > size
        is_box = head[4:8] == b"ftyp"
        while is_box and end < size and (length := int.from_bytes(head[:4], "big")) >= 8:
            end += length
            stream.seek(end)
            head = stream.read(8)
            is_box = head[4:].isalpha()
    return end > size
