"""Captions that join two spaces: read from a file, and encoded by the text encoders of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from encoders.errors import MediumError
from encoders.spec import Encoder
from encoders.stacking import encoded
from tasks.pairs import PairsError, read_rows

PLAIN = (".txt", ".text", "")
GROUP = 64  # batches that are sorted by length together: padding costs time


@dataclass(frozen=True)
class Captions:
    """Texts, each once.

    Parameters
    ----------
    texts : in the file's order.
    rows : lines or rows of the file.
    blank : of them, those without a text, left out.
    duplicates : those whose text an earlier one has too, left out.
    """

    texts: tuple[str, ...]
    rows: int
    blank: int
    duplicates: int


@dataclass(frozen=True)
class EncodedCaptions:
    """Unit vectors of the captions that all encoders could read.

    Parameters
    ----------
    vectors : float32 (n, dimension) by space, row i of all of them from one caption.
    left_out : captions that one of the encoders refused, by space and reason.
    """

    vectors: Mapping[str, np.ndarray]
    left_out: Mapping[str, int]


def read_captions(path: Path, column: str = "text") -> Captions:
    """Captions of a text file, one a line, or of a column of a Parquet, CSV, TSV or JSONL file.

    Raises
    ------
    PairsError : the file cannot be read, is not UTF-8, or lacks the column.
    """
    if path.suffix.lower() in PLAIN:
        found = _lines(path)
    else:
        rows = read_rows(path, "list of captions")
        if column not in rows.columns:
            raise PairsError(f"{path} has no column {column!r}, only {', '.join(rows.columns[:20])}; name the one that holds captions")
        if rows.schema[column] not in (pl.String, pl.Null):
            raise PairsError(f"{path}: column {column!r} holds {rows.schema[column]}, and captions are texts")
        found = [text or "" for text in rows.get_column(column).cast(pl.String).to_list()]
    filled = [text.strip() for text in found if text.strip()]
    texts = tuple(dict.fromkeys(filled))
    return Captions(texts, len(found), len(found) - len(filled), len(filled) - len(texts))


def encode_captions(
    encoders: Mapping[str, Encoder], texts: Sequence[str], batch: int = 64, told: Callable[[int, int], None] = lambda *_: None
) -> EncodedCaptions:
    """Vectors of captions by several text encoders; one that any of them refuses (too long, no token it knows) is left out and counted.

    Parameters
    ----------
    encoders : by what their space is called.
    told : hears how many captions are done, of how many.
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
    left_out: Counter[str] = Counter()
    for first in range(0, len(texts), batch * GROUP):
        group = texts[first : first + batch * GROUP]
        prepared = [one for text in group if (one := _prepared(encoders, text, left_out)) is not None]
        for name, encoder in encoders.items():
            found[name].append(encoded(encoder, [one[name] for one in prepared], batch))
        told(min(first + batch * GROUP, len(texts)), len(texts))
    vectors = {name: np.concatenate(parts) if parts else np.zeros((0, encoders[name].spec.dimension)) for name, parts in found.items()}
    return EncodedCaptions(vectors, dict(left_out))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as problem:
        raise PairsError(f"{path} cannot be read ({problem.strerror or problem}); give a file of captions") from problem
    except UnicodeDecodeError as problem:
        raise PairsError(f"{path} is not UTF-8 (byte {problem.start}); convert it") from problem


def _prepared(encoders: Mapping[str, Encoder], text: str, left_out: Counter[str]) -> dict[str, dict[str, np.ndarray]] | None:
    prepared = {}
    for name, encoder in encoders.items():
        try:
            prepared[name] = encoder.prepare(text)
        except (MediumError, ValueError) as problem:
            left_out[f"{name}: {problem.reason if isinstance(problem, MediumError) else 'refused'}"] += 1
            return None
    return prepared
