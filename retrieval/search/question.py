"""A question as a sum of things: this picture, but at night; that sound without the rain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from encoders.media.kinds import medium_by_name
from retrieval.errors import QueryError
from retrieval.means import TINY, mean
from retrieval.query import Searcher

OBJECT = "uri:"  # before the URI of an object of the table
_PATH = re.compile(r"/|\.\.?(/|$)|~(/|$)|file://")  # what begins so is no words
_WEIGHTED = re.compile(r"(?P<what>.+)\*(?P<weight>\d+(\.\d+)?|\.\d+)", re.DOTALL)


@dataclass(frozen=True)
class Item:
    """An object of the table, or one segment of it."""

    uri: str
    segment: int | None = None


@dataclass(frozen=True)
class Term:
    """One thing that a question is made of.

    Parameters
    ----------
    what : words; a Path of a picture, sound, video or text; an object of the table; or a vector (d,) or (windows, d).
    weight : below 0 it is taken away.
    """

    what: str | Path | Item | np.ndarray
    weight: float = 1.0


Question = Sequence[Term]


def vectors(searcher: Searcher, question: Question) -> np.ndarray:
    """Vectors to search with, float32 (windows, d), of unit length.

    One thing alone has a vector for each of its windows (of a long sound, a long text, a video, an object of many segments), and what is
    found scores by the best of them. In a sum each thing is one vector, the mean of its windows brought to length 1, so that weights
    mean the same whatever is long; the weighted sum is brought to length 1 again.

    Raises
    ------
    QueryError : nothing is asked, an object or an encoder for it is not there, or what is added and what is taken away cancel each other.
    MediumError : a file is broken, or nothing that is read.
    """
    if not question:
        raise QueryError("nothing is asked; give words, the path of a picture or sound, or an object of the table")
    if len(question) == 1 and question[0].weight > 0:
        return _windows(searcher, question[0].what)
    total = np.zeros(searcher.dimension, np.float32)
    for term in question:
        total += term.weight * mean(_windows(searcher, term.what), _named(term.what))
    return mean(total[None], "the question")[None]


def asked_with(question: Question) -> frozenset[str]:
    """The objects of the table that a question is made of: no answers to it."""
    return frozenset(term.what.uri for term in question if isinstance(term.what, Item))


def asked_as(searcher: Searcher, question: Question) -> str:
    """The modality of the first thing that a question adds: of words "text", of a video what its first segment was encoded as.

    Raises
    ------
    QueryError : it is a vector, of which nobody knows what it was made from.
    """
    first = next((term.what for term in question if term.weight > 0), None)
    if isinstance(first, str):
        return "text"
    if isinstance(first, Path):
        from encoders.media.containers import medium_of

        medium = medium_of(first.name, first)
        return next(iter(searcher.space.modalities_of(medium)), medium)
    if isinstance(first, Item):
        return searcher.modality_of(first.uri, first.segment or 0)
    raise QueryError("what fits depends on the modality that is asked with, which a vector does not tell; give a least score instead")


def parse(text: str, *, sign: float = 1.0) -> Term:
    """A thing as it is typed: words, a path, or "uri:" and an object's URI; with a weight after an asterisk, as in "at night*0.5".

    Raises
    ------
    FileNotFoundError, IsADirectoryError : as `words_or_path`.
    """
    weighted = _WEIGHTED.fullmatch(text)
    what, weight = (weighted["what"], float(weighted["weight"])) if weighted else (text, 1.0)
    return Term(thing(what), sign * weight)


def thing(text: str) -> str | Path | Item:
    """As `parse`, without a weight."""
    return Item(text.removeprefix(OBJECT)) if text.startswith(OBJECT) else words_or_path(text)


def words_or_path(text: str) -> str | Path:
    """A path if there is such a file; words otherwise.

    What can only be a path begins with /, ./, ../, ~/ or file://, or has the ending of a medium and either a slash or neither blanks nor
    a second dot. So "and/or" are words, and so is the name of a folder without a slash.

    Raises
    ------
    FileNotFoundError : it can only be a path, and there is no such file.
    IsADirectoryError : it is the path of a folder.
    """
    path = _existing(text)
    if path is not None and path.is_file():
        return path
    if path is not None and path.is_dir() and ("/" in text or _PATH.match(text)):
        raise IsADirectoryError(f"{text!r} is a folder; give the path of one picture, sound, video or text file, or words")
    if _can_only_be_a_path(text):
        raise FileNotFoundError(f"there is no file {text!r}; give the path of a picture or sound, or words")
    return text


def _existing(text: str) -> Path | None:
    try:
        path = Path(text.removeprefix("file://")).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):
        return None  # too long or too odd for a path, or the home of nobody


def _can_only_be_a_path(text: str) -> bool:
    is_name = "/" in text or (text.count(".") == 1 and " " not in text)
    return _PATH.match(text) is not None or (is_name and medium_by_name(text) is not None)


def read_vector(path: Path, dimension: int) -> Term:
    """A vector, or several, from a NumPy file: (d,) or (windows, d) real numbers.

    Raises
    ------
    QueryError : it is no such file; of pickled objects nothing is loaded.
    """
    try:
        read = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as problem:
        raise QueryError(f"{path} holds no array of numbers that NumPy can read: {problem}; write it by numpy.save") from problem
    if not isinstance(read, np.ndarray) or read.dtype.kind not in "fiu" or _windows_of(read, dimension) < 1:
        what = f"{read.dtype} {read.shape}" if isinstance(read, np.ndarray) else "several arrays"
        raise QueryError(
            f"{path} holds {what}; vectors of this table are real numbers of the shape ({dimension},) or (windows, {dimension}), "
            "of one window at least"
        )
    return Term(read)


def _windows_of(read: np.ndarray, dimension: int) -> int:
    """How many vectors of a dimension an array holds; 0 for one of another shape."""
    return read.size // dimension if read.ndim in (1, 2) and read.shape[-1] == dimension else 0


def _windows(searcher: Searcher, what: str | Path | Item | np.ndarray) -> np.ndarray:
    if isinstance(what, Item):
        return _unit(searcher.vectors_of(what.uri, what.segment), what)
    if isinstance(what, np.ndarray):
        return _unit(np.atleast_2d(what).astype(np.float32), "the vector")
    return searcher.embed(what)


def _unit(rows: np.ndarray, what: object) -> np.ndarray:
    if not len(rows):
        raise QueryError(f"{what} has no windows; give one vector at least")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or lengths.min() < TINY:
        raise QueryError(f"{what} has a vector of zeros, or one that is not finite; such a vector has no direction")
    scaled: np.ndarray = rows / lengths
    return scaled


def _named(what: object) -> str:
    return repr(what) if isinstance(what, (str, Path, Item)) else "the question"
