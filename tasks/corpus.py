"""All texts of a source as one file of words, a sentence a line: read once, however often training goes over it."""

from __future__ import annotations

import errno
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from encoders.errors import EmptyError, MediumError, UnreadableError
from encoders.media import HEAD, Limits, modality_of, settle, type_of
from encoders.texts import blocks
from encoders.word_counts import WordCounts, sentences
from storage.errors import ObjectError
from tasks.report import MOST_FAILURES

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
    path : UTF-8, a sentence a line, words with a space between; words are in lower case.
    counts : of all words.
    read : texts that stand in the file.
    failed : texts that do not.
    failures : the first thousand of those: uri, stage, reason and error.
    skipped : objects that are no texts, by type.
    """

    path: Path
    counts: WordCounts = field(default_factory=WordCounts)
    read: int = 0
    failed: int = 0
    failures: list[dict[str, str]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[list[str]]:
        """The sentences, again for each reader."""
        with self.path.open(encoding="utf-8") as file:
            for line in file:
                yield line.split()


def gather(source: Source, uris: Sequence[str], limits: Limits, folder: Path, alive: Callable[[int, int], None] | None = None) -> Corpus:
    """Write the corpus of a source into `folder`.

    A text that fails, at any place, leaves nothing in the file, and its neighbours stay. Each object is read, failed or skipped.

    Parameters
    ----------
    uris : objects in the order in which their texts are to stand.
    limits : what is refused, as when embedding.
    alive : called after each text with how many are done, and of how many.
    """
    corpus = Corpus(folder / "corpus.txt")
    texts = [uri for uri in uris if modality_of(uri) == "text"]
    corpus.skipped.update(type_of(uri) for uri in uris if modality_of(uri) != "text")
    with corpus.path.open("wb") as file, closing(_fetched(source, texts, limits, folder)) as fetched:
        for number, (uri, found) in enumerate(fetched, start=1):
            place = file.tell()
            try:
                path = found.result()
                for sentence in _sentences(path, uri, limits):
                    file.write(" ".join(sentence).encode() + b"\n")
            except (MediumError, ObjectError, OSError, MemoryError) as problem:
                if getattr(problem, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
                    raise  # the scratch folder's fault, not the object's
                file.seek(place)
                file.truncate()
                corpus.failed += 1
                corpus.failures += [_failure(uri, problem)] if corpus.failed <= MOST_FAILURES else []
            else:
                _count(corpus, file.flush, place)
                corpus.read += 1
            finally:
                _discard(found, folder)
            if alive:
                alive(number, len(texts))
    return corpus


def _sentences(path: Path, uri: str, limits: Limits) -> Iterator[list[str]]:
    with path.open("rb") as file:
        modality = settle(uri, file.read(HEAD))
    if modality != "text":
        raise UnreadableError("other content", f"its content is {modality}, not text; rename it to what it is")
    empty = True
    for sentence in sentences(blocks(path, uri, limits)):
        empty = False
        yield sentence
    if empty:
        raise EmptyError("no words", "the text has no word, only punctuation or symbols")


def _count(corpus: Corpus, flush: Callable[[], None], place: int) -> None:
    """Count what was written last, now that the whole text is known to be good."""
    flush()
    corpus.counts.begin_document()
    with corpus.path.open("rb") as file:
        file.seek(place)
        for line in file:
            corpus.counts.add(line.decode().split())


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
