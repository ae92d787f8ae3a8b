"""Passages of texts, from the chunks that the table holds of them: what was hit, and what stands before and behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lancedb.table import Table

    from retrieval.query import Hit

CONTEXT = 160  # characters on each side
LONGEST = 200_000  # characters of one text that are shown
AT_ONCE = 300  # hits in one condition

Chunk = tuple[int, float, str]
"""Segment, place of its first character in the text, words."""


@dataclass(frozen=True)
class Passage:
    """A chunk that was hit, with its surroundings.

    Parameters
    ----------
    parts : what stands before the chunk, the chunk, what stands behind it.
    cut : whether the text goes on before, and behind, what the parts hold.
    """

    parts: tuple[str, str, str]
    cut: tuple[bool, bool]


def passages(table: Table, hits: Sequence[Hit]) -> list[Passage]:
    """For each hit its chunk, and up to `CONTEXT` characters on both sides from the chunks beside it."""
    chunks: dict[tuple[str, int], dict[str, Any]] = {}
    for first in range(0, len(hits), AT_ONCE):
        chunks |= _beside(table, hits[first : first + AT_ONCE])
    return [_passage(hit, chunks) for hit in hits]


def whole(table: Table, uri: str) -> dict[str, Any]:
    """A text as far as the table holds it: its chunks in order, each without what the one before it holds already.

    Returns
    -------
    parts : segment and words; cut : whether more than `LONGEST` characters were there.
    """
    from storage.table import literal

    rows = _rows(table, f"uri = {literal(uri)}")
    parts, at, length = list[dict[str, Any]](), 0.0, 0
    for row in sorted(rows, key=lambda row: (row["start"] or 0, row["segment"])):
        words, start = row["text"] or "", row["start"] or 0.0
        fresh = words[max(0, round(at - start)) :] if parts and _counts(row) else words
        parts.append({"segment": row["segment"], "words": (_gap(start - at) if parts else "") + fresh})
        at, length = max(at, start + len(words)), length + len(fresh)
        if length > LONGEST:
            return {"parts": parts, "cut": True}
    return {"parts": parts, "cut": False}


def _beside(table: Table, hits: Sequence[Hit]) -> dict[tuple[str, int], dict[str, Any]]:
    """The chunks next to each hit, and the one behind the next, which tells whether the text goes on."""
    from storage.table import literal

    if not hits:
        return {}
    near = " OR ".join(
        f"(uri = {literal(hit.uri)} AND segment IN ({hit.segment - 1}, {hit.segment + 1}, {hit.segment + 2}))" for hit in hits
    )
    return {(row["uri"], row["segment"]): row for row in _rows(table, near)}


def _passage(hit: Hit, chunks: dict[tuple[str, int], dict[str, Any]]) -> Passage:
    words, start = hit.text or "", hit.start or 0.0
    before, behind = chunks.get((hit.uri, hit.segment - 1)), chunks.get((hit.uri, hit.segment + 1))
    lead = before["text"][: max(0, round(start - before["start"]))] + _gap(start - before["end"]) if before and _counts(before) else ""
    end = start + len(words)
    tail = _gap(behind["start"] - end) + behind["text"][max(0, round(end - behind["start"])) :] if behind and _counts(behind) else ""
    more_before = hit.segment > (1 if lead else 0)
    more_behind = (hit.uri, hit.segment + (2 if tail else 1)) in chunks
    cut = (more_before or len(lead) > CONTEXT, more_behind or len(tail) > CONTEXT)
    return Passage((lead[-CONTEXT:], words, tail[:CONTEXT]), cut)


def _gap(characters: float) -> str:
    """What stands between two chunks: white space, which no chunk keeps, so that its kind is guessed by its length."""
    return "" if characters < 1 else " " if characters < 2 else "\n\n"


def _counts(row: dict[str, Any]) -> bool:
    """Whether a chunk's words are as many characters as its places in the text tell, so that overlaps can be cut by them."""
    return bool(row["text"]) and row["start"] is not None and row["end"] is not None and len(row["text"]) == row["end"] - row["start"]


def _rows(table: Table, condition: str) -> list[dict[str, Any]]:
    from storage.faults import told
    from storage.replace import scan

    with told(f"reading table {table.name!r}"):
        rows: list[dict[str, Any]] = scan(table.to_lance(), ["uri", "segment", "start", "end", "text"], condition).to_table().to_pylist()
    return rows
