"""How recommendations look to a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from flows.display import out, safe

SHOWN = 3


def show_recommended(told: Mapping[str, Any], filtered: bool) -> None:
    """What the taste is made of, the offers, and what was not known; `filtered`: whether flags left only a part of the table."""
    out.print(f"[bold]{_taste(told)}[/bold]")
    for offer in told["offers"]:
        score = f"{offer['score']:.3f}" if offer["taste"] else f"{offer['likes']:,} like{'s' if offer['likes'] > 1 else ''}"
        taste = f"taste {offer['taste']}  " if len(told["tastes"]) > 1 else ""
        out.print(f"{score}  {taste}{safe(offer['uri'])}{_stretch(offer)}")
        if offer["because"]:
            out.print(f"       [dim]as {safe(offer['because'])}[/dim]")
    if not told["offers"]:
        advice = "; offer more: without --medium, --modality or --prefix" if filtered else ""
        out.print(f"nothing is left that was not seen{advice}")
    _show_unknown(told["unknown"], len(told["unknown"]), f"named, and not in the table: {len(told['unknown']):,}")
    if account := told.get("interactions"):
        out.print(
            f"of {account['rows']:,} rows {account['empty']:,} name no user or no item; users {account['users']:,}{_ignored(account)}"
        )


def show_all(told: Mapping[str, Any]) -> None:
    """How many users got what, and what was not used."""
    out.print(f"[bold]{told['offers']:,} offers to {told['users']:,} users[/bold] in {safe(told['output'])}")
    out.print(
        f"users {told['users']:,} = by one vector {told['one']:,} + by several {told['several']:,} + what is popular {told['popular']:,}"
        f"; fewer offers than asked for: {told['short']:,}"
    )
    _show_account(told["interactions"])


def show_evaluation(told: Mapping[str, Any]) -> None:
    """Recall, nDCG and coverage of each way with intervals, then what was held out and what was not used."""
    k = told["k"]
    held = {"time": "each user's last new like", "chance": "a random share of each user's likes"}[told["by"]]
    out.print(f"[bold]{told['held']:,} likes of {told['users']:,} users held out[/bold] ({held}), among {told['offered']:,} contents")
    grid = Table("", f"recall@{k}", f"nDCG@{k}", "over popularity", "coverage", box=None, pad_edge=False)
    for column in grid.columns[1:]:
        column.justify = "right"
    for name, method in told["methods"].items():
        gain = method["gain"]
        grid.add_row(name, _cell(method["recall"]), _cell(method["ndcg"]), _cell(gain, "+") if gain else "", f"{method['coverage']:.1%}")
    out.print(grid)
    out.print(f"tastes of several vectors {told['several']:,}; users with too few likes {told['too_few']:,}; later rows {told['later']:,}")
    _show_account(told["interactions"])


def _taste(told: Mapping[str, Any]) -> str:
    whom = f"to {safe(told['user'])}, " if told.get("user") is not None else ""
    if told["popular"]:
        return f"{whom}what most users like: of this one no like is known"
    shares = ", ".join(f"taste {number} {share:.0%}" for number, share in enumerate(told["tastes"], 1))
    vectors = "one vector" if len(told["tastes"]) == 1 else f"{len(told['tastes'])} vectors ({shares})"
    copies = f"; {told['copies']} copies are left out, too" if told["copies"] else ""
    return f"{whom}by {told['liked']} liked and {told['disliked']} disliked, {vectors}{copies}"


def _stretch(offer: Mapping[str, Any]) -> str:
    if offer["start"] is None or offer["medium"] == "text":
        return ""
    return f"  {offer['start']:.1f} to {offer['end']:.1f} s"


def _cell(figure: Mapping[str, float], sign: str = "") -> str:
    between = " to " if sign else "-"
    return f"{figure['value']:{sign}.3f}\n[dim]{figure['low']:{sign}.3f}{between}{figure['high']:{sign}.3f}[/dim]"


def _show_account(account: Mapping[str, Any]) -> None:
    out.print(
        f"rows {account['rows']:,} = used {account['used']:,} + unknown items {account['unknown']:,} + no user or item {account['empty']:,}"
        f"{_ignored(account)}"
    )
    _show_unknown(account["examples"], account["unknown_items"], f"items that are not in the table: {account['unknown_items']:,}")


def _show_unknown(examples: Sequence[str], number: int, title: str) -> None:
    if not number:
        return
    out.print(title)
    for uri in examples[:SHOWN]:
        out.print(f"  {safe(uri)}")
    if number > SHOWN:
        out.print(f"  … and {number - SHOWN:,} more")


def _ignored(account: Mapping[str, Any]) -> str:
    return f"; columns that mean nothing here: {safe(', '.join(account['ignored']))}" if account["ignored"] else ""
