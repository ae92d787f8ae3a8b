"""Many texts as queries, in batches: the same vectors as one at a time (`retrieval.query.Searcher.embed`), some times as fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from encoders.context import fitted
from encoders.errors import MediumError
from encoders.spec import Encoder
from encoders.stacking import by_size, together

BATCH = 64

Inputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class QueryTexts:
    """Vectors of texts.

    Parameters
    ----------
    vectors : float32 (rows, dimension), one row for each chunk of a text.
    owner : int64 (rows,), the text each row belongs to, as its place among `kept`.
    kept : int64, places of the texts that have vectors, ascending.
    failed : reason by place, of those that have none.
    """

    vectors: np.ndarray
    owner: np.ndarray
    kept: np.ndarray
    failed: Mapping[int, str]


def embed_texts(encoder: Encoder, texts: Sequence[str], batch: int = BATCH) -> QueryTexts:
    """Encode texts as queries of an encoder; a text that it refuses is named with the reason, and its neighbours are encoded."""
    prepared: list[Inputs] = []
    owner: list[int] = []
    failed: dict[int, str] = {}
    prepare = getattr(encoder, "prepare_query", encoder.prepare)
    for place, text in enumerate(texts):
        if not is_unicode(text):
            failed[place] = "not UTF-8"
            continue
        try:
            parts = [prepare(chunk.text) for chunk in fitted(encoder, [text], role="query")]
        except MediumError as problem:
            failed[place] = problem.reason
            continue
        prepared += parts
        owner += [place] * len(parts)
        if not parts:
            failed[place] = "no known words" if text.strip() else "empty"
    vectors = np.zeros((len(prepared), encoder.spec.dimension), np.float32)
    order = by_size(prepared)
    for low in range(0, len(order), batch):
        for row, reason in _encode(encoder, prepared, order[low : low + batch], vectors):
            failed.setdefault(owner[row], reason)
    return _without_failed(vectors, np.array(owner, np.int64), failed, len(texts))


def is_unicode(text: str) -> bool:
    """Whether a text can be written in UTF-8; one with half a surrogate pair, as Python reads other bytes of a command line, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encode(encoder: Encoder, prepared: Sequence[Inputs], rows: np.ndarray, vectors: np.ndarray) -> list[tuple[int, str]]:
    """Fill `vectors`; a batch that is refused is halved down to the rows that are to blame, which are returned with the reason."""
    try:
        vectors[rows] = encoder.encode(together([prepared[row] for row in rows]))
    except MediumError as problem:
        if len(rows) == 1:
            return [(int(rows[0]), problem.reason)]
        halves = np.array_split(rows, 2)
        return [failure for half in halves for failure in _encode(encoder, prepared, half, vectors)]
    return []


def _without_failed(vectors: np.ndarray, owner: np.ndarray, failed: Mapping[int, str], texts: int) -> QueryTexts:
    kept = np.setdiff1d(np.arange(texts), list(failed))
    good = np.isin(owner, kept)
    return QueryTexts(vectors[good], np.searchsorted(kept, owner[good]), kept, failed)
