"""What `sensorium show` tells of a file: where its segments lie, and pictures of what its encoders see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from encoders.spec import Space
from encoders.spectrogram import band_centres
from tasks import draw
from tasks.show import Seen, show
from tasks.token_page import page

_UNITS = {"text": "characters", "image": "", "audio": "s", "video": "s"}
_FRAMES = 8  # of a clip that are drawn


def show_file(path: Path, space: Space, folder: Path, most: int) -> dict[str, Any]:
    """Write pictures of a file's first segments, and tell of all.

    Parameters
    ----------
    folder : where the pictures go; is made if there is something to write.
    most : most segments of each modality that are drawn.

    Returns
    -------
    {"file", "space", "segments": [{"segment", "modality", "encoder", "start", "end", "unit", "inputs": {name: shape}}], "written": paths}
    """
    rows, written, drawn = [], [], Counter[str]()
    texts: list[Seen] = []
    for seen in show(space, path):
        rows.append(_row(seen))
        drawn[seen.modality] += 1
        if drawn[seen.modality] > most:
            continue
        if seen.modality == "text":
            texts.append(seen)
            continue
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{path.stem}-{seen.number:04d}-{seen.modality}.png"
        _drawn(seen).save(target)
        written.append(str(target))
    if texts:
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{path.stem}-tokens.html"
        target.write_text(_page(texts, path.name), encoding="utf-8")
        written.append(str(target))
    return {"file": str(path), "space": space.name, "segments": rows, "written": written}


def _row(seen: Seen) -> dict[str, Any]:
    segment = seen.segment
    unit = "s" if segment.start is not None and seen.modality == "image" else _UNITS[seen.modality]
    inputs = {name: list(array.shape) for name, array in segment.inputs.items()}
    place = {"start": segment.start, "end": segment.end, "unit": unit}
    return {"segment": seen.number, "modality": seen.modality, "encoder": seen.encoder.spec.encoder, **place, "inputs": inputs}


def _drawn(seen: Seen) -> Image.Image:
    if seen.modality == "audio":
        return _sound(seen)
    return _picture(seen) if seen.modality == "image" else _clip(seen)


def _title(seen: Seen) -> str:
    """Without the file's name, for which Pillow's own font may lack the letters."""
    return "   ".join(filter(None, (f"segment {seen.number}", _place(seen), seen.encoder.spec.encoder)))


def _sound(seen: Seen) -> Image.Image:
    how, start = seen.encoder.spec.preprocessing, seen.segment.start or 0.0
    length = len(seen.medium) / how["sampling_rate"]
    title = _title(seen)
    if not hasattr(seen.encoder, "mel"):
        return draw.wave(seen.medium, start, length, title)
    mel = seen.encoder.mel(seen.medium)
    what = draw.Spectrogram(
        mel,
        band_centres(how["bands"], how["low"], how["high"], how["scale"]),
        start + _first_edge(how),
        len(mel) * how["hop"] / how["sampling_rate"],
        how["unit"] + (", scaled" if {"std", "divide"} & set(how) else ""),
        length if len(seen.medium) < how["window_samples"] else None,
        (how.get("time_stride", 0), how.get("frequency_stride", 0)),
    )
    shape = "" if "patch" not in how else f", patches of {how['patch']} x {how['patch']}"
    return draw.spectrogram(what, f"{title}: {mel.shape[0]:,} frames of {mel.shape[1]} mel bands{shape}")


def _first_edge(how: Mapping[str, Any]) -> float:
    """Seconds from the window's beginning to the left edge of the first frame, drawn one hop wide around its middle."""
    middle = 0.0 if how.get("center") else how.get("length", how.get("fft", 0)) / 2
    return float((middle - how["hop"] / 2) / how["sampling_rate"])


def _picture(seen: Seen) -> Image.Image:
    how, inputs = seen.encoder.spec.preprocessing, seen.segment.inputs
    height, width = seen.medium.shape[:2]
    head = f"{_title(seen)}: {width} x {height} pixels"
    if "patches" in inputs:
        edge = how["patch"]
        rows, columns = inputs["grid"].tolist() if "grid" in inputs else [how["crop"] // edge] * 2
        pixels = draw.joined(inputs["patches"][: rows * columns], rows, columns)
        return draw.picture(pixels, edge, f"{head}, seen as {columns} x {rows} patches of {edge}")
    pixels = inputs.get("pixels", np.zeros(0))
    if pixels.dtype == np.uint8 and pixels.ndim == 3:
        return draw.picture(pixels, 0, f"{head}, seen as {pixels.shape[1]} x {pixels.shape[0]}")
    return draw.picture(seen.medium, 0, head)


def _clip(seen: Seen) -> Image.Image:
    frames = seen.medium[np.linspace(0, len(seen.medium) - 1, min(_FRAMES, len(seen.medium))).astype(int)]
    title = f"{_title(seen)}: {len(frames)} of {len(seen.medium)} frames"
    return draw.picture(np.concatenate(list(frames), axis=1), 0, title)


def _page(texts: list[Seen], name: str) -> str:
    tokenizer = getattr(texts[0].encoder, "tokenizer", None)
    chunks = [(_heading(seen), seen.segment.text or "") for seen in texts]
    return page(f"{name} ({texts[0].encoder.spec.encoder})", chunks, tokenizer)


def _heading(seen: Seen) -> str:
    inputs = ", ".join(f"{name} {' x '.join(map(str, array.shape))}" for name, array in seen.segment.inputs.items())
    return f"segment {seen.number}: {_place(seen)}; {inputs}"


def _place(seen: Seen) -> str:
    start, end = seen.segment.start, seen.segment.end
    if start is None:
        return ""
    if seen.modality == "text":
        return f"characters {start:,.0f} to {end:,.0f}"
    return f"{start:.3f} s" if end is None or end == start else f"{start:.3f} to {end:.3f} s"
