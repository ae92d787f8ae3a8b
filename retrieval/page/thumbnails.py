"""Small pictures of objects: of a picture its pixels, of a video the frame on display at some second; as WebP, whatever the object is."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from retrieval.page.items import Item
from retrieval.page.kept import Kept
from retrieval.page.library import Library

if TYPE_CHECKING:
    import numpy as np

    from storage.objects import Source

SIZES = {"card": 480, "whole": 1600}
"""Longest side in pixels: of a card at twice its width, and of the whole view."""

QUALITY = 82
FETCHED = 512 << 20  # bytes of one picture or sound that are brought here to be decoded
BLOCK = 256 << 10  # bytes of a video that are read at once: a frame takes some of them
FRAMES = 900  # frames decoded on the way from a key frame to the one that is wanted

_kept: Kept[tuple[str, str, float], bytes] = Kept(128 << 20, len)


def thumbnail(library: Library, item: Item, size: str, at: float) -> bytes:
    """A picture of an object as WebP.

    Parameters
    ----------
    size : one of `SIZES`.
    at : of a video, the second whose frame is wanted.

    Raises
    ------
    ObjectError : it is not what was embedded any more, or cannot be read.
    MediumError : it cannot be decoded, or is a sound or a text.
    """
    from encoders.errors import UnreadableError

    if item.medium not in _PIXELS:
        raise UnreadableError("no picture", f"{item.name} is {item.medium}, of which there is no picture")
    source, uri = library.place(item)
    key = (item.content_hash, size, at if item.medium == "video" else 0.0)
    if (known := _kept.get(key)) is not None:
        return known
    made = _webp(_PIXELS[item.medium](source, uri, item, at), SIZES[size])
    _kept.put(key, made)
    return made


@contextmanager
def fetched(source: Source, uri: str) -> Iterator[Path]:
    """An object as a file, for as long as it is needed."""
    with tempfile.TemporaryDirectory(prefix="sensorium-page-") as folder:
        yield source.fetch(uri, Path(folder), FETCHED)


def _picture(source: Source, uri: str, _: Item, __: float) -> np.ndarray:
    from encoders.media import pictures

    with fetched(source, uri) as path:
        return pictures.decode(path)


def _frame(source: Source, uri: str, item: Item, at: float) -> np.ndarray:
    """The frame on display at a second, or the last one before it that can be decoded; reads no more of the video than that takes."""
    import av

    from encoders.errors import UnreadableError
    from encoders.media.containers import decoder, open_container, picture_stream
    from encoders.media.frames import Canvas
    from encoders.media.kinds import Limits

    reader: BinaryIO = io.BufferedReader(_Reader(source, uri, item.size), BLOCK)
    with reader, open_container(reader) as container:
        track = picture_stream(container)
        if track is None:
            raise UnreadableError("no picture", f"{item.name} has no picture track")
        decoder(container, track)
        origin = max(0.0, (container.start_time or 0) / av.time_base)
        container.seek(round((at + origin) * av.time_base))
        shown = None
        for n, frame in enumerate(_frames(container, track)):
            if shown is not None and (n > FRAMES or (frame.time is not None and frame.time - origin > at)):
                break
            shown = frame
        if shown is None:
            raise UnreadableError("corrupt", f"no frame of {item.name} can be decoded at {at:.1f} s")
        return Canvas(track.sample_aspect_ratio, Limits()).pixels(shown)


_PIXELS = {"image": _picture, "video": _frame}


def _frames(container: Any, track: Any) -> Iterator[Any]:
    """What can be decoded from here on; damage ends it, for what was decoded until then is shown."""
    import av

    try:
        yield from container.decode(track)
    except av.FFmpegError:
        return


def _webp(pixels: np.ndarray, longest: int) -> bytes:
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


class _Reader(io.RawIOBase):
    """An object of a source as a file that seeks: each read is a request for just these bytes."""

    def __init__(self, source: Source, uri: str, size: int) -> None:
        self._source, self._uri, self._size, self._at = source, uri, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = b"".join(self._source.part(self._uri, self._at, min(self._at + len(view), self._size)))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)
