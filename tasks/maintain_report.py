"""The report of a maintenance as markdown for Prefect's UI, and its lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.charts import as_markdown, curves

Report = Mapping[str, Any]


def markdown(report: Report) -> str:
    """The whole report."""
    lines = [
        f"# {report['verdict']}",
        f"Table `{report['table']}` of `{report['source']}`, space **{report['space']}**, generation `{report['generation']}`",
        "",
        "## Index",
        "",
        "| | type | rows | not indexed | parts | size |",
        "|-|-|-:|-:|-:|-:|",
        *(_index(when, report[when]) for when in ("before", "after")),
        "",
        *(f"- {line}" for line in lines_of(report)),
        *_measured(report),
    ]
    return "\n".join(lines) + "\n"


def lines_of(report: Report) -> Iterator[str]:
    """What was done and why, one line each."""
    if report["reason"]:
        yield f"an index was built: {report['reason']}"
    for attempt in report["attempts"]:
        built = f"built in {attempt['build_seconds']:.1f} s" if attempt["built"] else "was there"
        verdict = "" if attempt["reached"] else f", which misses {report['target']:g}"
        yield f"{attempt['kind']} {built}: recall surely {attempt['measured'][-1]['least']:.3f}{verdict}"
    if report["flat_milliseconds"] and report["attempts"]:
        best = report["attempts"][-1]["measured"][-1]["milliseconds"]
        yield f"a search takes {best:.1f} ms; one of every row {report['flat_milliseconds']:.1f} ms"
    yield f"{report['indexed']:,} rows were added to indices, {report['merged']:,} fragments merged, {report['freed'] / 1e6:,.1f} MB freed"
    yield _readers(report)


def settings_told(report: Report) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Kind of index and what one of its settings finds, in the order of the measurements, the one that was kept last."""
    for attempt in report["attempts"]:
        for each in attempt["measured"]:
            yield attempt["kind"], each


def _readers(report: Report) -> str:
    before, after = report["published_before"], report["published"]
    if after is None:
        return "no version is published"
    if before != after:
        return f"readers moved from version {before} to {after}"
    return f"readers stay at version {after}" + ("" if after == report["version"] else f"; the latest is {report['version']}")


def _index(when: str, held: Report) -> str:
    return f"| {when} | {held['kind']} | {held['rows']:,} | {held['unindexed']:,} | {held['parts']} | {held['bytes'] / 1e6:,.1f} MB |"


def _measured(report: Report) -> Iterator[str]:
    told = list(settings_told(report))
    if not told:
        return
    kinds = list(told[-1][1]["recall"])
    yield "\n## Recall@10 by setting\n"
    yield "| index | nprobes | refine | ms | " + " | ".join(kinds) + " |"
    yield "|-|-:|-:|-:|" + "-:|" * len(kinds)
    for kind, each in told:
        cells = " | ".join(f"{each['recall'][name]:.3f}" for name in kinds)
        yield f"| {kind} | {each['nprobes']} | {each['refine']} | {each['milliseconds']:.1f} | {cells} |"
    series = {name: [(float(place), each["recall"][name]) for place, (_, each) in enumerate(told, 1)] for name in kinds}
    series["target"] = [(1.0, report["target"]), (float(max(len(told), 2)), report["target"])]
    yield "\n" + as_markdown(curves(series, "recall@10 by measurement", "measurement"), "recall")
