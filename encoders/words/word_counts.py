"""From texts to a vocabulary: sentences of words, and how often each word occurs, in bounded memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from encoders.words.segmentation import words

MOST_COUNTED = 2**20
LONGEST_SENTENCE = 1000
"""Words; what is longer is cut, for the trainers take a sentence at a time."""

_END = re.compile(r"(?<=[.!?…])\s|(?<=[。！？；])|\n")
_LONGEST_HELD = 2**16


def sentences(blocks: Iterable[str]) -> Iterator[list[str]]:
    """The sentences of a text as lists of words in lower case, each of at least one word.

    A sentence ends at its punctuation or its line: in prose with hard line ends some neighbours of words are lost, while in lists, one item
    a line, words of different items are never taken for neighbours.

    Parameters
    ----------
    blocks : the text; see `encoders.media.texts.blocks`.
    """
    for text in _pieces(blocks):
        found = [word.lower() for word in words(text)]
        for start in range(0, len(found), LONGEST_SENTENCE):
            yield found[start : start + LONGEST_SENTENCE]


def _pieces(blocks: Iterable[str]) -> Iterator[str]:
    held = ""
    for block in blocks:
        *whole, held = _END.split(held + block)
        yield from whole
        if len(held) > _LONGEST_HELD:
            place = max(held.rfind(" "), held.rfind("，")) + 1 or len(held)
            yield held[:place]
            held = held[place:]
    yield held


@dataclass(frozen=True)
class Counted:
    """A vocabulary: words by falling count, equal counts by the alphabet.

    Parameters
    ----------
    words : the words that are kept.
    counts, documents : int64 (n,), how often each occurs and in how many documents.
    tokens : words of all texts, those that are not kept included.
    total : documents.
    """

    words: list[str]
    counts: np.ndarray
    documents: np.ndarray
    tokens: int
    total: int


class WordCounts:
    """Counts words and the documents they stand in.

    Whenever more than `most` different words are held, the rarest are forgotten, each time those of one more occurrence, as word2vec does:
    counts of rare words are then too low, those of others exact. A million words take about 250 MB.
    """

    def __init__(self, most: int = MOST_COUNTED) -> None:
        self._most = most
        self._held: dict[str, list[int]] = {}  # count, documents, last document
        self._forgotten = 0
        self.tokens = 0
        self.total = 0

    def begin_document(self) -> None:
        """Count what is added from now on as another document's."""
        self.total += 1

    def add(self, sentence: Sequence[str]) -> None:
        """Count a sentence's words."""
        self.tokens += len(sentence)
        for word in sentence:
            entry = self._held.setdefault(word, [0, 0, 0])
            entry[0] += 1
            if entry[2] != self.total:
                entry[1:] = entry[1] + 1, self.total
        while len(self._held) > self._most:
            self._forgotten += 1
            self._held = {word: entry for word, entry in self._held.items() if entry[0] > self._forgotten}

    def counted(self, least: int, most: int) -> Counted:
        """At most `most` words that occur at least `least` times."""
        kept = sorted((-entry[0], word) for word, entry in self._held.items() if entry[0] >= least)[:most]
        words = [word for _, word in kept]
        documents = np.array([self._held[word][1] for word in words], np.int64)
        return Counted(words, np.array([-count for count, _ in kept], np.int64), documents, self.tokens, self.total)
