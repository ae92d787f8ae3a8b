"""The report of a score as markdown for Prefect's UI: figures with their intervals, and the same as pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.charts import as_markdown, bars

METRICS = {"recall@1": "recall@1", "recall@5": "recall@5", "recall@10": "recall@10", "mrr": "MRR", "ndcg@10": "nDCG@10"}
MIXED = "text>all"

Report = Mapping[str, Any]


def markdown(report: Report) -> str:
    """The whole report."""
    lines = [
        f"# {report['verdict']}",
        *_where(report),
        "",
        "## Directions",
        "",
        *_directions(report),
        "",
        as_markdown(bars(_recalls(report), "recall@1 by direction"), "recall@1"),
        *_compared(report),
        *_through_index(report),
        *_mixed(report),
        "",
        "## Shape of the space",
        "",
        *_shape(report),
        "",
        "## Pairs",
        "",
        *(f"- {line}" for line in pair_lines(report)),
    ]
    return "\n".join(lines) + "\n"


def told(figure: Report, sign: str = "") -> str:
    """A figure with its interval; with a sign for differences."""
    return f"{figure['value']:{sign}.3f} ({figure['low']:{sign}.3f} to {figure['high']:{sign}.3f})"


def all_figures(score: Report) -> dict[str, Report]:
    """Directions and mixed lists by name: queries, candidates and figures."""
    return {**score["directions"], **({MIXED: score["mixed"]} if score["mixed"] else {})}


def pair_lines(report: Report) -> Iterator[str]:
    """What became of the pairs, one line each."""
    pairs = report["pairs"]
    left = f"{pairs['duplicates']:,} repeat another, {pairs['too_few']:,} have fewer than two things left"
    yield f"{pairs['scored']:,} pairs scored of {pairs['rows']:,} rows: {left}, {pairs['other_sides']:,} are on other sides of the split"
    for where, missing in (("", pairs["missing"]), ("against: ", (report["against"] or {}).get("missing", {}))):
        for modality, reasons in missing.items():
            yield f"{where}{modality}: " + ", ".join(f"{n:,} {reason}" for reason, n in reasons.items())


def shape_lines(report: Report) -> Iterator[tuple[str, str, float, float | None]]:
    """Name, of what, value, and the value of the table compared with."""
    other = (report["against"] or {}).get("shape", {})
    for name, values in report["shape"].items():
        for what, value in values.items():
            yield name, what, value, other.get(name, {}).get(what)


def _where(report: Report) -> Iterator[str]:
    for before, score in (("Table", report), ("\nagainst", report["against"])):
        if score:
            what = f"space **{score['space']}**, generation `{score['generation']}`"
            yield f"{before} `{score['table']}` of `{score['database']}`, version {score['version']}: {what}"


def _directions(report: Report) -> Iterator[str]:
    yield "| direction | queries | candidates | " + " | ".join(METRICS.values()) + " |"
    yield "|-|-:|-:|" + "-:|" * len(METRICS)
    for name, each in all_figures(report).items():
        cells = " | ".join(told(each["figures"][metric]) for metric in METRICS)
        yield f"| {name} | {each['queries']:,} | {each['candidates']:,} | {cells} |"
    for each in report["thresholds"]:
        verdict = "met" if each["met"] else "**missed**"
        yield f"\nThreshold {each['direction']} {each['metric']} at least {each['least']:g}: {each['value']:.3f}, {verdict}"


def _recalls(report: Report) -> dict[str, dict[str, float]]:
    other = report["against"]
    before = all_figures(other) if other else {}
    return {
        name: {
            **({f"against: {other['space']}": before[name]["figures"]["recall@1"]["value"]} if name in before else {}),
            report["space"]: each["figures"]["recall@1"]["value"],
        }
        for name, each in all_figures(report).items()
    }


def _compared(report: Report) -> Iterator[str]:
    if not report["differences"]:
        return
    yield "\n## Gained, on the very same questions\n"
    yield "| direction | " + " | ".join(METRICS.values()) + " |"
    yield "|-|" + "-:|" * len(METRICS)
    for name, figures in report["differences"].items():
        yield f"| {name} | " + " | ".join(told(figures[metric], "+") for metric in METRICS) + " |"


def _through_index(report: Report) -> Iterator[str]:
    indexed = {name: each["index"] for name, each in report["directions"].items() if each["index"]}
    if not indexed:
        return
    yield "\n## Through the index\n"
    yield "| direction | queries | recall@10 | lost to exact search | of the exact ten found |"
    yield "|-|-:|-:|-:|-:|"
    for name, each in indexed.items():
        yield f"| {name} | {each['queries']:,} | {told(each['figures']['recall@10'])} | {told(each['lost'])} | {each['found']:.1%} |"


def _mixed(report: Report) -> Iterator[str]:
    if not (mixed := report["mixed"]):
        return
    other = ((report["against"] or {}).get("mixed") or {}).get("top_ten", {})
    yield "\n## Texts asked of all media at once\n"
    yield "| medium | share of the ten nearest | against | share of the right answers | recall@10 |"
    yield "|-|-:|-:|-:|-:|"
    for medium, share in mixed["top_ten"].items():
        recall = mixed["recall"].get(medium)
        before = f"{other[medium]:.1%}" if medium in other else ""
        yield f"| {medium} | {share:.1%} | {before} | {mixed['due'][medium]:.1%} | {'' if recall is None else f'{recall:.3f}'} |"


def _shape(report: Report) -> Iterator[str]:
    yield "| | of | value | against |"
    yield "|-|-|-:|-:|"
    for name, what, value, other in shape_lines(report):
        yield f"| {name} | {what} | {value:.3f} | {'' if other is None else f'{other:.3f}'} |"
