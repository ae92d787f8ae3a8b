"""How well questions that fit and questions that do not are parted, by each of several measures.

    python -m benchmarks.nothing_fits demo

In the folder that `make demo` made: captions of its pictures and sounds, and short questions of its world, against made-up words and
against ordinary words of another world. For each modality found, of each measure of the best answer: area under the curve, and the share of
fitting questions that keep an answer where one in ten of the others gets one. The excess is set up on other made-up words than those it is
measured on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import roc_auc_score

from benchmarks import material
from retrieval.query import Searcher
from retrieval.search import nonsense, nothing_fits
from retrieval.search.nothing_fits import Threshold

OTHER = (
    *("quarterly tax report", "the stock market fell today", "a recipe for apple pie", "how to install python", "the president's speech"),
    *("quantum mechanics lecture notes", "rental agreement", "hello world", "football match result", "wedding invitation", "wine list"),
    *("medical prescription for antibiotics", "airplane boarding pass", "a bowl of noodles", "mathematical proof", "blue jeans on sale"),
    *("chess opening theory", "a cup of coffee", "microscope image of bacteria", "Roman history", "nail polish", "X-ray of a knee"),
    *("季度财务报表", "如何安装软件", "一碗面条", "租赁合同", "量子力学", "总统的演讲", "化学实验", "足球比赛", "婚礼请柬"),
)
SHORT = (
    *("a dog barking", "a cat meowing", "a train whistling", "a bird singing", "a frog croaking", "a clock ticking", "a bell ringing"),
    *("a drum beating", "a guitar being played", "dog", "cat", "train", "bird", "red car", "blue bell", "a white cat", "a green frog"),
    *("一只狗在叫", "猫", "一辆红色的汽车", "小鸟唱歌", "火车", "一面鼓"),
)

Measure = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where `make demo` put its bucket, table and pairs")
    folder = parser.parse_args().folder
    searcher = Searcher(str(folder / "lance"))
    rows = searcher.table.search().select(["modality", "vector"]).limit(None).to_polars()
    pairs = [json.loads(line) for line in (folder / "pairs.jsonl").read_text(encoding="utf-8").splitlines()]
    captions = {m: list(dict.fromkeys(pair["text"] for pair in pairs if m in pair)) for m in ("image", "audio")}
    vectors = {name: searcher.embed_texts(texts) for name, texts in (captions | {"short": SHORT, "other words": OTHER}).items()}
    made = searcher.embed_texts(nonsense.texts(300, seed=1))
    background, vectors["made-up words"] = made[:100], made[100:]
    told = []
    for found in sorted(rows.get_column("modality").unique()):
        segments = rows.filter(pl.col("modality") == found).get_column("vector").to_numpy().astype(np.float32)
        measures = _measures(found, background, segments)
        for fits in ({"image", "audio"} & {found}) | {"short"}:
            for nothing in ("made-up words", "other words"):
                parted = {name: _parted(measure(vectors[fits]), measure(vectors[nothing])) for name, measure in measures.items()}
                told.append({"found": found, "fitting": fits, "against": nothing} | parted)
    print(json.dumps({"machine": material.machine(), "area under the curve, share kept at one wrong in ten": told}, indent=1))


def _measures(found: str, background: np.ndarray, segments: np.ndarray) -> dict[str, Measure]:
    rule = Threshold("text", found, background.mean(axis=0), segments.mean(axis=0), nothing_fits.precision(background), 0.0)

    def z(queries: np.ndarray) -> np.ndarray:
        scores = queries @ segments.T
        return (scores.max(axis=1) - scores.mean(axis=1)) / scores.std(axis=1)

    return {
        "score": lambda queries: (queries @ segments.T).max(axis=1),
        "z-score": z,
        "without the means": lambda queries: ((queries - rule.background) @ (segments - rule.centre).T).max(axis=1),
        "excess": lambda queries: (rule.direction(queries) @ (segments - rule.centre).T).max(axis=1),
    }


def _parted(fits: np.ndarray, nothing: np.ndarray) -> list[float]:
    right = np.repeat([1, 0], [len(fits), len(nothing)])
    return [
        round(float(roc_auc_score(right, np.append(fits, nothing))), 3),
        round(float((fits > np.quantile(nothing, 0.9)).mean()), 2),
    ]


if __name__ == "__main__":
    main()
