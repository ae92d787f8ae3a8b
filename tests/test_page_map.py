"""The page's map of any table: laid out in seconds, and every object has its place among those it is like."""

from __future__ import annotations

import numpy as np
import polars as pl
from themed_table import themed

from retrieval import plane as planes
from retrieval.candidates import Candidates
from retrieval.page import map as maps

EACH = 900  # objects of each of three groups


def test_of_a_large_table_no_more_is_laid_out_than_takes_seconds_and_the_others_lie_among_their_group(monkeypatch):
    rng = np.random.default_rng(5)
    vectors = np.concatenate([themed(rng, theme, EACH, 16, 0.1) for theme in range(3)])
    names = [f"file:///b/{place}.png" for place in range(3 * EACH)]
    same = {"medium": "image", "content_hash": "a" * 40, "rows": 1}
    objects = pl.DataFrame({"uri": names, "first": range(3 * EACH)}).with_columns(**{name: pl.lit(value) for name, value in same.items()})
    laid_out = []

    def corners(unit, seed):
        """In place of t-SNE: each group at a corner of its own."""
        laid_out.append(len(unit))
        return unit[:, :2].round()

    monkeypatch.setattr(planes, "_laid_out", corners)
    told = maps.points(Candidates(objects, vectors.astype(np.float16)))
    assert laid_out == [2_000] and len(told["ids"]) == told["objects"] == 3 * EACH
    places = np.array([told["x"], told["y"]]).T.reshape(3, EACH, 2)
    assert np.allclose(places, np.array([[1, 0], [0, 1], [0, 0]])[:, None], atol=0.01)
