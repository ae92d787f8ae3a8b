"""Word2Vec and GloVe: every word has one vector, whatever stands around it, and a text the weighted mean of its words' vectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from encoders.errors import EncoderError
from encoders.spec import Spec
from encoders.weights import digest, origin, read_json
from encoders.words.bag import WordEncoder, folder_of, locate, opened, word_preprocessing
from encoders.words.vocabulary import VECTORS, Vocabulary, mapped

WEIGHTINGS = ("sif", "idf", "mean")
COMPONENT = "component.safetensors"


class WordVectors(WordEncoder):
    """The weighted mean of the vectors of a text's words (Mikolov et al. 2013, Pennington et al. 2014).

    Frequent words say little, so they weigh less: with "sif" (smooth inverse frequency, Arora, Liang and Ma 2017) a word of probability p
    weighs a / (a + p), with "idf" the logarithm of how few documents it stands in, with "mean" all weigh the same.
    """

    @classmethod
    def describe(
        cls,
        weights: str = "",
        revision: str = "",
        licence: str = "",
        weighting: str = "sif",
        a: float = 1e-3,
        remove_component: bool = False,
        chunk: int = 0,
        overlap: int = -1,
    ) -> Spec:
        """The spec of some word vectors; `chunk` and `overlap` as `tokenizer.chunking` says, in words, 256 by default.

        Parameters
        ----------
        weights : a folder that `sensorium train-words` wrote; a file of GloVe (.txt) or Word2Vec (.txt, .vec, .bin).
        weighting : "sif", "idf" or "mean". Files of word vectors hold no counts: for "sif" the probabilities then follow Zipf's law, by the
            rank of the word in the file (1 / rank, as Model2Vec has it), and "idf" is refused.
        a : of "sif"; the paper finds 1e-3 to 1e-4 good.
        remove_component : take the direction that is common to the texts of the training bucket out of each vector, as the paper does
            with that of the texts at hand. Training stores it with the weights, computed with "sif" and a of 1e-3; a vector thus
            depends on its text alone.
        """
        if weighting not in WEIGHTINGS:
            raise EncoderError(f"weighting {weighting!r} is unknown for word vectors; use {', '.join(WEIGHTINGS)}")
        if not a > 0:
            raise EncoderError(f"a of the weighting is {a}; it must be above 0, such as 0.001")
        path = locate(weights, revision, method="skip-gram")
        found = digest(path)
        folder = folder_of(path, found)
        how = {"by": weighting, **({"a": float(a), "frequencies": _frequencies(folder)} if weighting == "sif" else {})}
        _check(folder, weighting, remove_component)
        return Spec(
            encoder="word-vectors",
            modality=cls.modality,
            dimension=int(mapped(folder / VECTORS)["vectors"].shape[1]),
            inputs="words",
            preprocessing={**word_preprocessing(chunk, overlap), "weighting": how, "remove_component": remove_component},
            pooling="mean",
            **origin(path, weights, revision, licence),
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary, mapped."""
        return Vocabulary(opened(self.spec))

    @cached_property
    def vectors(self) -> np.ndarray:
        """Vectors of all words, float32 (n, dimension), mapped."""
        vectors = mapped(opened(self.spec) / VECTORS)["vectors"]
        if vectors.shape != (len(self.vocabulary), self.spec.dimension):
            raise EncoderError(f"{self.spec.weights} holds vectors {vectors.shape}, not one of {self.spec.dimension} numbers for each word")
        return vectors

    @cached_property
    def weights(self) -> np.ndarray:
        """Weight of each word, float32 (n,)."""
        how = self.spec.preprocessing["weighting"]
        return weights_of(self.vocabulary, read_json(opened(self.spec), "config.json"), how["by"], how.get("a", 0.0))

    @cached_property
    def component(self) -> np.ndarray | None:
        """The common direction, float32 (dimension,), if the spec has it removed."""
        return mapped(opened(self.spec) / COMPONENT)["component"] if self.spec.preprocessing["remove_component"] else None

    def numbers(self, words: Sequence[str]) -> np.ndarray:
        """Rows of the known words."""
        rows = self.vocabulary.rows(words)
        return rows[rows >= 0]

    def vector(self, numbers: np.ndarray) -> np.ndarray:
        """The weighted mean of the words' vectors, without the common direction if the spec says so."""
        weights = self.weights[numbers]  # (words,)
        mean: np.ndarray = weights @ self.vectors[numbers] / weights.sum()  # (dimension,)
        return mean if self.component is None else mean - (mean @ self.component) * self.component


def weights_of(words: Vocabulary, about: dict[str, int], weighting: str, a: float) -> np.ndarray:
    """Weight of each word in a mean, float32 (n,).

    Parameters
    ----------
    about : config.json of the folder: "tokens", words in all its documents, and their number "documents".
    weighting, a : as `WordVectors.describe` says.
    """
    if weighting == "sif":
        weights = a / (a + probabilities(words, about))
    elif weighting == "idf" and words.documents is not None:
        weights = np.log((1 + about["documents"]) / (1 + words.documents)) + 1
    else:
        weights = np.ones(len(words))
    return np.asarray(weights, np.float32)


def probabilities(words: Vocabulary, about: dict[str, int]) -> np.ndarray:
    """How likely each word is, float64 (n,): counted, or by Zipf's law from its rank where nothing was counted."""
    if words.counts is not None:
        return np.asarray(words.counts / about["tokens"])
    inverse = 1.0 / np.arange(1, len(words) + 1)
    return np.asarray(inverse / inverse.sum())


def _frequencies(folder: Path) -> str:
    return "counted" if Vocabulary(folder).counts is not None else "Zipf"


def _check(folder: Path, weighting: str, remove_component: bool) -> None:
    if weighting == "idf" and Vocabulary(folder).documents is None:
        raise EncoderError(f"{folder} does not say in how many documents its words stand, which idf needs; use sif or mean")
    if remove_component and not (folder / COMPONENT).is_file():
        raise EncoderError(f"{folder} has no {COMPONENT}, the direction to be removed; only `sensorium train-words` writes one")


def common_direction(texts: Iterable[np.ndarray], vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The first principal component (uncentred) of the weighted means of some texts, float32 (dimension,), of length one.

    Parameters
    ----------
    texts : rows of the words of each text; empty ones are passed over.
    vectors, weights : of all words.
    """
    products = np.zeros((vectors.shape[1], vectors.shape[1]))
    for rows in texts:
        if len(rows):
            mean = weights[rows] @ vectors[rows] / weights[rows].sum()
            products += np.outer(mean, mean)
    return np.asarray(np.linalg.eigh(products)[1][:, -1], np.float32)
