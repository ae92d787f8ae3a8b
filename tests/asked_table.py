"""A published table of rows made by hand, in a space whose encoder counts words: quick to make and to ask."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from encoders import registry
from encoders.spec import Space
from encoders.stacking import alone
from retrieval.query import Searcher
from storage import batches, schema, table

DIMENSION = 64
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def space() -> Space:
    return Space("counted", {"text": registry.describe("bag-of-words", dimension=DIMENSION)})


def row(uri: str, vector: np.ndarray, segment: int = 0, medium: str = "image", modality: str = "", **more: Any) -> dict[str, Any]:
    return {
        "uri": uri,
        "segment": segment,
        "medium": medium,
        "modality": modality or medium,
        "start": None,
        "end": None,
        "text": None,
        "size": 7,
        "modified": NOW,
        "vector": unit(np.asarray(vector)),
    } | more


def texts(words: Iterable[str], folder: str = "file:///b/texts") -> list[dict[str, Any]]:
    """One object for each text, with the vector of its words."""
    encoder = registry.build(space().encoders["text"], "cpu", "float32")
    return [
        row(
            f"{folder}/{k:03}.txt",
            encoder.encode(alone(encoder.prepare(text)))[0],
            medium="text",
            text=text,
            start=0.0,
            end=float(len(text)),
        )
        for k, text in enumerate(words)
    ]


def drawn(seed: int, objects: int) -> Iterator[dict[str, Any]]:
    """Pictures of one segment, and videos of one to forty, of sound and frames."""
    rng = np.random.default_rng(seed)
    for k in range(objects):
        video = k % 3 == 0
        for s in range(int(rng.integers(1, 41)) if video else 1):
            vector = rng.standard_normal(DIMENSION)
            if video:
                modality = ("image", "audio")[s % 2]
                yield row(f"file:///b/v{k}.mp4", vector, s, "video", modality, start=float(s), end=s + 1.0, size=1000 + k)
            else:
                yield row(f"file:///b/p{k}.png", vector, size=k)


def make(folder: Path, rows: Iterable[dict[str, Any]], *, parts: int = 3) -> str:
    """A database of these rows, written in several pieces; returns where it is."""
    rows = list(rows)
    held = table.create(table.connect(str(folder)), "media", space().to_json(), space().generation, DIMENSION)
    for piece in np.array_split(np.arange(len(rows)), min(parts, len(rows))):
        some = [rows[k] for k in piece]
        columns = {name: [one[name] for one in some] for name in rows[0] if name != "vector"}
        columns |= {"content_hash": [one["uri"] for one in some], "source": "file:///b", "embedded_at": NOW, "run": "r1"}
        held.add(batches.rows(schema.rows(DIMENSION), columns, np.stack([one["vector"] for one in some])))
    table.publish(held, held.version)
    return str(folder)


def opened(folder: Path, rows: Iterable[dict[str, Any]]) -> Searcher:
    return Searcher(make(folder, rows))
