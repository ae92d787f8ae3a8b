"""Charts: every line and bar stands where its numbers say."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from tasks import charts

BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def rows_of(picture, colour, column):
    return np.flatnonzero((np.asarray(picture)[:352, column] == colour).all(axis=1))  # above the legend


def test_a_curve_goes_through_its_points():
    picture = charts.curves({"loss": [(0, 4.0), (50, 2.0), (100, 0.0)], "mrr": [(0, 0.0), (100, 4.0)]}, "t", "step")
    assert rows_of(picture, BLUE, 76 + 180).mean() == pytest.approx(52 + 75, abs=1.5)  # at 25 of 100 the loss is 3 of 4
    assert rows_of(picture, ORANGE, 76 + 180).mean() == pytest.approx(52 + 225, abs=1.5)


def test_a_bar_is_as_high_as_its_share():
    picture = charts.bars({"text>image": {"before": 0.25, "after": 0.75}}, "t")
    middle = 76 + 360
    for colour, column, share in ((BLUE, middle - 20, 0.25), (ORANGE, middle + 20, 0.75)):
        assert rows_of(picture, colour, column)[0] == pytest.approx(52 + 300 * (1 - share), abs=1)


@pytest.mark.parametrize("series", [{}, {"loss": []}, {"loss": [(0, 1.0)]}, {"loss": [(1, 2.0), (2, 2.0)]}])
def test_few_points_are_drawn_too(series):
    assert charts.curves(series, "t", "step").width > 100


def test_in_markdown_the_picture_is_whole():
    picture = charts.bars({"a": {"before": 0.5}}, "t")
    [(name, data)] = re.findall(r"!\[(.*?)\]\(data:image/png;base64,(.*?)\)", charts.as_markdown(picture, "bars"))
    assert name == "bars"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == picture.size
