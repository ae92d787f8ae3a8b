"""How a score looks to a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from flows.display import out
from tasks.score_report import METRICS, all_figures, pair_lines, shape_lines, told


def show_score(report: Mapping[str, Any]) -> None:
    """Verdict, a line for each direction with intervals below, then what else was measured, and what was left out."""
    out.print(f"[bold]{escape(report['verdict'])}[/bold]")
    out.print(escape(_where("", report)))
    _show_figures(report)
    if other := report["against"]:
        out.print("\n" + escape(_where("against ", other)))
        _show_figures(other)
        out.print("\ngained, on the very same questions")
        _show_differences(report["differences"])
    for name, each in report["directions"].items():
        if index := each["index"]:
            out.print(
                f"through the index, {name}: recall@10 {told(index['figures']['recall@10'])}, {told(index['lost'])} lost; "
                f"{index['found']:.1%} of the exact ten found ({index['queries']:,} queries)"
            )
    _show_mixed(report)
    _show_shape(report)
    out.print()
    for line in pair_lines(report):
        out.print(escape(line))


def _where(before: str, score: Mapping[str, Any]) -> str:
    return (
        f"{before}table {score['table']} of {score['database']}, version {score['version']}: space {score['space']}, {score['generation']}"
    )


def _show_figures(score: Mapping[str, Any]) -> None:
    grid = Table("", "queries", "among", *METRICS.values(), box=None, pad_edge=False)
    for column in grid.columns[1:]:
        column.justify = "right"
    for name, each in all_figures(score).items():
        figures = [each["figures"][metric] for metric in METRICS]
        cells = [f"{f['value']:.3f}\n[dim]{f['low']:.3f}-{f['high']:.3f}[/dim]" for f in figures]
        grid.add_row(name, f"{each['queries']:,}", f"{each['candidates']:,}", *cells)
    out.print(grid)


def _show_differences(differences: Mapping[str, Any]) -> None:
    grid = Table("", *METRICS.values(), box=None, pad_edge=False)
    for column in grid.columns[1:]:
        column.justify = "right"
    for name, figures in differences.items():
        cells = [f"{figures[m]['value']:+.3f}\n[dim]{figures[m]['low']:+.3f} to {figures[m]['high']:+.3f}[/dim]" for m in METRICS]
        grid.add_row(name, *cells)
    out.print(grid)


def _show_mixed(report: Mapping[str, Any]) -> None:
    if not (mixed := report["mixed"]):
        return
    other = ((report["against"] or {}).get("mixed") or {}).get("top_ten", {})
    out.print("\ntexts asked of all media at once")
    for medium, share in mixed["top_ten"].items():
        before = f" (against {other[medium]:.1%})" if medium in other else ""
        recall = f", recall@10 {mixed['recall'][medium]:.3f}" if medium in mixed["recall"] else ""
        out.print(f"  {medium}: {share:.1%} of the ten nearest{before}, {mixed['due'][medium]:.1%} of the right answers{recall}")


def _show_shape(report: Mapping[str, Any]) -> None:
    out.print("\nshape of the space (gap, alignment, uniformity: lower is closer, better aligned, more evenly spread)")
    for name, what, value, other in shape_lines(report):
        out.print(f"  {name} {what}: {value:.3f}" + ("" if other is None else f" (against {other:.3f})"))
