"""How what was found looks to a person at a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from flows.display import one_line, out, safe

if TYPE_CHECKING:  # a search shows its hits without the imports of a run
    from retrieval.query import Hit
    from retrieval.search.moments import Moment


def show_hits(hits: Sequence[Hit]) -> None:
    """Hits, best first, one a line; URIs whole, so that they can be copied."""
    if not hits:
        out.print("nothing found")
    for hit in hits:
        words = f"   [dim]{escape(_short(hit.text))}[/dim]" if hit.text else ""
        out.print(f"{hit.score:.3f}  {hit.modality:5}  {_place(hit):>15}  {safe(hit.uri)}{words}")


def show_moments(moments: Sequence[Moment]) -> None:
    """Moments, best first, one a line."""
    if not moments:
        out.print("nothing found")
    for moment in moments:
        what = f"{moment.hits} hits, best {moment.best.modality} {_place(moment.best)}"
        out.print(f"{moment.score:.3f}  {_clock(moment.start):>8} to {_clock(moment.end):>8}  {safe(moment.uri)}   [dim]{what}[/dim]")


def show_answered(number: int, failed: int, output: Path) -> None:
    """How many questions of a file were asked, and where the answers are."""
    problems = f", {failed:,} could not be asked and say why" if failed else ""
    out.print(f"{number:,} questions{problems}; answers in {escape(str(output))}")


def show_calibration(lines: Sequence[Mapping[str, Any]]) -> None:
    """For each modality asked with and each one found, how well what fits is told from nonsense."""
    out.print("asked  found   fitting questions  nonsense questions  area under the curve")
    out.print("               with an answer     with an answer      by excess  by score")
    for line in lines:
        kept, auc, plain = (f"{value:.3f}" if value is not None else "-" for value in (line["kept"], line["auc"], line["auc_cosine"]))
        out.print(f"{line['asked']:5}  {line['found']:5}   {kept:>17}  {line['wrong']:>18.3f}  {auc:>9}  {plain:>8}")


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds as players show them."""
    whole, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(whole), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def _place(hit: Hit) -> str:
    if hit.start is None or hit.end is None:
        return ""
    return f"{hit.start:.1f}-{hit.end:.1f} s" if hit.medium != "text" else f"{hit.start:.0f}-{hit.end:.0f}"


def _short(text: str) -> str:
    line = one_line(" ".join(text.split()))
    return line if len(line) <= 80 else line[:79] + "…"
