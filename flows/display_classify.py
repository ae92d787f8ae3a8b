"""How classified objects look to a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from rich.table import Table

from flows.display import out, safe
from retrieval.classify.class_model import ZERO_SHOT
from retrieval.classify.classify import Classified

WIDE = 12  # classes of which a confusion matrix is printed
SHOWN = 5

_CALIBRATIONS = {
    "examples": "calibrated on {examples} examples that they were not learned from",
    "space": "by the scale that the space was trained with, not calibrated on examples",
    "none": "none: these are uncalibrated scores; two or more examples of each class would calibrate them",
}


def show_classified(found: Classified) -> None:
    """What was counted, how the method was chosen and how well it does, then the labels."""
    report = found.report
    held = f"table {report['table']}, version {report['version']}: space {report['space']}, {report['generation']}"
    out.print(f"[bold]{report['objects']:,} objects in {len(report['classes'])} classes by {safe(report['setting'])}[/bold]")
    out.print(safe(held))
    judged_on = report["tried"][0]["examples"] if report["tried"] else 0
    out.print(f"probabilities: {_CALIBRATIONS[report['calibration']].format(examples=f'{judged_on:,}')}")
    if examples := report["examples"]:
        _show_list("examples", examples)
    _show_tried(report)
    if evaluation := report["evaluation"]:
        _show_evaluation(evaluation, report)
    elif report["examples"]:
        out.print("not judged: too few examples to keep some apart; give --evaluate FILE")
    _show_labels(found)
    if column := report["column"]:
        seen = "readers see it" if column["published"] else "readers see it after the next `sensorium embed`"
        changed = f", {column['changed']:,} have changed meanwhile" if column["changed"] else ""
        out.print(
            f"written to column {safe(column['name'])} of {column['objects']:,} objects{changed}: version {column['version']}, {seen}"
        )
    if report["output"]:
        out.print(f"written to {safe(report['output'])}")


def _show_list(name: str, counts: Mapping[str, Any]) -> None:
    left = [f"{counts[why]:,} {why}" for why in counts if isinstance(counts[why], int) and why != "rows" and counts[why]]
    out.print(f"{name}: {counts['rows']:,} = {' + '.join(left)}")
    if counts["unknown_uris"]:
        out.print(f"  [yellow]the table does not have {safe(', '.join(counts['unknown_uris']))}[/yellow]")


def _show_tried(report: Mapping[str, Any]) -> None:
    if len(report["tried"]) > 1:
        grid = _grid("by cross-validation", "accuracy", "macro F1", "log loss")
        for one in report["tried"]:
            grid.add_row(one["setting"], *(f"{one[figure]:.3f}" for figure in ("accuracy", "macro_f1", "log_loss")))
        out.print(grid)
    for method, why in report["untried"].items():
        out.print(f"{method} was not tried: {safe(why)}")


def _show_evaluation(evaluation: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    if evaluation["from"] == "file":
        _show_list("evaluation", evaluation["list"])
    known = "; all examples were then learned from" if evaluation["from"] == "share" and report["method"] != ZERO_SHOT else ""
    out.print(f"\njudged by {evaluation['objects']:,} objects kept apart{known}")
    for name, figure in (("accuracy", evaluation["accuracy"]), ("macro F1", evaluation["macro_f1"])):
        between = "" if figure["low"] is None else f" [dim]{figure['low']:.3f}-{figure['high']:.3f}[/dim]"
        out.print(f"  {name} {figure['value']:.3f}{between}")
    if "calibration_error" in evaluation:
        out.print(f"  calibration error {evaluation['calibration_error']:.3f}, log loss {evaluation['log_loss']:.3f}")
    if above := evaluation.get("above_threshold"):
        right = "" if above["accuracy"] is None else f", accuracy {above['accuracy']:.3f}"
        out.print(f"  at or above probability {report['threshold']:g}: {above['objects']:,} objects{right}")
    names = report["classes"]
    if len(names) <= WIDE:
        grid = _grid("is, taken for:", *map(safe, names))
        for name, row in zip(names, evaluation["confusion"], strict=True):
            grid.add_row(safe(name), *(f"{count:,}" if count else "[dim]·[/dim]" for count in row))
        out.print(grid)
        return
    for mistake in evaluation["mistakes"]:
        out.print(f"  {mistake['objects']:,} {safe(mistake['is'])} taken for {safe(mistake['taken_for'])}")


def _show_labels(found: Classified) -> None:
    report, labels = found.report, found.labels
    figure = "score" if report["scale"] is None else "probability"
    out.print()
    grid = _grid("label", "objects", f"median {figure}")
    for name, count in sorted(report["labels"].items(), key=lambda item: -item[1]):
        values = labels.filter(pl.col("label") == name).get_column(figure).to_numpy()
        grid.add_row(safe(name), f"{count:,}", f"{np.median(values):.3f}" if count else "")
    if report["threshold"]:
        grid.add_row(f"none (below {report['threshold']:g})", f"{report['none']:,}", "")
    out.print(grid)
    if report["column"] or report["output"]:
        return
    for uri, label, value in labels.select("uri", "label", figure).head(SHOWN).iter_rows():
        out.print(f"{value:.3f} {safe(label or 'none')} [dim]{safe(uri)}[/dim]")
    if labels.height > SHOWN:
        out.print(f"… and {labels.height - SHOWN:,} more: --output FILE or --json for all of them")


def _grid(first: str, *others: str) -> Table:
    grid = Table(first, *others, box=None, pad_edge=False)
    for column in grid.columns[1:]:
        column.justify = "right"
    return grid
