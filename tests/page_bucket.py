"""A small bucket with one of everything that the page shows, and its table."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import soundfile
from buckets import SAMPLES, embed, picture, sound
from films import Film
from PIL import Image

HOSTILE = "<img src=x onerror=alert(1)>\"'&.png"
RATE = 16_000
WINDOW = 49_152  # samples of the miniature's windows
STORY = [
    f"{n}. A big {colour} dog barks at a small white cat in the rain." for n, colour in enumerate(["red", "blue", "green", "black"] * 30)
]


def page_bucket(folder: Path) -> Path:
    """Six pictures, one of them named like markup, a TIFF, three sounds, a video, two texts, a table of two rows, and two broken files."""
    for n in range(1, 5):
        _copy(f"picture_{n}.png", folder / "pictures" / f"{n}.png")
    _copy("picture_5.png", folder / "pictures" / HOSTILE)
    _copy("picture_6.png", folder / "pictures" / "图片 #6 100%.png")
    Image.open(SAMPLES / "picture_1.png").save(folder / "pictures" / "scan.tiff")
    (folder / "pictures" / "broken.png").write_bytes(picture(1)[:200])
    (folder / "pictures" / "drawing.png").write_text('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(2)</script></svg>')
    (folder / "sounds").mkdir()
    for name, part in {"long.wav": long_sound(), "moment.wav": long_sound()[2 * WINDOW :]}.items():
        soundfile.write(folder / "sounds" / name, part, RATE)
    (folder / "sounds" / "noise.wav").write_bytes(sound(5, 3.2))
    (folder / "videos").mkdir()
    Film(seconds=6.0, flash=4.0, beep=4.0).write(folder / "videos" / "flash.mp4")
    (folder / "texts").mkdir()
    (folder / "texts" / "story.md").write_text("\n\n".join(STORY))
    (folder / "texts" / "page.html").write_text("<p>a blue train by the sea</p><script>alert(3)</script>")
    (folder / "texts" / "empty.txt").write_bytes(b"")
    lines = [{"id": n, "body": body} for n, body in enumerate(["a yellow bird sings", "一只白色的猫 <b>bold</b>"])]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def page_table(folder: Path) -> tuple[Path, Path]:
    """The bucket and the database that holds it."""
    bucket, database = page_bucket(folder / "bucket"), folder / "lance"
    embed(bucket, database, workers=1, tables={"text": "body", "id": "id"}, floor=0.1)
    return bucket, database


def long_sound() -> np.ndarray:
    """Three windows, float32: each of another sound of the miniature's world."""
    sounds = [soundfile.read(SAMPLES / f"sound_{n}.wav", dtype="float32")[0][:WINDOW] for n in (1, 2, 3)]
    return np.concatenate([np.pad(sound, (0, WINDOW - len(sound))) for sound in sounds])


def png(size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture to drop."""
    buffer = io.BytesIO()
    Image.new("RGB", size, "orange").save(buffer, "PNG")
    return buffer.getvalue()


def _copy(name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(SAMPLES / name, target)
