"""Thousands of questions from a file, answered together: encoded in batches, then searched in one pass over the table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from encoders.errors import MediumError
from retrieval.errors import QueryError
from retrieval.filters import Filter
from retrieval.query import Hit, Searcher
from retrieval.query_texts import embed_texts
from retrieval.search import nothing_fits
from retrieval.search.nothing_fits import Fitting
from retrieval.search.question import Term, asked_as, asked_with, parse, vectors
from retrieval.search.search import Manner, answers
from storage import row_files

LIST = "list of questions (a .txt has one a line)"
QUERY = "query"
TOGETHER = 2_048  # questions answered in one pass: 100 MB at most, whatever the file holds
FEW = 8  # fewer are asked of the engine one by one, which an index answers sooner


@dataclass(frozen=True)
class Answered:
    """A question and its answers.

    Parameters
    ----------
    number : its place in the file, from 0.
    hits : best first.
    problem : why it has no answers; "" for one that was asked.
    """

    number: int
    query: str
    hits: Sequence[Hit]
    problem: str = ""


def read(path: Path) -> list[str]:
    """The questions of a file: the lines of a .txt that are not blank, or the column "query" of Parquet, CSV, TSV or JSONL.

    Raises
    ------
    RowFileError : the file is not there, of another kind, or cannot be read.
    QueryError : it has no such column, or one of lists or objects, or a question in it is empty.
    """
    asked = (
        _lines(path) if path.suffix.lower() == ".txt" else _column(row_files.read(path, "list of questions (a .txt has one a line)"), path)
    )
    empty = [place for place, query in enumerate(asked, 1) if not query or not query.strip()]
    if empty:
        raise QueryError(f"question {empty[0]} of {path} is empty, and {len(empty) - 1} more; take them out")
    return asked


def answer(searcher: Searcher, asked: Sequence[str], keep: Filter, manner: Manner) -> Iterator[Answered]:
    """Each question with its answers, in order: the same as when asked one by one, where the table has no vector index.

    Questions are words, paths, or "uri:" and an object's URI, as `question.parse` reads them. One that cannot be asked is told with its
    problem, and its neighbours are answered. Many are searched exactly, also where the table has an index.
    """
    for low in range(0, len(asked), TOGETHER):
        yield from _together(searcher, asked[low : low + TOGETHER], low, keep, manner)


def write(path: Path, answered: Iterable[Answered]) -> tuple[int, int]:
    """Write answers to a .jsonl, a line a question, or a .parquet, a row a hit; returns how many have been asked, and how many could not.

    The file appears when it is whole.

    Raises
    ------
    QueryError : before anything is answered, if the file is of another kind, or there is no such folder.
    """
    path = path.expanduser()
    write_to = _WRITERS.get(path.suffix.lower())
    if write_to is None:
        raise QueryError(f"{path} is none of {', '.join(_WRITERS)}; answers are written as one of these")
    if not path.parent.is_dir() or path.is_dir():
        raise QueryError(f"answers cannot be written to {path}; name a file in a folder that exists")
    every = list(answered)
    with row_files.whole(path) as beside:
        write_to(beside, every)
    return len(every), sum(bool(one.problem) for one in every)


def as_json(answered: Answered) -> dict[str, Any]:
    """The line of a question: number, query, hits, and problem where there is one."""
    line: dict[str, Any] = {"number": answered.number, "query": answered.query, "hits": [asdict(hit) for hit in answered.hits]}
    return line | ({"problem": answered.problem} if answered.problem else {})


def _together(searcher: Searcher, asked: Sequence[str], first: int, keep: Filter, manner: Manner) -> Iterator[Answered]:
    terms, windows, problems = _embedded(searcher, asked)
    without = {place: asked_with([terms[place]]) for place in windows}
    many = [place for place in sorted(windows) if manner.plain and len(windows) >= FEW and not without[place]]
    hits = dict(zip(many, _in_one_pass(searcher, [windows[place] for place in many], keep, manner), strict=True))
    fittings: dict[str, Fitting] = {}
    for place in sorted(set(windows) - set(many)):
        fitting = _fitting(searcher, terms[place], fittings) if manner.fits else None
        hits[place] = answers(searcher, windows[place], keep.excluding(without[place]), manner, fitting)
    for place, query in enumerate(asked):
        yield Answered(first + place, query, hits.get(place, []), problems.get(place, ""))


def _in_one_pass(searcher: Searcher, questions: Sequence[np.ndarray], keep: Filter, manner: Manner) -> list[list[Hit]]:
    if not questions:
        return []
    query_of = np.repeat(np.arange(len(questions)), [len(windows) for windows in questions])
    found = searcher.nearest_of_many(np.concatenate(questions), query_of, keep=keep, limit=manner.limit, per_object=manner.per_object)
    return [[hit for hit in hits if manner.least is None or hit.score >= manner.least] for hits in found]


def _fitting(searcher: Searcher, term: Term, known: dict[str, Fitting]) -> Fitting:
    asked = asked_as(searcher, [term])
    if asked not in known:
        known[asked] = nothing_fits.read(searcher, asked)
    return known[asked]


def _embedded(searcher: Searcher, asked: Sequence[str]) -> tuple[dict[int, Term], dict[int, np.ndarray], dict[int, str]]:
    """By place: what is asked with, vectors (windows, d) of the questions that can be asked, and problems of the others."""
    terms: dict[int, Term] = {}
    problems: dict[int, str] = {}
    windows: dict[int, np.ndarray] = {}
    for place, query in enumerate(asked):
        try:
            terms[place] = parse(query)
            if not isinstance(terms[place].what, str):
                windows[place] = vectors(searcher, [terms[place]])
        except (QueryError, MediumError, OSError) as problem:
            problems[place] = str(problem)
    words = {place: str(term.what) for place, term in terms.items() if isinstance(term.what, str)}
    if words:
        try:
            encoder = searcher.encoder("text", "words")
        except QueryError as problem:
            return terms, windows, problems | dict.fromkeys(words, str(problem))
        encoded = embed_texts(encoder, list(words.values()))
        places = list(words)
        windows |= {places[kept]: encoded.vectors[encoded.owner == number] for number, kept in enumerate(encoded.kept.tolist())}
        problems |= {places[failed]: f"the words have no vector: {reason}" for failed, reason in encoded.failed.items()}
    return terms, windows, problems


def _write_jsonl(path: Path, every: Sequence[Answered]) -> None:
    path.write_text("".join(json.dumps(as_json(one), ensure_ascii=False) + "\n" for one in every), encoding="utf-8")


def _write_parquet(path: Path, every: Sequence[Answered]) -> None:
    rows: list[Mapping[str, Any]] = [
        {"number": one.number, "query": one.query, "place": place, "problem": None, **asdict(hit)}
        for one in every
        for place, hit in enumerate(one.hits, 1)
    ]
    rows += [{"number": one.number, "query": one.query, "problem": one.problem or None} for one in every if not one.hits]
    pl.DataFrame(rows, schema=_COLUMNS).sort("number", "place").write_parquet(path)


_COLUMNS = {"number": pl.Int64, "query": pl.String, "place": pl.Int64, "problem": pl.String, "uri": pl.String, "medium": pl.String}
_COLUMNS |= {"modality": pl.String, "segment": pl.Int64, "start": pl.Float64, "end": pl.Float64, "text": pl.String, "score": pl.Float64}
_WRITERS: dict[str, Callable[[Path, Sequence[Answered]], None]] = {".jsonl": _write_jsonl, ".parquet": _write_parquet}


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeError) as problem:
        raise QueryError(f"{path} cannot be read: {problem}; write the questions as its lines, in UTF-8") from problem


def _column(frame: pl.DataFrame, path: Path) -> list[str]:
    if QUERY not in frame.columns:
        raise QueryError(f"{path} has the columns {', '.join(frame.columns)}; the questions must stand in a column {QUERY!r}")
    column = frame.get_column(QUERY)
    if column.dtype.is_nested() or column.dtype == pl.Binary:
        raise QueryError(f"column {QUERY!r} of {path} holds {column.dtype}; questions are texts, one a row")
    return column.cast(pl.String).to_list()
