"""What the first bytes of an object say it is."""

from __future__ import annotations

from encoders.media.charset import is_text

HEAD = 4096
"""Bytes that `sniff` looks at."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image"),  # JPEG
    (0, b"\x89PNG\r\n\x1a\n", "image"),
    (0, b"GIF87a", "image"),
    (0, b"GIF89a", "image"),
    (8, b"WEBP", "image"),
    (0, b"II*\x00", "image"),  # TIFF, then BigTIFF
    (0, b"MM\x00*", "image"),
    (0, b"II+\x00", "image"),
    (0, b"MM\x00+", "image"),
    (8, b"WAVE", "audio"),
    (0, b"fLaC", "audio"),
    (0, b"ID3", "audio"),
    (0, b"%PDF-", "pdf"),
    (0, b"%!PS", "postscript"),
    (0, b"{\\rtf", "rtf"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (257, b"ustar", "tar"),
    (0, b"\x7fELF", "elf"),
    (0, b"MZ", "exe"),
    (0, b"SQLite format 3\x00", "sqlite"),
    (0, b"PAR1", "parquet"),
    (0, b"ARROW1", "arrow"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"8BPS", "psd"),
    (0, b"\x00\x00\x01\x00", "ico"),
    (0, b"\xff\x0a", "jpeg xl"),
    (0, b"\x00\x00\x00\x0cJXL ", "jpeg xl"),
    (0, b"\x00\x00\x00\x0cjP  ", "jpeg 2000"),
    (0, b"MThd", "midi"),
    (8, b"AIFF", "aiff"),
    (8, b"AIFC", "aiff"),
    (8, b"AVI ", "video"),
    (0, b"\x1aE\xdf\xa3", "video"),  # Matroska, WebM
    (0, b"\x00\x00\x01\xba", "video"),  # MPEG
    (0, b"\x00\x00\x01\xb3", "video"),
    (0, b"FLV\x01", "video"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "video"),  # ASF: WMV
)
_ASCII_FORMATS = frozenset({"pdf", "postscript", "rtf"})


def sniff(head: bytes) -> str:
    """What the first `HEAD` bytes say.

    Readable text without a NUL is "text" even if it begins like a binary format ("BM", "RIFF").

    Returns
    -------
    "image", "audio", "text" or "video" for the formats that are read; the word of a format that is not read ("pdf", "zip", …); "mp4"
    for a container that does not tell here whether it holds pictures; "empty"; "unknown". Whether a container holds pictures is certain
    only when its tracks are listed: `containers.medium_of`.
    """
    head = head[:HEAD]
    if not head:
        return "empty"
    magic, word = _magic(head)
    word = word or _structure(head)
    certain = word in _ASCII_FORMATS or not magic.isascii() or not magic.decode().isprintable() or (word and 0 in head)
    return word if certain else "text" if is_text(head) else word or "unknown"


def _magic(head: bytes) -> tuple[bytes, str]:
    for offset, magic, word in _SIGNATURES:
        if head.startswith(magic, offset):
            return magic, word
    return b"", ""


def _structure(head: bytes) -> str:
    """The word of a format that no fixed bytes tell, or ""."""
    if _is_mpeg_audio(head):
        return "audio"
    if head.startswith(b"OggS"):
        return "video" if b"theora" in head[:256] else "audio"
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "image"
    if head[4:8] == b"ftyp":
        return _iso_media(head)
    is_quicktime = head[4:8] in (b"moov", b"mdat", b"wide") and head[:4] < b"\x10"
    # A Blu-ray's packets have four bytes more, of time.
    transport = any(
        len(head) > start + 2 * step and head[start : start + 2 * step + 1 : step] == b"GGG" for start, step in ((0, 188), (4, 192))
    )
    return "video" if is_quicktime or transport else ""


def _is_mpeg_audio(head: bytes) -> bool:
    """Whether `head` begins with a frame of MPEG audio (layer II or III; a mark of UTF-16 would be layer I) or of AAC in ADTS."""
    if len(head) < 4 or head[0] != 0xFF:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    is_mpeg = head[1] >= 0xE0 and version != 1 and layer in (1, 2) and head[2] >> 4 != 15 and head[2] >> 2 & 3 != 3
    is_adts = head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13
    return is_mpeg or is_adts


def _iso_media(head: bytes) -> str:
    """Picture, sound or video in an ISO base media file, by its brands, else by the track handlers if the index stands at the front."""
    brands = head[8 : int.from_bytes(head[:4], "big")]
    if b"avif" in brands or b"avis" in brands:
        return "image"
    if brands[:4] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        return "heif"
    if brands[:3] in (b"M4A", b"M4B", b"M4P"):
        return "audio"
    if b"vide" in head or brands[:2] == b"qt":
        return "video"
    return "audio" if b"soun" in head else "mp4"
