"""How an alignment looks to a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from flows.align_report import WHERE, verdict
from flows.display import out, show_rows


def show_alignment(account: Mapping[str, Any]) -> None:
    """Where every row and object ended, what was learned, figures before and after, and what to type next."""
    pairs = account["pairs"]
    out.print(f"\n[bold]{escape(verdict(account))}[/bold]")
    out.print(f"rows {pairs['rows']} = " + " + ".join(f"{name.replace('_', ' ')} {pairs[name]}" for name in WHERE))
    for modality, found in account["objects"].items():
        out.print(f"{modality}: " + ", ".join(f"{escape(reason)} {n}" for reason, n in found.items()))
    rows = []
    for direction, each in account["test"]["directions"].items():
        figures = {name: f"{each['after'][name]['value']:.3f}" for name in ("recall@1", "recall@5", "recall@10", "mrr")}
        before = f"{each['before']['recall@1']['value']:.3f}" if "before" in each else "-"
        rows.append({"direction": direction, "queries": each["queries"], "recall@1 before": before, **figures})
    show_rows(rows, list(rows[0]))
    if calibration := account["calibration"]:
        without, with_it = (calibration["figures"][name]["mixed recall@1"] for name in ("none", calibration["chosen"]))
        told = f"recall@1 in mixed lists of the validation side {without:.3f} without, {with_it:.3f} with it"
        out.print(f"calibration: {escape(calibration['chosen'])}; {told}")
    metric = account["metric"]
    ended = "no better one since" if account["stopped"] == "patience" else "all of them"
    when = f" at step {metric['step']} of {account['steps']}, {ended}" if account["steps"] else ""
    out.print(f"best {metric['name']} of the validation side {metric['value']:.3f}{when}")
    out.print(f"{account['seconds']['total']:.1f} s in all; generation {account['generation']}; next:")
    out.print(f"sensorium embed BUCKET DATABASE --space {account['space']}", markup=False)
