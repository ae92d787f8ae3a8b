"""docs/cluster.md, done: `python -m benchmarks.cluster_guide`, in the folder of `demo/`, runs its commands, writes what they print, draws.

Needs matplotlib (the extra `guide`).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from typer.testing import CliRunner

from flows.cli import app

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "cluster.md"
PICTURE = ROOT / "docs" / "images" / "map.png"
MAP, LABELS = Path("map.parquet"), Path("labels.parquet")
MARKERS = {"image": "s", "audio": "^", "text": "o", "video": "D"}
_BLOCK = re.compile(r"^```bash\n(?P<command>sensorium .*?)\n```\n\n```text\n.*?^```", re.MULTILINE | re.DOTALL)
_FOLDER = re.compile(r"file://\S*?/demo/")


def main() -> None:
    """Run the page, write into it what its commands print, and draw the map that they export."""
    text = PAGE.read_text(encoding="utf-8")
    printed = outputs(text)
    PAGE.write_text(_BLOCK.sub(lambda block: f"```bash\n{block['command']}\n```\n\n```text\n{next(printed)}\n```", text), encoding="utf-8")
    draw(pl.read_parquet(MAP), pl.read_parquet(LABELS), PICTURE)


def outputs(text: str) -> Iterator[str]:
    """What each command of a page prints."""
    for block in _BLOCK.finditer(text):
        run = CliRunner().invoke(app, shlex.split(block["command"])[1:])
        if run.exit_code:
            raise SystemExit(f"{block['command']} ended with {run.exit_code}: {run.output}")
        yield _FOLDER.sub("demo/", run.output).strip("\n")


def draw(rows: pl.DataFrame, labels: pl.DataFrame, file: Path) -> None:
    """A picture of a map: colours are clusters, shapes are media, words are the names of clusters."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 6), dpi=110)
    colours = np.array(pyplot.get_cmap("tab20").colors)
    for medium, marker in MARKERS.items():
        some = rows.filter(pl.col("medium") == medium)
        clusters = some["cluster"].fill_null(-1).to_numpy()
        axes.scatter(some["x"], some["y"], s=24, marker=marker, c=colours[clusters % len(colours)], linewidths=0, alpha=0.8, label=medium)
    for x, y, words in labels.iter_rows():
        readable = ", ".join(word for word in words.split(", ") if word.isascii())[:30]
        axes.annotate(
            readable, (x, y), ha="center", fontsize=8, fontweight="bold", bbox={"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 1}
        )
    axes.legend(loc="best", fontsize=8, frameon=False)
    axes.set_axis_off()
    figure.tight_layout()
    figure.savefig(file)


if __name__ == "__main__":
    main()
