"""What a search costs, warm.

    python -m benchmarks.search [--rows 100000] [--folder DIR]

Median and 95th percentile of a question in words: embedded, then asked of a table of so many rows of 128 numbers, without and with a vector
index, beside a product of the same vectors in NumPy (float32, in memory) and the best ten of it; with a filter, by object, and among 20,000
objects that are listed. Then so many questions at once, against each alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from lancedb.index import IvfRq

from benchmarks import material
from encoders.spaces import load_space
from retrieval.filters import Filter
from retrieval.query import Searcher
from storage import batches, schema, table

WORDS = (
    "a dog barking",
    "a blue train in the rain",
    "夜晚，一只白色的猫",
    "a small orange phone ringing",
    "a guitar being played by the sea",
)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
THEMES = 1_000  # vectors lie about so many centres, as those of media do


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=None)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        vectors = _vectors(asked.rows)
        flat = Searcher(_make(folder / "flat", vectors, index=False))
        indexed = Searcher(_make(folder / "indexed", vectors, index=True))
        figures: dict[str, Any] = {"machine": material.machine(), "rows": asked.rows, "dimension": vectors.shape[1]}
        figures["milliseconds, median and 95th percentile"] = _alone(flat, indexed, vectors, asked.rounds)
        figures["many"] = _many(flat, asked.questions)
    print(json.dumps(figures, indent=1))


def _alone(flat: Searcher, indexed: Searcher, vectors: np.ndarray, rounds: int) -> dict[str, list[float]]:
    asked = np.concatenate([flat.embed(words) for words in WORDS])
    listed = Filter(uris=frozenset(_uri(k) for k in range(0, 40_000, 2)))
    parts: dict[str, Callable[[int], object]] = {
        "embed the words": lambda k: flat.embed(WORDS[k]),
        "NumPy, all rows": lambda k: _best(vectors, asked[k]),
        "without index": lambda k: flat.nearest(asked[k : k + 1]),
        "with index": lambda k: indexed.nearest(asked[k : k + 1]),
        "without index, words to hits": lambda k: flat.search(WORDS[k]),
        "with index, words to hits": lambda k: indexed.search(WORDS[k]),
        "with index, one modality": lambda k: indexed.nearest(asked[k : k + 1], keep=Filter(modality="image")),
        "with index, the best of each object": lambda k: indexed.nearest(asked[k : k + 1], per_object=True),
        "among 20,000 listed objects": lambda k: flat.nearest(asked[k : k + 1], keep=listed),
    }
    return {name: _timed(part, rounds if "listed" not in name else rounds // 10) for name, part in parts.items()}


def _many(searcher: Searcher, number: int) -> dict[str, float]:
    queries = _vectors(number, seed=9)
    start = time.perf_counter()
    together = searcher.nearest_of_many(queries, np.arange(number))
    one_pass = time.perf_counter() - start
    start = time.perf_counter()
    alone = [searcher.nearest(query[None]) for query in queries[:50]]
    one_by_one = (time.perf_counter() - start) / 50
    same = np.mean([one[0].uri == other[0].uri for one, other in zip(together, alone, strict=False)])
    return {
        "questions": number,
        "seconds in one pass": round(one_pass, 2),
        "milliseconds a question in one pass": round(1000 * one_pass / number, 2),
        "milliseconds a question alone": round(1000 * one_by_one, 2),
        "share with the same nearest": float(same),
    }


def _timed(part: Callable[[int], object], rounds: int) -> list[float]:
    seconds = []
    for k in range(rounds + len(WORDS)):
        start = time.perf_counter()
        part(k % len(WORDS))
        seconds.append(time.perf_counter() - start)
    warm = 1000 * np.array(seconds[len(WORDS) :])
    return [round(float(np.quantile(warm, q)), 2) for q in (0.5, 0.95)]


def _best(vectors: np.ndarray, query: np.ndarray) -> np.ndarray:
    scores = vectors @ query
    best = np.argpartition(-scores, 10)[:10]
    return best[np.argsort(-scores[best])]


def _vectors(rows: int, seed: int = 0) -> np.ndarray:
    dimension = load_space("miniature").dimension
    centres = np.random.default_rng(1).standard_normal((THEMES, dimension))
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(0, THEMES, rows)] + 0.8 * rng.standard_normal((rows, dimension))
    scaled: np.ndarray = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return scaled


def _make(folder: Path, vectors: np.ndarray, *, index: bool) -> str:
    space = load_space("miniature")
    held = table.create(table.connect(str(folder)), "media", space.to_json(), space.generation, space.dimension)
    for low in range(0, len(vectors), 20_000):
        some = vectors[low : low + 20_000]
        uris = [_uri(k) for k in range(low, low + len(some))]
        columns: dict[str, Any] = {"uri": uris, "content_hash": uris, "medium": "image", "segment": 0, "size": 1, "source": "file:///b"}
        columns |= {"modality": ["image", "audio"] * (len(some) // 2) + ["image"] * (len(some) % 2), "embedded_at": NOW, "run": "r"}
        held.add(batches.rows(schema.rows(space.dimension), columns, some))
    if index:
        held.create_index("vector", config=IvfRq(distance_type="cosine"))
    table.publish(held, held.version)
    return str(folder)


def _uri(number: int) -> str:
    return f"file:///b/pictures/{number:08}.jpg"


if __name__ == "__main__":
    main()
