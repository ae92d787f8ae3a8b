"""Real media of every kind that once broke a pipeline like this one, made when they are asked for."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soundfile
from films import Film
from PIL import Image, PngImagePlugin

from encoders.media.kinds import Limits

RATE = 16000


class Case(NamedTuple):
    """An object, and what becomes of it: its modality if it can be embedded, else the reason why not."""

    name: str
    data: bytes
    expected: str


def nasty_media() -> tuple[Case, ...]:
    """All cases, pictures first."""
    return (*nasty_pictures(), *nasty_sounds(), *nasty_texts(), *nasty_videos(), *other_contents())


@cache
def nasty_pictures() -> tuple[Case, ...]:
    """Pictures: odd ones that can be embedded, then broken ones."""
    colour, clear = noise(30, 50), alpha_ramp(30, 50)
    jpeg, png, webp, avif = (encoded(smooth(120, 90), kind) for kind in ("JPEG", "PNG", "WEBP", "AVIF"))
    frames = [Image.fromarray(np.full((20, 30, 3), level, np.uint8)) for level in (200, 10, 90)]
    broken = bytearray(encoded(colour, "PNG"))
    broken[len(broken) // 2] ^= 0xFF
    return (
        Case("one pixel.png", encoded(colour[:1, :1], "PNG"), "image"),
        Case("very wide.png", encoded(np.tile(colour[:1, :1], (1, 100_000, 1)), "PNG"), "image"),
        Case("cmyk.jpg", encoded(Image.fromarray(smooth(40, 60)).convert("CMYK"), "JPEG"), "image"),
        Case("sixteen bits.png", encoded(grey16(30, 40), "PNG"), "image"),
        Case("sixteen bits.tif", encoded(grey16(30, 40), "TIFF"), "image"),
        Case("floating.tiff", encoded(Image.fromarray(np.linspace(0, 1, 1200, dtype=np.float32).reshape(30, 40)), "TIFF"), "image"),
        Case("one bit.bmp", encoded(Image.fromarray(colour).convert("1"), "BMP"), "image"),
        Case("animated.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50), "image"),
        Case("animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), "image"),
        Case("two pages.tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), "image"),
        Case("rotated.jpg", encoded(colour, "JPEG", exif=orientation(6)), "image"),
        Case("broken exif.jpg", encoded(colour, "JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12"), "image"),
        Case("palette.png", transparent_palette(), "image"),
        Case("grey and alpha.png", encoded(Image.fromarray(clear).convert("LA"), "PNG"), "image"),
        Case("alpha.png", encoded(clear, "PNG"), "image"),
        Case("UPPER.AVIF", avif, "image"),
        Case("truncated.jpg", jpeg[: len(jpeg) // 2], "truncated"),
        Case("truncated.png", png[: len(png) // 2], "truncated"),
        Case("truncated.webp", webp[: len(webp) // 2], "truncated"),
        Case("truncated.avif", avif[: len(avif) // 2], "truncated"),
        Case("flipped byte.png", bytes(broken), "corrupt"),
        Case("bomb by header.png", png_header(60_000, 60_000), "too many pixels"),
        Case("bomb.png", encoded(Image.new("1", (10_001, 10_000)), "PNG"), "too many pixels"),
        Case("bomb in a comment.png", comment_bomb(), "corrupt"),
        Case("zero bytes.png", b"", "empty"),
    )


@cache
def nasty_sounds() -> tuple[Case, ...]:
    """Sounds: odd ones that can be embedded, then broken ones."""
    tone = sweep(1.0)
    wav, flac, mp3 = wave(tone), wave(tone, kind="FLAC"), wave(tone, kind="MP3")
    eight = np.stack([tone * k / 8 for k in range(8)], axis=1)
    hole, peak = tone.copy(), tone.copy()
    hole[8000], peak[100] = np.nan, np.inf
    return (
        Case("eight channels.wav", wave(eight), "audio"),
        Case("24 bits.wav", wave(tone, subtype="PCM_24"), "audio"),
        Case("float.wav", wave(tone, subtype="FLOAT"), "audio"),
        Case("double.wav", wave(tone, subtype="DOUBLE"), "audio"),
        Case("8 bits.wav", wave(tone, subtype="PCM_U8"), "audio"),
        Case("telephone.wav", wave(sweep(1.0, 8000), 8000, subtype="ULAW"), "audio"),
        Case("96 kHz.wav", wave(sweep(1.0, 96000), 96000), "audio"),
        Case("8 kHz.wav", wave(sweep(1.0, 8000), 8000), "audio"),
        Case("one sample.wav", wave(tone[1000:1001]), "audio"),
        Case("one sample of 96 kHz.wav", wave(tone[1000:1001], 96000), "audio"),
        Case("open length.wav", with_data_length(wav, 0xFFFFFFFF), "audio"),
        Case("with a cover.mp3", cover() + mp3, "audio"),
        Case("sound.flac", flac, "audio"),
        Case("sound.mp3", mp3, "audio"),
        Case("vorbis.ogg", wave(tone, kind="OGG"), "audio"),
        Case("sound.opus", packed(sweep(1.0, 48000), 48000, "ogg", "libopus"), "audio"),
        Case("sound.m4a", packed(sweep(1.0, 44100), 44100, "ipod", "aac"), "audio"),
        Case("sound.aac", packed(sweep(1.0, 44100), 44100, "adts", "aac"), "audio"),
        Case("truncated.wav", wav[: len(wav) // 2], "truncated"),
        Case("truncated.flac", flac[: len(flac) // 2], "truncated"),
        Case("truncated.mp3", mp3[: len(mp3) // 2], "truncated"),
        Case("header.wav", wav[:30], "corrupt"),
        Case("no samples.wav", wave(tone[:0]), "empty"),
        Case("not a number.wav", wave(hole, subtype="FLOAT"), "not finite"),
        Case("infinite.wav", wave(peak, subtype="DOUBLE"), "not finite"),
        Case("zero bytes.wav", b"", "empty"),
    )


@cache
def nasty_texts() -> tuple[Case, ...]:
    """Texts: odd ones that can be embedded, then broken ones."""
    words = "Ein Bär läuft über den Fluss, café. " * 20
    page = "<!doctype html><title>Bears &amp; dogs</title><script>var hidden = '<p>';</script><style>p {}</style><p>Shown<!-- not --> text"
    return (
        Case("marked.txt", words.encode("utf-8-sig"), "text"),
        Case("wide.txt", words.encode("utf-16"), "text"),
        Case("wide without mark.txt", words.encode("utf-16-le"), "text"),
        Case("latin-1.txt", words.encode("latin-1"), "text"),
        Case("chinese.txt", ("今天天气很好，我们去公园散步。" * 20).encode("gb18030"), "text"),
        Case("cut in a character.md", "今天天气".encode()[:-1], "text"),
        Case("page.html", page.encode(), "text"),
        Case("one word.txt", b"x" * 1_000_000, "text"),
        Case("binary.txt", np.random.default_rng(0).bytes(5000), "not text"),
        Case("zero bytes.txt", b"", "empty"),
        Case("blank.txt", b" \n\t" * 1000, "empty"),
        Case("blank.html", b"<html><script>alert(1)</script><body><p> </p>", "empty"),
    )


@cache
def nasty_videos() -> tuple[Case, ...]:
    """Videos: every container, odd ones that can be embedded, then broken ones."""
    mp4, webm, avi = (
        Film().bytes(),
        Film("webm", "libvpx-vp9", "libopus", sampling_rate=48_000).bytes(),
        Film("avi", "mpeg4", "mp2").bytes(),
    )
    old, transport = Film("mpeg", "mpeg2video", "mp2").bytes(), Film("mpegts").bytes()
    theora = (Path(__file__).parent / "data" / "theora.ogv").read_bytes()
    large = Film(size=(1280, 800), seconds=0.2, audio=None).bytes()
    return (
        Case("film.mp4", mp4, "video"),
        Case("film.m4v", Film("ipod").bytes(), "video"),
        Case("film.mov", Film("mov").bytes(), "video"),
        Case("film.3gp", Film("3gp").bytes(), "video"),
        Case("film.mkv", Film("matroska").bytes(), "video"),
        Case("film.webm", webm, "video"),
        Case("film.avi", avi, "video"),
        Case("film.mpg", old, "video"),
        Case("film.vob", old, "video"),
        Case("film.ts", transport, "video"),
        Case("film.m2ts", Film("mpegts", mux_options=(("mpegts_m2ts_mode", "1"),)).bytes(), "video"),
        Case("film.flv", Film("flv").bytes(), "video"),
        Case("film.wmv", Film("asf", "wmv2", "mp2").bytes(), "video"),
        Case("film.ogv", theora, "video"),
        Case("in pieces.mp4", Film(mux_options=(("movflags", "frag_keyframe+empty_moov"),)).bytes(), "video"),
        Case("silent.mp4", Film(audio=None).bytes(), "video"),
        Case("only sound.mp4", Film(video=None).bytes(), "audio"),
        Case("only sound.webm", Film("webm", None, "libopus", sampling_rate=48_000).bytes(), "audio"),
        Case("one frame.mp4", Film(times=[0.0], audio=None).bytes(), "video"),
        Case("odd.mkv", Film("matroska", size=(33, 17), pix_fmt="yuv444p").bytes(), "video"),
        Case("ten bits.mkv", Film("matroska", "libx265", pix_fmt="yuv420p10le").bytes(), "video"),
        Case("program.ts", b"export const dogs: number = 2;\n", "text"),
        Case("truncated.mp4", mp4[: len(mp4) // 2], "truncated"),
        Case("truncated.webm", webm[: len(webm) // 2], "truncated"),
        Case("truncated.avi", avi[: len(avi) // 2], "truncated"),
        Case("zeroed.mp4", mp4[:500] + bytes(len(mp4) - 500), "corrupt"),
        Case("header.mpg", old[:30], "truncated"),
        Case("no tracks.mp4", b"\0\0\0\x14ftypisom\0\0\2\0isom" + b"\0\0\0\x08moov", "empty"),
        Case("large frames.mp4", large, "too many pixels"),
        Case("long.mp4", Film(seconds=11.0, rate=2).bytes(), "too long"),
        Case("playlist.ts", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", "text"),
        Case("zero bytes.mp4", b"", "empty"),
    )


@cache
def other_contents() -> tuple[Case, ...]:
    """Objects whose name and content disagree."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.txt", "a")
    return (
        Case("picture.txt", encoded(noise(8, 8), "PNG"), "image"),
        Case("sound.txt", wave(sweep(0.5)), "audio"),
        Case("words.png", b"A dog barks in the rain.", "text"),
        Case("picture.wav", encoded(noise(8, 8), "JPEG"), "image"),
        Case("video.mp3", silent_video(), "video"),
        Case("video.png", silent_video(), "video"),
        Case("index at the end.m4a", silent_video(index_first=False), "video"),
        Case("document.txt", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n", "other content"),
        Case("archive.png", archive.getvalue(), "other content"),
        Case("packed.txt", gzip.compress(b"A dog barks in the rain.", mtime=0), "other content"),
    )


def small_limits() -> Limits:
    """Limits that every case above keeps which is not a bomb."""
    return Limits(bytes=2_000_000, pixels=1_000_000, sound_seconds=10.0, characters=1_000_000, video_seconds=10.0, frame_pixels=1_000_000)


def noise(height: int, width: int) -> np.ndarray:
    """A picture of which no two pixels are alike, uint8 (height, width, 3)."""
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """A picture that lossy formats keep well, uint8 (height, width, 3)."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([255 * x, 255 * y, 127 * (x + y)], axis=-1).astype(np.uint8)


def alpha_ramp(height: int, width: int) -> np.ndarray:
    """A picture that is clear on its left and opaque on its right, uint8 (height, width, 4)."""
    alpha = np.broadcast_to(np.linspace(0, 255, width).astype(np.uint8), (height, width))
    return np.dstack([noise(height, width), alpha])


def grey16(height: int, width: int) -> np.ndarray:
    """All the range of sixteen bits, uint16 (height, width)."""
    return np.linspace(0, 65535, height * width).astype(np.uint16).reshape(height, width)


def encoded(picture: np.ndarray | Image.Image, kind: str, **options: object) -> bytes:
    """A picture's file."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def orientation(value: int) -> Image.Exif:
    """EXIF data that say how to turn a picture."""
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def transparent_palette() -> bytes:
    """Four columns of 5 pixels: red, green, blue and red, of which green is half clear and blue is clear."""
    image = Image.fromarray(np.repeat([[0, 1, 2, 0]], 5, axis=0).astype(np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return encoded(image, "PNG", transparency=bytes([255, 128, 0]))


def png_header(width: int, height: int) -> bytes:
    """A PNG of which there is little more than the promise of its size."""
    parts = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(b)) + a + b + struct.pack(">I", zlib.crc32(a + b)) for a, b in parts)


def comment_bomb() -> bytes:
    """A small picture with a comment of 100 MB in 100 kB."""
    comment = PngImagePlugin.PngInfo()
    comment.add_text("Comment", "a" * 100_000_000, zip=True)
    return encoded(noise(2, 2), "PNG", pnginfo=comment)


def sweep(seconds: float, rate: int = RATE) -> np.ndarray:
    """A tone that rises from 200 Hz to 3 kHz, float32 (samples,)."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * (200 + 1400 * t / max(seconds, 1e-9)) * t)).astype(np.float32)


def wave(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    """A sound's file as libsndfile writes it; samples are (n,) or (n, channels)."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def packed(samples: np.ndarray, rate: int, container: str, codec: str) -> bytes:
    """A sound's file as FFmpeg writes it, one channel."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0
        _mux(file, stream, [frame])
    return buffer.getvalue()


def silent_video(index_first: bool = True) -> bytes:
    """An MP4 of five pictures of 64 x 48 and no sound, whose index stands before or after them."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"} if index_first else {}) as file:
        stream = file.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        _mux(file, stream, [av.VideoFrame.from_ndarray(noise(48, 64), format="rgb24") for _ in range(5)])
    return buffer.getvalue()


def with_data_length(wav: bytes, length: int) -> bytes:
    """A WAV whose header says that it holds `length` bytes of samples."""
    place = wav.index(b"data") + 4
    return wav[:place] + struct.pack("<I", length) + wav[place + 4 :]


def cover() -> bytes:
    """An ID3 tag with a picture of 30 kB, as music shops put it before an MP3."""
    picture = encoded(noise(100, 100), "PNG")
    body = b"\x00image/png\x00\x03\x00" + picture
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\x00\x00" + body
    size = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + size + frame


def _mux(file: av.container.OutputContainer, stream: object, frames: Iterable[object]) -> None:
    for frame in (*frames, None):
        file.mux(stream.encode(frame))  # type: ignore[attr-defined]
