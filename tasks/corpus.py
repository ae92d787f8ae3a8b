"""All texts of a source as one file of words, a sentence a line: read once, however often training goes over it."""

from __future__ import annotations

import errno
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from encoders.errors import EmptyError, MediumError, UnreadableError
from encoders.media.kinds import HEAD, Limits, medium_by_name, settle, type_of
from encoders.media.texts import blocks
from encoders.words.word_counts import WordCounts, sentences
from storage.errors import ObjectError
from storage.text_tables import Columns, RowLimits, text_table_rows
from tasks.report import MOST_FAILURES
from tasks.row_names import kind_of

FETCHES = 16


class Source(Protocol):
    """The part of an object source that this needs."""

    def fetch(self, uri: str, folder: Path, limit: int) -> Path:
        """A local file with the object's bytes."""
        ...


@dataclass
class Corpus:
    """The words of a source's texts.

    Parameters
    ----------
    path : UTF-8, a sentence a line, words with a space between, an empty line after each document; words are in lower case.
    counts : of all words.
    read : texts and table files that stand in the file.
    failed : texts and table files that do not.
    rows : rows of table files that stand in it, each a document.
    bad_rows : rows that do not, because they are not good or have no word.
    failures : the first thousand of those: uri, stage, reason and error.
    skipped : objects that are no texts, by type.
    """

    path: Path
    counts: WordCounts = field(default_factory=WordCounts)
    read: int = 0
    failed: int = 0
    rows: int = 0
    bad_rows: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[list[str]]:
        """The sentences, again for each reader."""
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                if words := line.split():
                    yield words


@dataclass(frozen=True)
class Reading:
    """How texts are read, as when embedding.

    Parameters
    ----------
    limits : what is refused.
    columns : of table files; None skips them.
    row_limits : what is refused of table files.
    """

    limits: Limits
    columns: Columns | None = None
    row_limits: RowLimits = field(default_factory=RowLimits)

    def reads(self, uri: str) -> bool:
        """Whether an object is a text, or a table whose texts are asked for."""
        return medium_by_name(uri) == "text" or (self.columns is not None and kind_of(uri) is not None)


def gather(source: Source, uris: Sequence[str], reading: Reading, folder: Path, alive: Callable[[int, int], None] | None = None) -> Corpus:
    """Write the corpus of a source into `folder`.

    A text that fails, at any place, leaves nothing in the file, and its neighbours stay. Each object is read, failed or skipped.

    Parameters
    ----------
    uris : objects in the order in which their texts are to stand.
    alive : called after each text with how many are done, and of how many.
    """
    corpus = Corpus(folder / "corpus.txt")
    texts = [uri for uri in uris if reading.reads(uri)]
    corpus.skipped.update(type_of(uri) for uri in uris if not reading.reads(uri))
    with corpus.path.open("wb") as file, closing(_fetched(source, texts, reading.limits, folder)) as fetched:
        for number, (uri, found) in enumerate(fetched, start=1):
            place = file.tell()
            try:
                bad_rows = _write(file, _documents(found.result(), uri, reading))
            except (MediumError, ObjectError, OSError, MemoryError) as problem:
                if getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise  # the scratch folder's fault, not the object's
                file.seek(place)
                file.truncate()
                corpus.failed += 1
                corpus.failures += [_failure(uri, problem)] if corpus.failed <= MOST_FAILURES else []
            else:
                file.flush()
                documents = _count(corpus, place)
                corpus.read += 1
                if kind_of(uri):
                    corpus.rows, corpus.bad_rows = corpus.rows + documents, corpus.bad_rows + bad_rows
            finally:
                _discard(found, folder)
            if alive:
                alive(number, len(texts))
    return corpus


def _write(file: BinaryIO, documents: Iterable[Iterable[list[str]] | None]) -> int:
    """Append documents; how many of them are none, or have no word.

    EmptyError where not one has.
    """
    good = bad = 0
    for document in documents:
        sentence: list[str] = []
        for sentence in document or ():
            file.write(" ".join(sentence).encode() + b"\n")
        if sentence:
            file.write(b"\n")
        good, bad = good + bool(sentence), bad + (not sentence)
    if not good:
        raise EmptyError("no words", "the text has no word, only punctuation or symbols")
    return bad


def _documents(path: Path, uri: str, reading: Reading) -> Iterator[Iterable[list[str]] | None]:
    """The sentences of a text, or those of each row of a table; None for a row that is not good."""
    kind = kind_of(uri)
    if kind and reading.columns:
        for row in text_table_rows(path, kind, reading.columns, reading.row_limits):
            yield None if row.reason else sentences([row.content.decode()])
        return
    with path.open("rb") as file:
        modality = settle(uri, file.read(HEAD))
    if modality != "text":
        raise UnreadableError("other content", f"its content is {modality}, not text; rename it to what it is")
    yield sentences(blocks(path, uri, reading.limits))


def _count(corpus: Corpus, place: int) -> int:
    """Count what was written last, now that the whole text is known to be good; how many documents it is."""
    before, begun = corpus.counts.total, False
    with corpus.path.open("rb") as file:
        file.seek(place)
        for line in file:
            words = line.decode().split()
            if words and not begun:
                corpus.counts.begin_document()
            corpus.counts.add(words)
            begun = bool(words)
    return corpus.counts.total - before


def _failure(uri: str, problem: Exception) -> dict[str, str]:
    if isinstance(problem, ObjectError | MediumError):
        return {
            "uri": uri,
            "stage": "fetch" if isinstance(problem, ObjectError) else "decode",
            "reason": problem.reason,
            "error": problem.message,
        }
    reason = "out of memory" if isinstance(problem, MemoryError) else "unavailable"
    return {"uri": uri, "stage": "fetch", "reason": reason, "error": f"{type(problem).__name__}: {problem}"[:500]}


def _fetched(source: Source, uris: Sequence[str], limits: Limits, folder: Path) -> Generator[tuple[str, Future[Path]], None, None]:
    """Objects in order, a few on their way while one is read."""
    under_way: deque[tuple[str, Future[Path]]] = deque()
    with ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch") as pool:
        for uri in uris:
            under_way.append((uri, pool.submit(source.fetch, uri, folder, limits.bytes)))
            if len(under_way) >= FETCHES:
                yield under_way.popleft()
        while under_way:
            yield under_way.popleft()


def _discard(found: Future[Path], folder: Path) -> None:
    """Remove a downloaded copy; a folder's own file stays where it is."""
    if found.exception() is None and found.result().is_relative_to(folder):
        found.result().unlink(missing_ok=True)
