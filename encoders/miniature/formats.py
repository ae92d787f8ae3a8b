"""Pictures, sounds, texts and videos as the bytes of a file. The same content gives the same bytes."""

from __future__ import annotations

import html
import io
import zlib
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from encoders.miniature.captions import Language
from encoders.miniature.synthesis import RATE

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}
SOUNDS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
TEXTS = (".txt", ".md", ".html")
VIDEOS = {".mp4": ("mp4", "libx264", "aac"), ".webm": ("webm", "libvpx", "libopus")}
# With one quantiser for all: what x264's rate control looks ahead for (mbtree) now and then makes other bytes of the same pictures.
OPTIONS = {"libx264": {"qp": "22"}}
FRAME_RATE = 5

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def picture_bytes(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """A picture (height, width, 3) as PNG, JPEG or WebP."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, PICTURES[suffix], quality=90)
    return file.getvalue()


def sound_bytes(wave: NDArray[np.float32], suffix: str) -> bytes:
    """A sound (samples,) within [-1, 1] as 16-bit WAV or FLAC, or as Ogg Vorbis; mono at RATE."""
    container, subtype = SOUNDS[suffix]
    file = io.BytesIO()
    soundfile.write(file, wave, RATE, format=container, subtype=subtype)
    return _with_serial(file.getvalue(), b"mini") if container == "OGG" else file.getvalue()


def text_bytes(paragraphs: Sequence[str], suffix: str, language: Language) -> bytes:
    """Paragraphs as UTF-8; in Markdown and HTML the first of several is the heading."""
    if suffix == ".html":
        heading = f"<h1>{html.escape(paragraphs[0])}</h1>\n" if len(paragraphs) > 1 else ""
        body = "".join(f"<p>{html.escape(p)}</p>\n" for p in paragraphs[len(paragraphs) > 1 :])
        title = html.escape(paragraphs[0])
        head = f'<!doctype html>\n<html lang="{language}">\n<head><meta charset="utf-8"><title>{title}</title></head>\n'
        return f"{head}<body>\n{heading}{body}</body>\n</html>\n".encode()
    mark = "# " if suffix == ".md" and len(paragraphs) > 1 else ""
    return (mark + "\n\n".join(paragraphs) + "\n").encode()


def video_bytes(pictures: Sequence[NDArray[np.uint8]], waves: Sequence[NDArray[np.float32]], suffix: str) -> bytes:
    """Pictures (height, width, 3), each seen while its sound (samples,) at RATE is heard, one after the other."""
    container, picture_codec, sound_codec = VIDEOS[suffix]
    file = io.BytesIO()
    with av.open(file, "w", format=container, options={"fflags": "+bitexact"}) as video:  # no time of day, no random numbers
        picture: Any = video.add_stream(picture_codec, rate=FRAME_RATE, options=OPTIONS.get(picture_codec, {}))
        picture.height, picture.width = pictures[0].shape[:2]
        picture.pix_fmt, picture.codec_context.thread_count = "yuv420p", 1
        sound: Any = video.add_stream(sound_codec, rate=RATE, layout="mono")
        packets = [*_packets(picture, _frames(pictures, waves)), *_packets(sound, _pieces(np.concatenate(waves)))]
        for packet in sorted(packets, key=lambda packet: float(packet.dts * packet.time_base)):
            video.mux(packet)
    return file.getvalue()


def _frames(pictures: Sequence[NDArray[np.uint8]], waves: Sequence[NDArray[np.float32]]) -> Iterator[av.VideoFrame]:
    ends = np.cumsum([len(wave) for wave in waves]) / RATE  # seconds
    for number in range(int(ends[-1] * FRAME_RATE)):
        shown = int(np.searchsorted(ends, number / FRAME_RATE, side="right"))
        frame = av.VideoFrame.from_ndarray(pictures[shown], format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
        yield frame


def _pieces(wave: NDArray[np.float32], samples: int = 1024) -> Iterator[av.AudioFrame]:
    for start in range(0, len(wave), samples):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + samples], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield frame


def _packets(track: Any, frames: Iterator[Any]) -> Iterator[Any]:
    for frame in frames:
        yield from track.encode(frame)
    yield from track.encode(None)


def _with_serial(ogg: bytes, serial: bytes) -> bytes:
    """The Ogg stream under another serial number: libsndfile draws one by the clock, so that no two files are alike.

    Source: RFC 3533, section 6: serial number at byte 14 of each page, checksum at byte 22, lacing values from byte 27.
    """
    pages, start = bytearray(ogg), 0
    while start < len(pages):
        lacing = pages[start + 27 : start + 27 + pages[start + 26]]
        end = start + 27 + len(lacing) + sum(lacing)
        pages[start + 14 : start + 18] = serial
        pages[start + 22 : start + 26] = bytes(4)
        pages[start + 22 : start + 26] = _ogg_checksum(bytes(pages[start:end]))
        start = end
    return bytes(pages)


def _ogg_checksum(page: bytes) -> bytes:
    """Ogg's CRC-32 takes the highest bit first and starts from zero; zlib's does neither, so bits are mirrored and the start undone."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2).to_bytes(4, "little")
