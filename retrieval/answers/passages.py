"""From hits to passages that can be cited: chunks of one text that touch become one stretch, neighbouring windows one moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from retrieval.query import Hit
from retrieval.search import moments

TOUCHING = 2  # characters between a chunk of a text and the next, which are white space: a blank, or the end of a paragraph


@dataclass(frozen=True)
class Passage:
    """Something of one object that answers a question, with the place where it is.

    Parameters
    ----------
    start, end : characters of a text, seconds of a sound or video, None for a picture.
    text : the words themselves, `end - start` characters of a text; the caption of a picture, sound or video if one is known, else None.
    score : cosine similarity of its best hit.
    hits : how many hits were merged.
    name : what it is cited as, shorter than its URI; "" for the URI itself.
    content_hash : hex SHA-256 of the whole object, "" where it was not asked for.
    copies : URIs of objects with the very same content, which are not passages of their own.
    """

    uri: str
    medium: str
    modality: str
    start: float | None
    end: float | None
    text: str | None
    score: float
    hits: int = 1
    name: str = ""
    content_hash: str = ""
    copies: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """Where in the object: "characters 120 to 480", "seconds 3.1 to 8.0", or "" for a picture."""
        if self.start is None or self.end is None:
            return ""
        return f"characters {self.start:.0f} to {self.end:.0f}" if self.medium == "text" else f"seconds {self.start:.1f} to {self.end:.1f}"

    def citation(self, number: int) -> str:
        """One line: "[1] texts/dog.txt, characters 120 to 480"."""
        return f"[{number}] {self.name or self.uri}{', ' if self.place else ''}{self.place}"


def passages(hits: Iterable[Hit], gap: float = moments.GAP) -> list[Passage]:
    """Passages of some hits, best first.

    Chunks of one text that overlap, or between which there is nothing but white space, are one passage, in which what they share stands
    once. Windows of one sound and frames of one video that lie at most `gap` seconds apart are one passage
    (`retrieval.search.moments.merge`). A picture is a passage. The same segment named twice counts once.
    """
    unique = {(hit.uri, hit.segment): hit for hit in sorted(hits, key=lambda hit: hit.score)}.values()
    texts: dict[str, list[Hit]] = {}
    for hit in unique:
        if hit.medium == "text":
            texts.setdefault(hit.uri, []).append(hit)
    found = [stretch for chunks in texts.values() for stretch in _stretches(chunks)]
    found += [Passage(m.uri, m.medium, m.best.modality, m.start, m.end, None, m.score, m.hits) for m in moments.merge(unique, gap)]
    found += [_alone(hit) for hit in unique if hit.medium not in ("text", *moments.TIMED) or (hit.medium != "text" and hit.start is None)]
    return sorted(found, key=lambda passage: (-passage.score, passage.uri, passage.start or 0.0))


def cut(passage: Passage, first: int, last: int, score: float) -> Passage:
    """The part of a text's passage between two characters of its words, with a score of its own."""
    start = (passage.start or 0.0) + first
    return replace(passage, start=start, end=start + last - first, text=(passage.text or "")[first:last], score=score)


def trimmed(passage: Passage) -> Passage:
    """The same without white space at the end of a text."""
    if passage.medium != "text" or not passage.text or passage.end is None:
        return passage
    text = passage.text.rstrip()
    return replace(passage, text=text, end=passage.end - (len(passage.text) - len(text)))


def _stretches(chunks: Iterable[Hit]) -> list[Passage]:
    """Chunks of one text, joined where they touch."""
    joined: list[Passage] = []
    before: Hit | None = None
    for hit in sorted(chunks, key=lambda hit: (hit.start or 0.0, hit.segment)):
        follows = before is not None and hit.segment == before.segment + 1
        if joined and (both := _join(joined[-1], _alone(hit), TOUCHING if follows else 0)) is not None:
            joined[-1] = both
        else:
            joined.append(_alone(hit))
        before = hit
    return joined


def _join(first: Passage, second: Passage, between: int) -> Passage | None:
    """Two chunks in order as one; None where more lies between them, or where it is not certain which characters they share."""
    if not (_measured(first) and _measured(second)):
        return None
    words, more = first.text or "", second.text or ""
    apart = int((second.start or 0) - (first.end or 0))
    shared = -apart if apart < 0 else 0
    if apart > between or not (words[-shared:].startswith(more[:shared]) if shared else True):
        return None
    text = words + ("\n" * apart if apart > 1 else " " * apart) + more[shared:]
    start = first.start or 0.0
    return replace(first, end=start + len(text), text=text, score=max(first.score, second.score), hits=first.hits + second.hits)


def _measured(chunk: Passage) -> bool:
    return chunk.text is not None and chunk.start is not None and chunk.end is not None and len(chunk.text) == chunk.end - chunk.start


def _alone(hit: Hit) -> Passage:
    return Passage(hit.uri, hit.medium, hit.modality, hit.start, hit.end, hit.text, hit.score)
