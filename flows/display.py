"""How results look to a person at a terminal; results go to stdout, progress to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tasks.report import SAMPLE, Account, paid

if TYPE_CHECKING:  # a search shows its hits without the imports of a run
    from encoders.catalogue import Entry
    from flows.prices import Cost
    from tasks.plan import Plan

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show a bar over the shards of the run inside this block."""
    from flows.pipeline import listener

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("shards"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:  # elsewhere it leaves an empty line
        line = bar.add_task(what, total=None)
        token = listener.set(lambda figures, count: bar.update(line, advance=1, total=count, description=f"{what}: {figures.name}"))
        try:
            yield
        finally:
            listener.reset(token)


@contextmanager
def steps() -> Iterator[Callable[[str, int, int, str], None]]:
    """Give a function that shows how far each step of the work in this block is: its name, how many are done, of how many, a remark."""
    remarks = TextColumn("{task.fields[remark]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), remarks)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as bar:
        lines: dict[str, TaskID] = {}

        def told(step: str, done: int, total: int, remark: str) -> None:
            if step not in lines:
                lines[step] = bar.add_task(step, total=total, remark=remark)
            bar.update(lines[step], completed=done, remark=remark)

        yield told


def show_training(account: Mapping[str, Any]) -> None:
    """What `train-words` did: the account as an equation, what was learned, what to type next."""
    skipped = sum(account["skipped"].values())
    out.print(f"[bold]{account['words']:,} words by {account['method']}[/bold] in {safe(account['output'])}")
    out.print(f"listed {account['listed']} = read {account['read']} + failed {account['failed']} + skipped {skipped}")
    if sum(account["rows"].values()):
        out.print(f"of table files {account['rows']['read']:,} rows were read, {account['rows']['failed']:,} were not")
    out.print(f"{account['tokens']:,} words in all texts, of which {account['kept']:,} are in the vocabulary")
    if losses := account["losses"]:
        out.print(f"loss {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last of {len(losses)}")
    show_failures(account["failures"], account["source"], "could not be read:", f"{account['failed'] - SAMPLE} more")
    out.print(f"{account['seconds']['total']:.1f} s in all; in a space's TOML file:")
    encoder = "word-vectors" if losses else "one-hot"
    out.print(f'[text]\nencoder = "{encoder}"\nweights = {json.dumps(account["output"], ensure_ascii=False)}', markup=False)


def show_account(account: Account, verdict: str) -> None:
    """The account as an equation, then what failed and what limited the speed."""
    skipped = sum(account.skipped.values())
    out.print(f"\n[bold]{safe(verdict)}[/bold]")
    out.print(
        f"listed {account.listed} = embedded {account.embedded} + unchanged {account.unchanged} + quarantined {account.quarantined}"
        f" + skipped {skipped}   ({'balanced' if account.balanced else '[bold red]NOT BALANCED[/bold red]'})"
    )
    out.print(
        f"deleted {account.deleted}, rows written {account.segments}, segments encoded {account.encoded}, "
        f"vectors copied for {account.reused} objects, published version {account.version}"
    )
    if account.skipped:
        out.print("skipped: " + ", ".join(f"{n} {safe(kind)}" for kind, n in account.skipped.items()))
    show_failures(account.failures, account.source)
    if account.tokens is not None:
        out.print(paid(account.tokens, account.price))
    out.print(f"limited by {account.bottleneck}; {account.seconds['total']:.1f} s in all")


def show_failures(failures: Sequence[Mapping[str, Any]], source: str, title: str = "in quarantine by this run:", more: str = "") -> None:
    """A bounded sample of failures, one a line."""
    if not failures:
        return
    out.print(title)
    for failure in failures[:SAMPLE]:
        name = failure["uri"].removeprefix(source).lstrip("/")
        out.print(f"  {failure['stage']}, {failure['reason']}: {safe(name)}")
    if len(failures) > SAMPLE:
        out.print(f"… and {more or f'{len(failures) - SAMPLE} more: sensorium quarantine list'}")


def show_plan(plan: Plan, seconds: float | None, cost: Cost | None = None) -> None:
    """What a run would do."""
    import polars as pl

    out.print(f"listed {plan.listed}: {plan.todo.height} to embed, {plan.unchanged} unchanged, {plan.waiting.height} in quarantine,")
    out.print(f"{sum(plan.skipped.values())} skipped, {len(plan.vanished)} to delete; nothing was written")
    for medium, n, size in plan.todo.group_by("medium").agg(n=pl.len(), size=pl.col("size").sum()).sort("medium").iter_rows():
        out.print(f"  {medium}: {n} objects, {size / 1e6:.1f} MB")
    if seconds is not None:
        out.print(f"about {seconds:.0f} s at the speed of the last run")
    if cost is not None:
        price = "price not set (option price)" if cost.price is None else f"{cost.price:,.4f} at {cost.rate:g} per million"
        out.print(f"about {cost.tokens:,} tokens of the server, {price}: an estimate from the listed bytes, three a token")


def show_quarantine(rows: Sequence[Mapping[str, Any]]) -> None:
    """Quarantined objects: each URI whole, and below it what happened."""
    if not rows:
        out.print("nothing is in quarantine")
    for row in rows:
        tried = f"{row['attempts']} time{'s' if row['attempts'] > 1 else ''}, last {row['last_failed']:%Y-%m-%d %H:%M:%S}"
        out.print(safe(row["uri"]))
        out.print(f"   {row['stage']}, [bold]{safe(row['reason'])}[/bold], tried {tried}: {safe(row['error'])}")


def show_mapping(title: str, values: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    out.print(f"[bold]{safe(title)}[/bold]")
    for name, value in values.items():
        out.print(f"  {name}: {safe(str(value))}")


def show_catalogue(entries: Sequence[Entry]) -> None:
    """Spaces, then encoders with their checkpoints below them, in at most 100 columns."""
    grid = Table("space, encoder, [dim]its weights[/dim]", "reads", "dimension", "licence", "here", box=None, pad_edge=False)
    for entry in entries:
        below = entry.kind == "checkpoint"
        name = f"  [dim]{safe(entry.weights)}[/dim]" if below else f"[bold]{safe(entry.name)}[/bold]"
        here = {None: "", True: "yes", False: "no"}[entry.here]
        cells = [name, _reads(entry), str(entry.dimension or ""), safe(entry.licence or ("not stated" if below else "")), here]
        grid.add_row(*cells)
    out.print(grid)
    for entry in entries:
        if entry.problem:
            out.print(f"[red]{safe(entry.name)}: {safe(entry.problem)}[/red]")
    out.print("\nA space's TOML file names an encoder, its weights and their revision (docs/encoders.md);")
    out.print("--json lists the revisions that are here.")


def _reads(entry: Entry) -> str:
    modalities = ", ".join(entry.modalities)
    if entry.kind == "space":
        return modalities
    amount = f"{entry.reads:,.2f}".rstrip("0").rstrip(".") + f" {entry.unit}" if entry.reads else ""
    return amount if entry.kind == "checkpoint" else f"{modalities} {amount}".strip()


def show_segments(told: Mapping[str, Any], most: int = 50) -> None:
    """Where the segments of a file lie, the first of them by line, and what was written."""
    rows = [
        {
            **{name: row[name] for name in ("segment", "modality", "encoder")},
            **{
                name: "" if row[name] is None else f"{row[name]:,.3f} s" if row["unit"] == "s" else f"{row[name]:,}"
                for name in ("start", "end")
            },
            "inputs": [f"{name} {' x '.join(map(str, shape))}" for name, shape in row["inputs"].items()],
        }
        for row in told["segments"][:most]
    ]
    out.print(f"[bold]{safe(told['file'])}[/bold] in space {safe(told['space'])}: {len(told['segments']):,} segments")
    show_rows(rows, ["segment", "modality", "encoder", "start", "end", "inputs"])
    if len(told["segments"]) > most:
        out.print(f"… and {len(told['segments']) - most:,} more (--json tells all)")
    for path in told["written"]:
        out.print(safe(path))


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Rows as a table of some columns."""
    grid = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        grid.add_row(*(safe(_cell(row[name])) for name in columns))
    out.print(grid)


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def one_line(text: str) -> str:
    """One printable line, whatever a name holds."""
    return "".join(c if c.isprintable() else "�" for c in text)


def safe(text: str) -> str:
    """A name, label or word of somebody else's on one line, none of it taken for a terminal's codes or for markup."""
    return escape(one_line(text))
