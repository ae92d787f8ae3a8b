"""What an alignment tells people: one line, a report with pictures, curves while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PIL import Image

from tasks.charts import as_markdown, bars
from tasks.charts import curves as drawn
from tasks.split import SIDES

if TYPE_CHECKING:
    from flows.alignment import Alignment

WHERE = ("too_few", "duplicates", "incomplete", "copies", *SIDES)
"""Where rows of the pairs end, in the order in which they are told."""


def verdict(account: Mapping[str, Any]) -> str:
    """The outcome in one line."""
    test = account["test"]["directions"]
    told = ", ".join(f"{direction} {_value(each['after'], 'recall@1')}" for direction, each in test.items())
    return f"{account['name']}: recall@1 of the test side {told}; {account['steps']} steps, {account['pairs']['train']} pairs"


def curves(alignment: Alignment) -> dict[str, Image.Image]:
    """The loss, and the recall of the validation side, over steps."""
    names = list(dict.fromkeys(name for _, metrics in alignment.evaluations for name in metrics if name.endswith("recall@1")))
    recalls = {name: [(step, metrics[name]) for step, metrics in alignment.evaluations] for name in names}
    return {
        "loss": drawn({"loss": alignment.losses}, f"{alignment.settings.name}: loss", "step"),
        "recall": drawn(recalls, f"{alignment.settings.name}: recall@1 of the validation side", "step"),
    }


def markdown(account: Mapping[str, Any], alignment: Alignment) -> str:
    """The report: figures of the test side with their intervals, where every row and object ended, pictures."""
    test, pairs = account["test"]["directions"], account["pairs"]
    recall = {d: {when: each[when]["recall@1"]["value"] for when in ("before", "after") if when in each} for d, each in test.items()}
    lines = [
        f"# {account['name']}",
        "",
        verdict(account),
        "",
        as_markdown(bars(recall, "recall@1 of the test side"), "recall"),
        "",
        "| direction | queries | recall@1 before | recall@1 | recall@5 | recall@10 | mrr |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {direction} | {each['queries']} | {_cell(each.get('before'), 'recall@1')} | "
            + " | ".join(_cell(each["after"], name) for name in ("recall@1", "recall@5", "recall@10", "mrr"))
            + " |"
            for direction, each in test.items()
        ),
        "",
        "| rows | " + " | ".join(name.replace("_", " ") for name in WHERE) + " |",
        "|" + "---|" * (len(WHERE) + 1),
        f"| {pairs['rows']} | " + " | ".join(str(pairs[name]) for name in WHERE) + " |",
        "",
        *(f"- {modality}: {', '.join(f'{reason} {n}' for reason, n in found.items())}" for modality, found in account["objects"].items()),
        "",
        *(as_markdown(picture, name) + "\n" for name, picture in curves(alignment).items() if alignment.losses),
        f"`{account['space']}`, generation `{account['generation']}`",
    ]
    return "\n".join(lines)


def _cell(figures: Mapping[str, Any] | None, name: str) -> str:
    if figures is None:
        return "–"
    figure = figures[name]
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _value(figures: Mapping[str, Any], name: str) -> str:
    return f"{figures[name]['value']:.3f}"
