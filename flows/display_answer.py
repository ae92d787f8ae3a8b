"""How an answer looks to a person at a terminal, and to a machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.markup import escape

from flows.display import out, safe
from retrieval.answers.answer import Answer
from retrieval.answers.untrusted import visible


def show_answer(answer: Answer) -> None:
    """A known answer or a written one first, then the passages that it rests on, then what was left out."""
    if answer.faq is not None:
        out.print(f"[bold]{_safe(answer.faq.answer)}[/bold]")
        out.print(f"{answer.faq.score:.3f}  as answered before: {_safe(answer.faq.question)}\n")
    elif answer.written is not None:
        out.print(f"[bold]{_safe(answer.written.text)}[/bold]")
        out.print(f"{_safe(told(answer))}\n")
    elif answer.failure:
        out.print(f"No answer was written: {_safe(answer.failure)}\n")
    for number, passage in enumerate(answer.passages, 1):
        out.print(f"{safe(passage.citation(number))}   ({passage.score:.3f})")
        for line in (passage.text or "").splitlines():
            out.print(f"    {_safe(line)}")
        for copy in passage.copies:
            out.print(f"    the very same: {safe(copy)}")
    out.print("\n" + safe("; ".join(_account(answer))))


def told(answer: Answer) -> str:
    """What the check of a written answer says, in one line."""
    written = answer.written
    if written is None:
        return ""
    words = f"{written.model}: {written.verdict}"
    if written.missing:
        words += f" ({', '.join(f'[{number}]' for number in written.missing)})"
    if written.cited:
        words += f"; {written.sentences - written.uncited} of {written.sentences} sentences have a citation"
    return words + ("; cut off by the server" if written.cut_off else "")


def as_plain(answer: Answer) -> dict[str, Any]:
    """The answer as JSON values: each passage with its number, place and citation, and the verdict in words."""
    values = asdict(answer)
    numbered = enumerate(zip(answer.passages, values["passages"], strict=True), 1)
    values["passages"] = [
        {"number": number, "citation": passage.citation(number), "place": passage.place, **plain} for number, (passage, plain) in numbered
    ]
    return {"question": values.pop("question"), "verdict": answer.verdict, **values}


def _account(answer: Answer) -> Iterator[str]:
    if not answer.passages:
        yield f"nothing found that fits {answer.budget:,} tokens" if answer.too_long else "nothing found"
    elif answer.root:
        yield f"all below {answer.root}"
    yield f"{answer.tokens:,} of {answer.budget:,} tokens, by {answer.counted_by}"
    yield f"{answer.hits} hits"
    if answer.copies:
        yield f"{answer.copies} objects left out as copies"
    if answer.alike:
        yield f"{answer.alike} parts left out as nearly identical"
    if answer.too_long:
        yield f"{answer.too_long} parts did not fit"
    if answer.faq is None and answer.nearest is not None:
        yield f"no known question is the same, nearest ({answer.nearest.score:.3f}) {answer.nearest.question!r}"
    for reason, count in answer.faq_left_out.items():
        yield f"{count} known questions left out ({reason})"


def _safe(text: str) -> str:
    return escape(visible(text))
