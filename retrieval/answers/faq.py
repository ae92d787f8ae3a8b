"""Questions that have been answered before: a new question against the known ones, as question against question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from encoders.spec import Encoder
from retrieval.errors import QueryError
from retrieval.query_texts import embed_texts
from storage import row_files

COLUMNS = ("question", "answer")
LIKE = 0.7
"""Cosine similarity from which a known question is taken for the same one, by default; encoders differ, see docs/answers.md."""


@dataclass(frozen=True)
class FaqMatch:
    """A known question that is like the one asked.

    Parameters
    ----------
    score : cosine similarity of the two questions, both encoded as queries.
    row : of the file, from 0, its header not counted.
    """

    question: str
    answer: str
    score: float
    row: int


@dataclass(frozen=True)
class Faq:
    """Known questions with their answers.

    Parameters
    ----------
    frame : row, question, answer; each question once.
    rows : in the file.
    incomplete : rows without a question or without an answer, left out.
    repeated : rows whose question an earlier row has, left out.
    """

    frame: pl.DataFrame
    rows: int
    incomplete: int
    repeated: int


@dataclass(frozen=True)
class KnownQuestions:
    """The questions of a FAQ as vectors; encoded once, asked often.

    Parameters
    ----------
    vectors : float32 (chunks, dimension), of unit length; a long question has several.
    owner : int64 (chunks,), the line of `faq.frame` that each belongs to.
    refused : questions that the encoder takes nothing from, by reason.
    """

    faq: Faq
    vectors: np.ndarray
    owner: np.ndarray
    refused: Mapping[str, int]

    @classmethod
    def of(cls, faq: Faq, encoder: Encoder) -> KnownQuestions:
        """Encode all questions, as queries, in batches."""
        made = embed_texts(encoder, faq.frame.get_column("question").to_list())
        refused: dict[str, int] = {}
        for reason in made.failed.values():
            refused[reason] = refused.get(reason, 0) + 1
        return cls(faq, made.vectors, made.kept[made.owner], refused)

    @property
    def left_out(self) -> dict[str, int]:
        """Rows of the file that no question is compared with, by reason."""
        counts = {"without question or answer": self.faq.incomplete, "asked by an earlier row": self.faq.repeated, **self.refused}
        return {reason: count for reason, count in counts.items() if count}

    def nearest(self, question: np.ndarray) -> FaqMatch | None:
        """The known question that is most like the one asked, float32 (windows, dimension), however little; None if there is none."""
        if not len(self.vectors):
            return None
        scores = (self.vectors @ question.T).max(axis=1)
        best = int(scores.argmax())
        row, asked, answer = self.faq.frame.row(int(self.owner[best]))
        return FaqMatch(asked, answer, float(scores[best]), row)


def read_faq(path: str | Path) -> Faq:
    """Known questions from a CSV, TSV, JSONL or Parquet file with the columns question and answer; others are not looked at.

    Raises
    ------
    RowFileError : there is no such file, it is of another kind, or cannot be read.
    QueryError : it lacks one of the columns or any full row, or a column holds no texts.
    """
    path = Path(path)
    frame = row_files.read(path, "FAQ")
    if missing := [name for name in COLUMNS if name not in frame.columns]:
        raise QueryError(f"the FAQ {path} has no column {' and no '.join(missing)}; it has {', '.join(frame.columns[:20]) or 'none'}")
    return _checked(frame, path)


def _checked(frame: pl.DataFrame, path: Path) -> Faq:
    for name in COLUMNS:
        if (kind := frame.schema[name]).is_nested() or kind == pl.Binary:
            raise QueryError(f"column {name!r} of the FAQ {path} holds {kind}; a question and an answer are texts, one a row")
    words = [pl.col(name).cast(pl.String, strict=False).str.strip_chars() for name in COLUMNS]
    told = frame.select(words).with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    full = told.filter(*((pl.col(name).str.len_chars() > 0).fill_null(value=False) for name in COLUMNS))
    kept = full.unique("question", keep="first", maintain_order=True)
    if kept.is_empty():
        raise QueryError(f"not one of the {frame.height} rows of the FAQ {path} has both a question and an answer")
    return Faq(kept, frame.height, frame.height - full.height, full.height - kept.height)
