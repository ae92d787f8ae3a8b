"""What a run reports: the account that must balance, what limited its speed, and the same as markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

MOST_FAILURES = 1_000  # listed in the account; the quarantine table holds them all
SAMPLE = 20  # shown to people


@dataclass(frozen=True)
class Account:
    """Where every listed object ended: listed = embedded + unchanged + quarantined + sum(skipped).

    All figures but `segments` (rows written) and `encoded` (segments that went through an encoder) count objects. `failures` are those of
    this run: uri, stage, reason, error. `tokens` are those that a server has counted, and `price` is theirs, where the space asks one.
    """

    run: str
    source: str
    database: str
    table: str
    space: str
    generation: str
    listed: int
    embedded: int
    unchanged: int
    quarantined: int
    skipped: Mapping[str, int]
    deleted: int
    segments: int
    encoded: int
    reused: int
    version: int
    balanced: bool
    seconds: Mapping[str, float]
    bottleneck: str
    failures: Sequence[Mapping[str, Any]] = field(default_factory=list)
    tokens: int | None = None
    price: float | None = None

    @property
    def share_good(self) -> float:
        """Share of the readable objects that stand in the table."""
        readable = self.listed - sum(self.skipped.values())
        return (self.embedded + self.unchanged) / readable if readable else 1.0

    def to_dict(self) -> dict[str, Any]:
        """The account as plain JSON values, with the fields that others build on and no more."""
        failures = [{name: failure[name] for name in ("uri", "stage", "reason")} for failure in self.failures]
        values = asdict(self) | {"failures": failures}
        paid = {name: values.pop(name) for name in ("tokens", "price")}
        return values if self.tokens is None else values | paid


def bottleneck(total: float, listing: float, waited: float, encode: float, commit: float) -> str:
    """One sentence on what limited the run's speed, from where the loop's own time went (seconds)."""
    parts = {
        "listing the source": listing,
        "preparing: the encoder waited for decoded objects": waited,
        "encoding: prepared objects waited for the encoder": encode,
        "committing to the table": commit,
    }
    name, seconds = max(parts.items(), key=lambda part: part[1])
    if total <= 0 or seconds < 0.05:
        return "nothing to do"
    return f"{name} ({seconds / total:.0%} of {total:.1f} s)"


def paid(tokens: int, price: float | None) -> str:
    """Tokens of a server and what they cost, in words."""
    return f"{tokens:,} tokens counted by the server" + ("" if price is None else f", {price:,.4f} at the space's price")


def markdown(account: Account, verdict: str, rate: float) -> str:
    """The report of a run for Prefect's UI: account, bottleneck, reasons and a bounded sample of failures."""
    skipped = sum(account.skipped.values())
    types = ", ".join(f"{n} {t}" for t, n in sorted(account.skipped.items())) or "none"
    lines = [
        f"# {verdict}",
        f"`{account.source}` into table `{account.table}` of `{account.database}`",
        f"Space **{account.space}**, generation `{account.generation}`",
        "",
        "| listed | = embedded | + unchanged | + quarantined | + skipped | deleted |",
        "|-:|-:|-:|-:|-:|-:|",
        f"| {account.listed} | {account.embedded} | {account.unchanged} | {account.quarantined} | {skipped} | {account.deleted} |",
        "",
        f"- Balanced: **{'yes' if account.balanced else 'NO'}**; published version {account.version}",
        f"- {account.segments} rows written, {account.encoded} segments encoded ({rate:.0f} a second)",
        f"- {account.reused} objects took over the vectors of known content",
        f"- Skipped by type: {types}",
        *([f"- {paid(account.tokens, account.price)}"] if account.tokens is not None else []),
        f"- What limited the speed: **{account.bottleneck}**",
        f"- Seconds: {', '.join(f'{name} {value:.1f}' for name, value in account.seconds.items())}",
    ]
    return "\n".join(lines + _failure_lines(account.failures)) + "\n"


def _failure_lines(failures: Sequence[Mapping[str, Any]]) -> list[str]:
    if not failures:
        return []
    reasons = Counter(f["reason"] for f in failures)
    lines = ["", "## Failures of this run", "", ", ".join(f"{reason}: {n}" for reason, n in reasons.most_common()), ""]
    lines += ["| object | stage | reason |", "|-|-|-|"]
    lines += [f"| {_cell(f['uri'])} | {f['stage']} | {_cell(f['reason'])} |" for f in failures[:SAMPLE]]
    if len(failures) > SAMPLE:
        lines.append(f"\n… and {len(failures) - SAMPLE} more: `sensorium quarantine list`")
    return lines


def _cell(text: str) -> str:
    """Any name as inert text in a markdown table."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
    return escaped.replace("\n", "⏎").replace("\r", "⏎")
