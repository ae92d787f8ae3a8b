"""Passages in small parts, each with a score of its own: under a budget of tokens, small parts hold more answers than long ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from encoders.chunks import chunks
from encoders.context import DEFAULT, words
from encoders.errors import MediumError
from encoders.prompts import prompt_of
from encoders.spec import Encoder
from encoders.stacking import encoded
from retrieval.answers.passages import Passage, cut
from retrieval.query import Hit

OWN = 0.7
"""Weight of a part's own similarity against that of the chunk it stands in."""
SCRAP = 4
"""A fourth of a part's size is too little to stand alone."""


def parts(
    encoder: Encoder, passages: Sequence[Passage], hits: Sequence[Hit], question: np.ndarray, size: int, own: float = OWN
) -> list[Passage]:
    """The parts of some texts' passages, which lie side by side without a gap.

    A part scores `own` times the cosine similarity of its own vector with the question, and else that of the best chunk it stands in: a
    sentence alone says little about what it speaks of. That smaller units answer more questions within the same number of tokens is the
    finding of Chen et al., "Dense X Retrieval" (2024), section 5.

    Parameters
    ----------
    encoder : of the texts; parts are encoded as texts, not as queries.
    hits : the chunks that the passages were made of.
    question : float32 (windows, dimension), of unit length; the best window counts.
    size : most tokens of a part, by the encoder's tokenizer, else words. A part ends with a sentence where that can be.
    own : 0 encodes nothing.
    """
    chunks_of: dict[str, list[Hit]] = {}
    for hit in hits:
        chunks_of.setdefault(hit.uri, []).append(hit)
    found = [
        cut(passage, first, last, _of_chunks(chunks_of.get(passage.uri, ()), passage, first, last))
        for passage in passages
        for first, last in _cuts(encoder, passage.text or "", size)
    ]
    if not own:
        return found
    scores = _scores(encoder, [part.text or "" for part in found], question)
    return [
        part if score is None else replace(part, score=own * score + (1 - own) * part.score)
        for part, score in zip(found, scores, strict=True)
    ]


def _of_chunks(chunks: Iterable[Hit], passage: Passage, first: int, last: int) -> float:
    """The best score of the chunks that a part shares characters with; its passage's where that is not known."""
    start = (passage.start or 0.0) + first
    end = start + last - first
    scores = [hit.score for hit in chunks if (hit.start or 0.0) < end and start < (hit.end or 0.0)]
    return max(scores, default=passage.score)


def _cuts(encoder: Encoder, text: str, size: int) -> list[tuple[int, int]]:
    """Where parts begin and end; what stands between two chunks belongs to the first, and a scrap of a few words to its neighbour."""
    most = min(size, encoder.spec.preprocessing.get("chunk", DEFAULT)["size"])
    tokenizer = getattr(encoder, "tokenizer", None) or words()
    found = list(chunks([text], tokenizer, max(1, most - most // SCRAP), 0, prompt_of(encoder.spec, "document")))
    counted = tokenizer.encode_batch_fast([chunk.text for chunk in found], add_special_tokens=False)
    scraps = [len(encoding.ids) <= most // SCRAP for encoding in counted]
    starts = [chunk.start for chunk, scrap in zip(found, scraps, strict=True) if not scrap] or [0]
    return list(zip([0, *starts[1:]], [*starts[1:], len(text)], strict=True))


def _scores(encoder: Encoder, texts: Sequence[str], question: np.ndarray) -> list[float | None]:
    """Cosine similarity of each text with the question; None for one that the encoder refuses."""
    prepared, places = [], []
    for place, text in enumerate(texts):
        try:
            prepared.append(encoder.prepare(text.strip()))
        except (MediumError, ValueError):  # a text of which the encoder knows no word
            continue
        places.append(place)
    scores: list[float | None] = [None] * len(texts)
    if prepared:
        best = (encoded(encoder, prepared) @ question.T).max(axis=1)
        for place, score in zip(places, best, strict=True):
            scores[place] = float(score)
    return scores
