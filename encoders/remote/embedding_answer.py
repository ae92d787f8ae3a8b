"""An answer of the protocol of OpenAI's embeddings as vectors, each at the place of its text."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np


class AnswerError(ValueError):
    """An answer whose vectors cannot be assigned to their texts; says what is wrong with it."""


class GarbledError(ValueError):
    """An answer that is none of this protocol."""


def read_answer(body: bytes, count: int) -> tuple[np.ndarray, int]:
    """Vectors and tokens of an answer.

    Parameters
    ----------
    body : JSON {"data": [{"index", "embedding"}, …], "usage": {"total_tokens"}}; an embedding is a list of numbers, or the base64 of
        little-endian float32.
    count : texts that were sent.

    Returns
    -------
    float32 (count, dimension), where a vector that holds no numbers (null, as some servers write NaN) is NaN; and the tokens that the
    server counted, 0 where it does not say.

    Raises
    ------
    AnswerError : another number of vectors than of texts, indices that do not name each text once, or vectors of several lengths.
    GarbledError : something else than such JSON.
    """
    try:
        answer = json.loads(body)
        items = answer["data"]
        vectors = [_vector(item["embedding"]) for item in items]
        places = [item.get("index", place) for place, item in enumerate(items)]
    except (ValueError, TypeError, LookupError, AttributeError) as problem:
        raise GarbledError(f"answers something else than embeddings ({type(problem).__name__}: {body[:80]!r})") from None
    if len(vectors) != count:
        raise AnswerError(f"gives {len(vectors)} vectors for {count} texts, so that none can be assigned")
    if sorted(map(str, places)) != sorted(map(str, range(count))):
        raise AnswerError(f"numbers {count} vectors {places[:8]}, so that none can be assigned")
    lengths = {len(vector) for vector in vectors}
    if len(lengths) != 1:
        raise AnswerError(f"gives vectors of {', '.join(map(str, sorted(lengths)))} numbers in one answer")
    ordered = np.empty((count, lengths.pop()), np.float32)
    ordered[[int(place) for place in places]] = vectors
    return ordered, _tokens(answer)


def _vector(embedding: Any) -> np.ndarray:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), "<f4")
    numbers = np.asarray(embedding, np.float64)  # null becomes NaN
    if numbers.ndim != 1:
        raise ValueError(f"{numbers.ndim} axes")
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def _tokens(answer: Any) -> int:
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else 0
