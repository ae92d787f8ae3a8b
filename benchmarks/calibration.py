"""The modality gap of the miniature, and what remedies do to mixed lists and to short queries: `python -m benchmarks.calibration`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders import registry
from encoders.align import calibration
from encoders.align.calibration import Calibration
from encoders.miniature.captions import LANGUAGES
from encoders.miniature.training import calibrate, evaluation
from encoders.spaces import load_encoders
from encoders.spec import Modality, Space

QUERIES_SEED = 7  # of short queries and what they are asked among; the weights' own evaluation has another


def main() -> None:
    """Print a row for each remedy, on the encoders beneath whatever calibration the space has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--space", default="miniature", help="one that knows the miniature's world")
    parser.add_argument("--scenes", type=int, default=600, help="on which remedies are judged")
    parser.add_argument("--learned-from", type=int, default=calibrate.SCENES, help="other scenes, of which they are made")
    asked = parser.parse_args()
    space = Space(asked.space, load_encoders(asked.space))
    validation = calibrate.vectors_of(space, calibrate.scenes_of(8, asked.scenes), 8)
    training = calibrate.vectors_of(space, calibrate.scenes_of(7, asked.learned_from, held=False), 7, varied=True)
    choice = calibration.choose(validation, training)
    short = ShortQueries(space)
    columns = (
        "remedy",
        "recall@1",
        "recall@10",
        "texts of a text's first ten",
        "recall@1 in lists of one modality",
        "gap",
        "short queries whose first answer fits",
    )
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for remedy in calibration.candidates(training):
        found = choice.figures[remedy.name]
        told = [found["mixed recall@1"], found["mixed recall@10"], found["top ten"]["text"]["text"], found["alone recall@1"], found["gap"]]
        cells = [f"{value:.3f}" for value in told] + [" / ".join(f"{100 * short.answered(remedy, name):.0f} %" for name in LANGUAGES)]
        print(f"| {remedy.name}{' (chosen by `choose`)' if remedy.name == choice.calibration.name else ''} | {' | '.join(cells)} |")


class ShortQueries:
    """A hundred short queries in each language, asked among 1,000 pictures, or sounds, of their world."""

    def __init__(self, space: Space) -> None:
        encoders = {modality: registry.build(spec, dtype="float32") for modality, spec in space.encoders.items()}

        def embed(modality: Modality, media: Any) -> NDArray[np.float32]:
            """Each once: a remedy is a map of the vectors."""
            return calibrate.embedded(encoders[modality], media)

        self.pools = {name: evaluation.draw_pool(name, QUERIES_SEED) for name in evaluation.POOLS}
        self.vectors = {name: evaluation.vectors_of(pool, embed) for name, pool in self.pools.items()}
        self.asked = {name: evaluation.asked(self.pools, embed, QUERIES_SEED, name) for name in LANGUAGES}

    def answered(self, remedy: Calibration, language: str) -> float:
        """Share of the queries of a language whose first answer fits."""

        def applied(vectors: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
            return {name: remedy.apply({"text" if name in LANGUAGES else name: rows}).popitem()[1] for name, rows in vectors.items()}

        vectors = {name: applied(found) for name, found in self.vectors.items()}
        queries = applied({language: self.asked[language]})[language]
        return float(np.mean(evaluation.first_fits(self.pools, vectors, queries, QUERIES_SEED)))


if __name__ == "__main__":
    main()
