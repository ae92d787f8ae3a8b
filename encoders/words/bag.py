"""What encoders of single words share: a text is a bag of words, and words that are not known are left out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from encoders import weights
from encoders.context import refuse_blank
from encoders.errors import EmptyError, EncoderError
from encoders.spec import Modality, Spec
from encoders.tokenizer import chunking
from encoders.words import segmentation, word_files
from encoders.words.vocabulary import KIND

CHUNK = 256  # words, about a page, of which a mean still says something
_LONGEST_CHUNK = 2**16
_SHORT = 32  # characters of a text that is counted once and remembered: mostly single words, again and again
_REMEMBERED = 2**14


class WordEncoder(ABC):
    """An encoder whose inputs are the numbers of a text's words, and whose vectors need no model: numpy does it in any process.

    A word is looked for as it is written, then in lower case. Unknown words are left out, as if they were not there; a text without a
    known word has no vector (EmptyError).
    """

    modality: Modality = "text"

    def __init__(self, spec: Spec, device: str = "cpu", dtype: str = "auto") -> None:
        self.spec = spec
        self.device = device  # the processor is where the vocabulary's vectors are mapped; a device would only copy them
        self.dtype = dtype

    @abstractmethod
    def numbers(self, words: Sequence[str]) -> np.ndarray:
        """A number for each known word, int32, in order."""

    @abstractmethod
    def vector(self, numbers: np.ndarray) -> np.ndarray:
        """The vector (dimension,) of a text from the numbers of its words, of any length."""

    @cached_property
    def tokenizer(self) -> WordCounter:
        """Counts words, for cutting texts into chunks."""
        return WordCounter(self)

    def prepare(self, medium: str) -> dict[str, np.ndarray]:
        """Number a text's words.

        Returns
        -------
        {"words": int32 (known words,)}

        Raises
        ------
        ValueError : the text is empty.
        EmptyError : it has no word, or none that is known.
        """
        refuse_blank(medium)
        segmentation.check(self.spec.preprocessing["segmentation"])
        numbers = self.numbers(segmentation.words(medium))
        if not len(numbers):
            raise EmptyError("no known words", f"none of the words is in the vocabulary: {medium[:40]!r}")
        return {"words": numbers}

    @cached_property
    def _verified(self) -> bool:
        if self.spec.weights:
            weights.verify(locate(self.spec.weights, self.spec.revision, method="skip-gram"), self.spec.digest)
        return True

    def warm(self) -> None:
        """Check now that the weights are those of the spec."""
        _ = self._verified

    def encode(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Vectors of a batch, float32 (n, dimension), each of length one; several threads may call this at once."""
        self.warm()
        numbers = inputs["words"]  # (n, longest)
        lengths = inputs.get("lengths", np.full(len(numbers), numbers.shape[1]))
        vectors = np.stack([self.vector(row[:length]) for row, length in zip(numbers, lengths, strict=True)]).astype(np.float32)
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)  # (n, 1)
        unit: np.ndarray = vectors / np.maximum(norms, 1e-12)  # a vector of zeros stays so, to be refused where vectors are checked
        return unit


class _Counted(NamedTuple):
    ids: Sequence[str]


class WordCounter:
    """The part of a tokenizer (of the library tokenizers) that cutting texts into chunks needs."""

    truncation = padding = None

    def __init__(self, encoder: WordEncoder) -> None:
        self._encoder = encoder
        self._remembered: dict[str, _Counted] = {}

    def encode_batch_fast(self, texts: Sequence[str], add_special_tokens: bool = False) -> list[_Counted]:
        """All words of each text, known or not, if any of them is known; else none, so that a chunk without known words is left out."""
        return [self._remembered.get(text) or self._count(text) for text in texts]

    def _count(self, text: str) -> _Counted:
        words = segmentation.words(text)
        counted = _Counted(words if len(self._encoder.numbers(words)) else ())
        if len(text) <= _SHORT:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[text] = counted
        return counted


def word_preprocessing(chunk: int, overlap: int) -> dict[str, Any]:
    """Parameters between a text and its words: how it is segmented, what is known, and how long texts are cut (256 words by default)."""
    return {
        "segmentation": segmentation.description(),
        "case": "as written, else lower",
        "unknown": "left out",
        "chunk": chunking(_LONGEST_CHUNK, chunk or CHUNK, overlap),
    }


def locate(named: str, revision: str = "", *, method: str) -> Path:
    """Where words are: a file of word vectors, a folder that `sensorium train-words` wrote, or such a folder on a hub.

    Parameters
    ----------
    method : of training, for the command that an error names.
    """
    path = Path(named).expanduser()
    if named and not revision and word_files.is_word_file(path):
        return path
    if not named or not (revision or path.is_dir() or named.startswith(weights.PACKAGE)):
        found = f"there is no file or folder {named}" if named else "no weights were named"
        raise EncoderError(
            f"{found}; `sensorium train-words SOURCE --method {method} --output {named or 'FOLDER'}` makes them from a bucket's texts"
        )
    folder = weights.locate(named, revision)
    if weights.read_json(folder, "config.json").get("model_type") != KIND:
        raise EncoderError(f"{folder} is no folder of words; give one that `sensorium train-words` wrote, or a file of word vectors")
    return folder


def folder_of(path: Path, digest: str) -> Path:
    """The folder with the words of what `locate` found; a file of word vectors is converted where that has not been done."""
    return word_files.converted(path, digest) if path.is_file() else path


def opened(spec: Spec) -> Path:
    """The folder with the words of a spec."""
    return folder_of(locate(spec.weights, spec.revision, method="skip-gram"), spec.digest)
