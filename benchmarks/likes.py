"""Likes of a made-up population over the demo's pictures, for docs/recommend.md: `python -m benchmarks.likes demo` writes demo/likes.csv.

Each of sixty users likes pictures whose caption has one of one or two words, now and then any picture, and dislikes one in ten; one more
user likes only what the table does not hold.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import polars as pl

WORDS = ("blue", "red", "white", "yellow", "green", "cat", "bird", "train", "phone", "night", "sea", "rain", "wind")
USERS = 60
BEGUN = 1_780_000_000  # 28 May 2026


def main() -> None:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demo", type=Path, help="what `sensorium demo` made")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    frame = likes(captions(asked.demo / "pairs.jsonl"), asked.seed)
    frame.write_csv(asked.demo / "likes.csv")
    print(f"{frame.height:,} likes and dislikes of {frame.get_column('user').n_unique()} users in {asked.demo / 'likes.csv'}")


def captions(pairs: Path) -> dict[str, str]:
    """What each picture of the demo shows, by its name relative to the demo's folder."""
    lines = [json.loads(line) for line in pairs.read_text(encoding="utf-8").splitlines()]
    return {line["image"]: line["text"] for line in lines if line.get("image") and line["text"].isascii()}


def likes(shown: dict[str, str], seed: int) -> pl.DataFrame:
    """user, item, weight, time of the whole population."""
    rng = np.random.default_rng(seed)
    names = sorted(shown)
    of = {word: [name for name in names if re.search(rf"\b{word}\b", shown[name])] for word in WORDS}
    words = [word for word in WORDS if len(of[word]) >= 5]
    rows = [("user 60", "bucket/pictures/gone.png", 1, BEGUN)]
    for user in range(USERS):
        own = rng.choice(words, int(rng.integers(1, 3)), replace=False)
        time, met = BEGUN + int(rng.integers(10**6)), set()
        for _ in range(int(rng.integers(5, 13))):
            pool = of[str(rng.choice(own))] if rng.random() > 0.15 else names
            name = str(rng.choice(pool))
            time += int(rng.integers(10**5))
            if name not in met:
                rows.append((f"user {user:02}", name, -1 if rng.random() < 0.1 else 1, time))
            met.add(name)
    return pl.DataFrame(rows, schema=["user", "item", "weight", "time"], orient="row")


if __name__ == "__main__":
    main()
