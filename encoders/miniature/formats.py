"""Pictures, sounds and texts as the bytes of a file. The same content gives the same bytes."""

from __future__ import annotations

import html
import io
import zlib
from collections.abc import Sequence

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from encoders.miniature.captions import Language
from encoders.miniature.synthesis import RATE

PICTURES = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP"}
SOUNDS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
TEXTS = (".txt", ".md", ".html")

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
