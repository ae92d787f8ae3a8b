"""The textbook's first vectors: one number for each word of a vocabulary, and the same folded into a fixed number of buckets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from encoders.errors import EncoderError
from encoders.spec import Spec
from encoders.weights import digest, origin
from encoders.words.bag import WordEncoder, folder_of, locate, opened, word_preprocessing
from encoders.words.vocabulary import Vocabulary, hashes

MOST = 2**16
"""Longest vector: at 65,536 numbers a row of a table takes 128 kB."""


class OneHot(WordEncoder):
    """One-hot words: a text's vector counts each word of the vocabulary at its own place.

    All words are equally far from each other, and the vector grows with the vocabulary. It is the baseline that other encoders must beat.
    """

    @classmethod
    def describe(
        cls,
        weights: str = "",
        revision: str = "",
        licence: str = "",
        words: int = 0,
        binary: bool = False,
        chunk: int = 0,
        overlap: int = -1,
    ) -> Spec:
        """The spec of a vocabulary; `chunk` and `overlap` as `tokenizer.chunking` says, in words, 256 by default.

        Parameters
        ----------
        weights : what `sensorium train-words` wrote, with any method, or a file of word vectors, of which only the words are used.
        words : the dimension, so many of the most frequent words; 0 for all.
        binary : count a word once, however often it occurs.
        """
        path = locate(weights, revision, method="vocabulary")
        found = digest(path)
        held = len(Vocabulary(folder_of(path, found)))
        if not 0 <= words <= held or (words or held) > MOST:
            raise EncoderError(
                f"one-hot vectors of {words or held:,} numbers: the vocabulary has {held:,} words, allowed are "
                f"{min(held, MOST):,} numbers; set words, or take bag-of-words, whose dimension does not grow with the vocabulary"
            )
        return Spec(
            encoder="one-hot",
            modality=cls.modality,
            dimension=words or held,
            inputs="words",
            preprocessing=word_preprocessing(chunk, overlap),
            pooling="binary" if binary else "count",
            **origin(path, weights, revision, licence),
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary, mapped."""
        return Vocabulary(opened(self.spec))

    def numbers(self, words: Sequence[str]) -> np.ndarray:
        """Rows of the words that are frequent enough."""
        rows = self.vocabulary.rows(words)
        return rows[(rows >= 0) & (rows < self.spec.dimension)]

    def vector(self, numbers: np.ndarray) -> np.ndarray:
        """How often each word occurs, or whether it does."""
        counted: np.ndarray = np.bincount(_once(self.spec, numbers), minlength=self.spec.dimension)
        return counted


class BagOfWords(WordEncoder):
    """Hashed bag of words (Weinberger et al. 2009): each word adds or takes one at the place that its hash says; no vocabulary.

    The expected product of two vectors is that of the one-hot vectors, with an error that falls with the dimension.
    """

    @classmethod
    def describe(
        cls, weights: str = "", revision: str = "", dimension: int = 1024, binary: bool = False, chunk: int = 0, overlap: int = -1
    ) -> Spec:
        """The spec of a dimension; there are no weights.

        Parameters
        ----------
        dimension : buckets, which words share by chance: 1,024 are enough for texts of a page.
        binary, chunk, overlap : as for `OneHot`.
        """
        if weights or revision:
            raise EncoderError(f"bag-of-words has no weights, and {weights or revision!r} was named; leave weights and revision out")
        if not 2 <= dimension <= MOST:
            raise EncoderError(f"bag-of-words of {dimension} buckets; give a dimension from 2 to {MOST:,}")
        how = word_preprocessing(chunk, overlap)
        how |= {"case": "lower", "unknown": "none", "hash": "blake2b-64, the highest bit is the sign"}
        return Spec(
            encoder="bag-of-words",
            modality=cls.modality,
            dimension=dimension,
            inputs="words",
            preprocessing=how,
            pooling="binary" if binary else "count",
        )

    def numbers(self, words: Sequence[str]) -> np.ndarray:
        """Twice the bucket of each word, and one more where it counts negatively."""
        hashed = hashes([word.lower().encode("utf-8", "surrogatepass") for word in words])
        buckets = hashed % np.uint64(2**63) % np.uint64(self.spec.dimension)
        numbers: np.ndarray = (2 * buckets + (hashed >> np.uint64(63))).astype(np.int32)
        return numbers

    def vector(self, numbers: np.ndarray) -> np.ndarray:
        """Signed counts by bucket."""
        chosen = _once(self.spec, numbers)
        counted: np.ndarray = np.bincount(chosen // 2, weights=1.0 - 2.0 * (chosen % 2), minlength=self.spec.dimension)
        return counted


def _once(spec: Spec, numbers: np.ndarray) -> np.ndarray:
    return np.unique(numbers) if spec.pooling == "binary" else numbers
