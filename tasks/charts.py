"""Charts of a training, as pictures: curves over steps, and bars before and after."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from tasks.draw import font, round_steps

Points = Sequence[tuple[float, float]]

_WIDE, _HIGH = 720, 300  # pixels of the field
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 20, 52, 44
_LINE = 20  # pixels from one line of the legend to the next
_INK, _PALE, _PAPER = (40, 40, 40), (225, 225, 225), (255, 255, 255)
# Okabe & Ito's colours, which the colour-blind tell apart, too.
_COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (0, 0, 0))


def curves(series: Mapping[str, Points], title: str, across: str) -> Image.Image:
    """Lines through points, one for each name; numbers across begin at 0.

    Parameters
    ----------
    series : points (x, y) by name, such as {"loss": [(1, 6.2), (2, 5.9), …]}; names without points are left out.
    across : what x is.
    """
    drawn = {name: points for name, points in series.items() if points}
    xs = [x for points in drawn.values() for x, _ in points] or [1.0]
    ys = [y for points in drawn.values() for _, y in points] or [0.0, 1.0]
    low, high = min(ys), max(ys)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    width = max(xs) or 1.0
    sheet, pen = _sheet(title, len(drawn))
    for value in round_steps(low, high, 6):
        _level(pen, _TOP + _HIGH * (high - value) / (high - low), f"{value:g}")
    for value in round_steps(0.0, width, 8):
        pen.text((_LEFT + _WIDE * value / width, _TOP + _HIGH + 8), f"{value:g}", fill=_INK, font=font(13), anchor="ma")
    pen.text((_LEFT + _WIDE, _TOP + _HIGH + 26), across, fill=_INK, font=font(13), anchor="ra")
    for number, (name, points) in enumerate(drawn.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = [(_LEFT + _WIDE * x / width, _TOP + _HIGH * (high - y) / (high - low)) for x, y in points]
        if len(path) > 1:
            pen.line(path, fill=colour, width=2, joint="curve")
        else:
            pen.ellipse([(path[0][0] - 3, path[0][1] - 3), (path[0][0] + 3, path[0][1] + 3)], fill=colour)
        _legend(pen, number, colour, f"{name}: {points[-1][1]:.3g}")
    return sheet


def bars(groups: Mapping[str, Mapping[str, float]], title: str) -> Image.Image:
    """Bars from 0 to 1 in groups, such as {"text>image": {"before": 0.2, "after": 0.7}, …}."""
    names = list(dict.fromkeys(name for values in groups.values() for name in values))
    sheet, pen = _sheet(title, len(names))
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        _level(pen, _TOP + _HIGH * (1 - value), f"{value:g}")
    step = _WIDE / max(len(groups), 1)
    thick = min(48.0, step * 0.8 / max(len(names), 1))
    for place, (group, values) in enumerate(groups.items()):
        middle = _LEFT + step * (place + 0.5)
        pen.text((middle, _TOP + _HIGH + 8), group, fill=_INK, font=font(13), anchor="ma")
        for number, name in enumerate(names):
            if name in values:
                x, y = middle + thick * (number - len(names) / 2), _TOP + _HIGH * (1 - values[name])
                pen.rectangle([(x, min(y, _TOP + _HIGH - 1)), (x + thick - 2, _TOP + _HIGH)], fill=_COLOURS[number % len(_COLOURS)])
                pen.text((x + thick / 2, y - 3), f"{values[name]:.2f}", fill=_INK, font=font(12), anchor="mb")
    for number, name in enumerate(names):
        _legend(pen, number, _COLOURS[number % len(_COLOURS)], name)
    return sheet


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG of few colours."""
    buffer = io.BytesIO()
    picture.quantize(64).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def as_markdown(picture: Image.Image, name: str) -> str:
    """The picture within a text in Markdown, so that it needs no file and no server: how Prefect's UI shows pictures offline."""
    return f"![{name}](data:image/png;base64,{base64.b64encode(png(picture)).decode()})"


def _sheet(title: str, entries: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    rows = -(-entries // 2)
    sheet = Image.new("RGB", (_LEFT + _WIDE + _RIGHT, _TOP + _HIGH + _BOTTOM + 10 + _LINE * rows), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_LEFT, 18), title, fill=_INK, font=font(15), anchor="lm")
    pen.line([(_LEFT, _TOP), (_LEFT, _TOP + _HIGH), (_LEFT + _WIDE, _TOP + _HIGH)], fill=_INK)
    return sheet, pen


def _level(pen: ImageDraw.ImageDraw, y: float, text: str) -> None:
    pen.line([(_LEFT + 1, y), (_LEFT + _WIDE, y)], fill=_PALE)
    pen.text((_LEFT - 8, y), text, fill=_INK, font=font(13), anchor="rm")


def _legend(pen: ImageDraw.ImageDraw, number: int, colour: tuple[int, int, int], text: str) -> None:
    x, y = _LEFT + (number % 2) * _WIDE / 2, _TOP + _HIGH + _BOTTOM + _LINE * (number // 2) + 10
    pen.rectangle([(x, y - 5), (x + 14, y + 5)], fill=colour)
    pen.text((x + 20, y), text, fill=_INK, font=font(13), anchor="lm")
