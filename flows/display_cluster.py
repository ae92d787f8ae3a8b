"""How clusters, duplicates and exports look to a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from flows.display import out, safe

MEANT = {"words": "the nearest words", "texts": "words of their own texts", "none": "nothing"}


def show_clusters(report: Mapping[str, Any]) -> None:
    """Each cluster with its name, what it holds and what is typical of it; then what lies apart."""
    noise = f", {report['noise']:,} in none" if report["noise"] else ""
    out.print(
        f"[bold]{report['units']:,} {report['unit']} in {len(report['clusters']):,} clusters{noise}[/bold], named by {_named(report)}"
    )
    for each in report["clusters"]:
        held = ", ".join(f"{medium} {count:,}" for medium, count in each["media"].items())
        out.print(f"\n[bold]{each['cluster']}  {safe(', '.join(each['words']) or 'without a name')}[/bold]  {each['size']:,}: {held}")
        for row in each["exemplars"]:
            out.print(f"   {_place(row)}")
    if report["outliers"]:
        out.print("\nmost apart (local outlier factor, about 1 among its like)")
    for row in report["outliers"]:
        out.print(f"   {row['factor']:.3f}  {_place(row)}")
    if report["silhouettes"]:
        best, highest = max(report["silhouettes"].items(), key=lambda tried: tried[1])
        taken = f"{report['chosen']} was taken (mean silhouette {report['silhouettes'][str(report['chosen'])]:.3f})"
        other = f"; {best} had the best, {highest:.3f}" if best != str(report["chosen"]) else ", the best"
        out.print(f"\nof {len(report['silhouettes'])} numbers of clusters tried, {taken}{other}")
    _show_output(report)


def show_duplicates(report: Mapping[str, Any], rows: pl.DataFrame, limit: int) -> None:
    """Counts, then the groups, members with their cosine to the first."""
    out.print(
        f"[bold]{report['groups']:,} groups among {report['units']:,} {report['unit']}[/bold] at cosine {report['threshold']:g}: "
        f"{report['copies']:,} exact copies, {report['near']:,} near-duplicates"
    )
    for group in rows.filter(pl.col("group") < limit).partition_by("group", maintain_order=True):
        out.print()
        for row in group.iter_rows(named=True):
            alike = "copy " if row["copy"] else f"{row['cosine']:.3f}"
            out.print(f"   {alike}  {_place(row if report['unit'] == 'segments' else {'uri': row['uri']})}")
    if report["groups"] > limit:
        out.print(f"\n{report['groups'] - limit:,} more groups; see them with --limit {report['groups']}, or all in a file with --output")
    _show_output(report)


def show_exported(report: Mapping[str, Any]) -> None:
    """What was written, and how to open it."""
    out.print(f"{report['rows']:,} {report['unit']}, {report['bytes']:,} bytes: {safe(report['file'])}")
    out.print(f"columns {safe(', '.join(report['columns']))}")
    if report["labels"]:
        out.print(f"labels {safe(report['labels'])}")
    if report["open"]:
        out.print(f"open it: {safe(report['open'])}")


def _named(report: Mapping[str, Any]) -> str:
    known = report["vocabulary"]
    if "words" not in known:
        return MEANT[report["named_by"]]
    lost = f", {known['without_vector']:,} without a vector" if known["without_vector"] else ""
    return f"{MEANT[report['named_by']]} of {known['words']:,}{lost}"


def _place(row: Mapping[str, Any]) -> str:
    return safe(row["uri"]) + (f"  segment {row['segment']}" if "segment" in row else "")


def _show_output(report: Mapping[str, Any]) -> None:
    if report["output"]:
        out.print(f"\nwritten to {safe(report['output'])}")
