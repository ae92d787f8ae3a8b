"""What every real bucket also holds: files that are broken, and files of a kind that cannot be embedded."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from encoders.miniature.draw import draw_picture, draw_sound
from encoders.miniature.formats import picture_bytes, sound_bytes
from encoders.miniature.scenes import Scene, Thing

_SCENE = Scene("B", (Thing("dog", "red", "big"),), weather="rain")
_PDF = b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"


def broken(seed: int) -> Mapping[str, tuple[str, bytes]]:
    """Name: (what is wrong, bytes), for files whose names promise a medium that their bytes do not hold."""
    picture, sound = draw_picture(_SCENE, seed, 128), draw_sound(_SCENE, seed)
    png, jpg = picture_bytes(picture, ".png"), picture_bytes(picture, ".jpg")
    wav, flac = sound_bytes(sound, ".wav"), sound_bytes(sound, ".flac")
    return {
        "pictures/upload-interrupted.png": ("ends half way through the pixels", png[: len(png) // 2]),
        "pictures/upload interrupted.jpg": ("ends a third of the way through the pixels", jpg[: len(jpg) // 3]),
        "pictures/empty.webp": ("holds no byte", b""),
        "pictures/scan-of-a-letter.jpg": ("a PDF with the name of a picture", _PDF),
        "pictures/poster-60000x60000.png": ("claims 3.6 gigapixels and holds none", _huge_png(60_000)),
        "sounds/upload-interrupted.wav": ("ends inside its header", wav[:30]),
        "sounds/upload-interrupted.flac": ("ends inside its header", flac[:30]),
        "sounds/damaged.ogg": ("random bytes", b"\0" + np.random.default_rng(seed).bytes(4000)),
        "texts/en/empty.txt": ("holds no character", b""),
    }


def foreign(seed: int) -> Mapping[str, bytes]:
    """Name: bytes, for files of no medium that is read."""
    rng = np.random.default_rng(seed)
    return {
        "documents/manual.pdf": _PDF,
        "documents/last year.zip": _zip({"notes.txt": b"a dog barking\n"}),
        "documents/prices.csv": b"thing,price\ndog,12\ntrain,300\n",
        "models/train.glb": b"glTF" + struct.pack("<II", 2, 1012) + rng.bytes(1000),
        "cache/thumbnails.db": rng.bytes(2000),
        "cache/index": rng.bytes(500),
    }


def _huge_png(width: int) -> bytes:
    """A PNG whose header claims width x width pixels, with data for a few of them."""
    header = struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _zip(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # a ZipInfo of its own carries a fixed date
    return file.getvalue()
