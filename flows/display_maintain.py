"""How a maintenance looks to a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from flows.display import out
from tasks.maintain_report import lines_of, settings_told


def show_maintenance(report: Mapping[str, Any]) -> None:
    """Verdict, the index before and after, recall by setting, then what else was done."""
    out.print(f"[bold]{escape(report['verdict'])}[/bold]")
    grid = Table("", "index", "rows", "not indexed", "parts", "size", box=None, pad_edge=False)
    for when in ("before", "after"):
        held = report[when]
        size = f"{held['bytes'] / 1e6:,.1f} MB"
        grid.add_row(when, held["kind"], f"{held['rows']:,}", f"{held['unindexed']:,}", str(held["parts"]), size)
    out.print(grid)
    told = list(settings_told(report))
    if told:
        kinds = list(told[-1][1]["recall"])
        grid = Table("recall@10", "nprobes", "refine", "ms", *kinds, box=None, pad_edge=False)
        for kind, each in told:
            recalls = [f"{each['recall'][name]:.3f}" for name in kinds]
            grid.add_row(kind, str(each["nprobes"]), str(each["refine"]), f"{each['milliseconds']:.1f}", *recalls)
        out.print(grid)
    for line in lines_of(report):
        out.print(escape(line))
