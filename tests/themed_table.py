"""A published table of hand-made vectors: things of a few themes, in several media, with copies and near-copies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from encoders.spaces import load_space
from storage import batches, schema, table

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WORDS = ("dog barking", "red train", "night sea")


@dataclass
class Row:
    uri: str
    segment: int
    content: str
    medium: str
    modality: str
    text: str | None
    vector: np.ndarray


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def themed(rng: np.random.Generator, theme: int, count: int, dimension: int, spread: float = 0.06) -> np.ndarray:
    return unit(np.eye(dimension)[theme] + spread * rng.standard_normal((count, dimension)))


def things(dimension: int, each: int = 12) -> list[Row]:
    """Of each theme: pictures, texts, and two videos of two pictures and a sound; an exact copy and a near-copy of the first picture."""
    rng = np.random.default_rng(11)
    rows = []
    for theme, words in enumerate(WORDS):
        pictures = themed(rng, theme, each, dimension)
        rows += [Row(f"file:///b/{theme}/{k:02}.png", 0, f"p{theme}-{k}", "image", "image", None, v) for k, v in enumerate(pictures)]
        near = unit(pictures[0] + 0.002 * rng.standard_normal(dimension))
        rows.append(Row(f"file:///b/{theme}/00 copy.png", 0, f"p{theme}-0", "image", "image", None, pictures[0]))
        rows.append(Row(f"file:///b/{theme}/00 small.jpg", 0, f"s{theme}-0", "image", "image", None, near))
        texts = themed(rng, theme, each, dimension)
        rows += [
            Row(f"file:///b/{theme}/{k:02}.txt", 0, f"t{theme}-{k}", "text", "text", f"a {words} and {['one', 'two', 'six'][k % 3]}", v)
            for k, v in enumerate(texts)
        ]
        for k in range(2):
            parts = themed(rng, theme, 3, dimension)
            rows += [
                Row(f"file:///b/{theme}/{k}.mp4", s, f"v{theme}-{k}", "video", ("image", "image", "audio")[s], None, v)
                for s, v in enumerate(parts)
            ]
    return rows


def make(folder: Path, rows: list[Row] | None = None) -> str:
    """A database of these rows, shuffled; returns where it is."""
    space = load_space("miniature")
    rows = things(space.dimension) if rows is None else rows
    rows = [rows[k] for k in np.random.default_rng(1).permutation(len(rows))]
    columns = {name: [getattr(row, name) for row in rows] for name in ("uri", "segment", "medium", "modality", "text")}
    columns |= {"content_hash": [row.content for row in rows], "start": [float(r.segment) if r.medium == "video" else None for r in rows]}
    columns |= {"end": [r.segment + 1.0 if r.medium == "video" else None for r in rows], "source": "file:///b", "size": 7}
    columns |= {"modified": NOW, "embedded_at": NOW, "run": "r1"}
    held = table.create(table.connect(str(folder)), "media", space.to_json(), space.generation, space.dimension)
    held.add(batches.rows(schema.rows(space.dimension), columns, np.stack([row.vector for row in rows]).astype(np.float32)))
    table.publish(held, held.version)
    return str(folder)
