"""The shape of a sound over time, as a player shows it."""

from __future__ import annotations

from typing import Any

from retrieval.page.items import Item
from retrieval.page.kept import Kept
from retrieval.page.library import Library
from retrieval.page.thumbnails import fetched

BARS = 120
RATE, STEP = 8_000, 160  # Hz, and samples whose peak is taken: 20 ms
LONGEST = 1_800.0  # seconds of a sound that is decoded for its shape

_kept: Kept[str, list[int]] = Kept(4_096)


def loudness(library: Library, item: Item) -> dict[str, Any]:
    """Peaks of equal stretches of a sound, 0 to 100 of its loudest; none of a video, nor of a sound of more than half an hour.

    Raises
    ------
    ObjectError : it is not what was embedded any more, or cannot be read.
    MediumError : it cannot be decoded.
    """
    source, uri = library.place(item)
    if item.medium != "audio" or (item.seconds or 0.0) > LONGEST:
        return {"bars": []}
    bars = _kept.get(item.content_hash)
    if bars is None:
        with fetched(source, uri) as path:
            bars = _bars(path)
        _kept.put(item.content_hash, bars)
    return {"bars": bars}


def _bars(path: Any) -> list[int]:
    import numpy as np

    from encoders.media import sounds

    peaks = np.array([np.abs(window.samples).max() for window in sounds.windows(path, RATE, STEP)])  # (steps,)
    edges = np.linspace(0, len(peaks), min(BARS, len(peaks)) + 1).round().astype(int)
    bars = np.maximum.reduceat(peaks, edges[:-1])
    shares: list[int] = np.rint(100 * bars / max(float(bars.max()), 1e-6)).astype(int).tolist()
    return shares
