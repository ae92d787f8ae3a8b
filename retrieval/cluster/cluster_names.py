"""Names for clusters: the words nearest to them in the space, or those of their own texts that set them apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from encoders.words.segmentation import words as words_of
from retrieval.cluster.clusters import NOISE, means_of
from retrieval.errors import QueryError
from retrieval.plane import centred

MOST_WORDS = 2_000  # of a vocabulary that is mined
FEWEST_TEXTS = 2  # a word of one text alone names no cluster


@dataclass(frozen=True)
class Name:
    """What a cluster is called.

    Parameters
    ----------
    words : best first; none where nothing is known of the cluster.
    scores : of each: cosine, or class-based TF-IDF.
    """

    words: tuple[str, ...]
    scores: tuple[float, ...]

    def __str__(self) -> str:
        return ", ".join(self.words)


def nearest_words(
    vectors: np.ndarray, labels: np.ndarray, groups: Sequence[str], words: Sequence[str], encoded: np.ndarray, most: int = 3
) -> list[Name]:
    """For each cluster the words whose vectors lie in its direction.

    Both sides are taken from where they stand on average, members from the mean of their modality and words from the mean of all words:
    what all members have in common, their modality first of all, would otherwise decide which words are near (Liang et al. 2022).

    Parameters
    ----------
    vectors : (n, d), of unit length.
    labels : (n,) int, the cluster of each.
    groups : n names, of each one's modality.
    words, encoded : a vocabulary and its vectors (words, d), of unit length.
    """
    directions = means_of(centred(vectors, groups), labels)  # (clusters, d)
    cosines = directions @ centred(encoded, [""] * len(words)).T  # (clusters, words)
    return [_best(words, row, most) for row in cosines]


def class_tfidf(counts: np.ndarray) -> np.ndarray:
    """Class-based TF-IDF, float64 (classes, words), of counts (classes, words): frequency in the class · log(1 + A / count in all classes).

    A is the mean number of words of a class. Grootendorst 2022, "BERTopic", equation 2; as in its code, frequencies of a class add up to 1.
    """
    totals = counts.sum(axis=1, keepdims=True)
    everywhere = np.maximum(counts.sum(axis=0), 1)
    weights: np.ndarray = counts / np.maximum(totals, 1) * np.log1p(totals.mean() / everywhere)
    return weights


def distinctive_words(texts: Sequence[str], labels: np.ndarray, most: int = 3) -> list[Name]:
    """For each cluster the words of its texts with the highest class-based TF-IDF; what is in no cluster is left out.

    Parameters
    ----------
    texts : n, "" where something has none.
    labels : (n,) int.
    """
    vocabulary = mined(texts, most=None)
    place = {word: k for k, word in enumerate(vocabulary)}
    counts = np.zeros((int(labels.max(initial=NOISE)) + 1, len(vocabulary)))
    for text, label in zip(texts, labels.tolist(), strict=True):
        if label != NOISE:
            for word, number in Counter(_words(text)).items():
                if word in place:
                    counts[label, place[word]] += number
    if not counts.size:
        return [Name((), ()) for _ in counts]
    return [_best(vocabulary, row, most, above=0.0) for row in class_tfidf(counts)]


def mined(texts: Iterable[str], most: int | None = MOST_WORDS) -> list[str]:
    """Words that stand in at least two of some texts, those in most texts first; without English stop words and single letters."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(_words(text)))
    kept = [(word, number) for word, number in counts.items() if number >= FEWEST_TEXTS]
    return [word for word, _ in sorted(kept, key=lambda each: (-each[1], each[0]))[:most]]


def given(text: str) -> list[str]:
    """Words or short phrases of a file, one a line; blank lines and repetitions are left out.

    Raises
    ------
    QueryError : there are none.
    """
    found = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not found:
        raise QueryError("the file of words is empty; give one word or short phrase a line")
    return found


def _words(text: str) -> list[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return [word for word in map(str.lower, words_of(text)) if word not in ENGLISH_STOP_WORDS and (len(word) > 1 or word >= "\u2e80")]


def _best(words: Sequence[str], scores: np.ndarray, most: int, above: float = -np.inf) -> Name:
    order = [k for k in np.argsort(-scores, kind="stable")[:most] if scores[k] > above]
    return Name(tuple(words[k] for k in order), tuple(float(scores[k]) for k in order))
