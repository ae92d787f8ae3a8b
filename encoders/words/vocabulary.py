"""A folder of words as training and conversion write it: looked up through a memory map, so that many processes share one copy.

::

    config.json               method, dimension, number of words, of documents and of words in them, how they were segmented
    vocabulary.safetensors    text (all words as UTF-8, joined), starts (n + 1) of each word in it; counts and documents (n), how often a
                              word occurs and in how many documents, where that is known; hashes (n), sorted, and rows (n): the index
    vectors.safetensors       vectors (n, dimension) float32, where there are any

Words stand in order of frequency, the most frequent first, as in the files of Word2Vec and GloVe.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from encoders.errors import EncoderError

VOCABULARY, VECTORS = "vocabulary.safetensors", "vectors.safetensors"
KIND = "words"

_REMEMBERED = 2**14
_DTYPES = {"U8": "<u1", "I32": "<i4", "I64": "<i8", "U64": "<u8", "F32": "<f4"}


class Vocabulary:
    """Rows of words, found in a few microseconds each without holding the words in memory.

    Parameters
    ----------
    folder : see the module's docstring.

    Raises
    ------
    EncoderError : the folder holds no vocabulary, or a damaged one.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / VOCABULARY
        arrays = mapped(path)
        try:
            self._text, self._starts = arrays["text"], arrays["starts"]
            self._hashes, self._rows = arrays["hashes"], arrays["rows"]
            self.counts, self.documents = arrays.get("counts"), arrays.get("documents")
        except KeyError as problem:
            raise _damaged(path, f"it lacks {problem}") from None
        self._check(path)
        self._known: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def word(self, row: int) -> str:
        """The word of a row; what is not UTF-8 in it is replaced."""
        return self._bytes(row).decode(errors="replace")

    def rows(self, words: Sequence[str]) -> np.ndarray:
        """Row of each word, int32 (len(words),); -1 for words that are not in the vocabulary.

        A word is looked for as it is written, then in lower case.
        """
        self._learn(words)
        found = np.fromiter((self._known[word] for word in words), np.int32, len(words))
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        return found

    def _learn(self, words: Sequence[str]) -> None:
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        self._known.update(zip(new, self._search(new), strict=True))
        lowered = {word: word.lower() for word in new if self._known[word] < 0 and word.lower() != word}
        self._known.update(zip(lowered, self._search(list(lowered.values())), strict=True))

    def _search(self, words: Sequence[str]) -> list[int]:
        spelled = [word.encode("utf-8", "surrogatepass") for word in words]
        wanted = hashes(spelled)
        places = np.searchsorted(self._hashes, wanted)
        return [self._at(int(place), hashed, word) for place, hashed, word in zip(places, wanted, spelled, strict=True)]

    def _at(self, place: int, hashed: np.uint64, word: bytes) -> int:
        while place < len(self) and self._hashes[place] == hashed:  # of equal words the first comes first
            row = int(self._rows[place])
            if self._bytes(row) == word:
                return row
            place += 1
        return -1

    def _bytes(self, row: int) -> bytes:
        return self._text[self._starts[row] : self._starts[row + 1]].tobytes()

    def _check(self, path: Path) -> None:
        n = len(self._rows)
        lengths = {len(self._starts) - 1, len(self._hashes), *(len(a) for a in (self.counts, self.documents) if a is not None)}
        if lengths != {n} or n == 0:
            raise _damaged(path, "its parts differ in length, or are empty")
        starts_fit = self._starts[0] == 0 and self._starts[-1] == len(self._text) and bool((np.diff(self._starts) >= 0).all())
        if not starts_fit or self._rows.min() < 0 or self._rows.max() >= n:
            raise _damaged(path, "its index points outside of it")


def write_vocabulary(
    folder: Path, text: bytes, starts: np.ndarray, counts: np.ndarray | None = None, documents: np.ndarray | None = None
) -> None:
    """Write a vocabulary's file.

    Parameters
    ----------
    text, starts : all words, joined, and int64 (n + 1) where each begins.
    counts, documents : int64 (n,), as the module's docstring says.
    """
    hashed = hashes([text[a:b] for a, b in pairwise(starts)])
    order = np.argsort(hashed, kind="stable")
    arrays: dict[str, np.ndarray] = {
        "text": np.frombuffer(text, np.uint8),
        "starts": starts.astype(np.int64),
        "hashes": hashed[order],
        "rows": order.astype(np.int32),
    }
    optional = {"counts": counts, "documents": documents}
    arrays |= {name: array.astype(np.int64) for name, array in optional.items() if array is not None}
    write_arrays(folder / VOCABULARY, arrays)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a safetensors file that all may read who may read the folder."""
    from safetensors.numpy import save_file

    save_file(dict(arrays), path)
    path.chmod(0o644)


def joined(words: Iterable[str]) -> tuple[bytes, np.ndarray]:
    """Words as `write_vocabulary` takes them."""
    spelled = [word.encode() for word in words]
    return b"".join(spelled), np.cumsum([0, *map(len, spelled)], dtype=np.int64)


def write_config(folder: Path, **values: Any) -> None:
    """Write the file that says what a folder of words is."""
    text = json.dumps({"model_type": KIND, **values}, ensure_ascii=False, indent=1)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")


def mapped(path: Path) -> Mapping[str, np.ndarray]:
    """The arrays of a safetensors file as memory maps: nothing is read until it is used, and pages are shared by processes.

    Raises
    ------
    EncoderError : the file is missing, or its header does not fit its size.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(size - 8, 2**20):
                raise ValueError("a header that is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        return {name: _mapped(path, size, 8 + length, **about) for name, about in header.items()}
    except FileNotFoundError:
        raise EncoderError(
            f"{path.parent} has no {path.name}; `sensorium train-words SOURCE --output {path.parent}` makes such a folder"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise _damaged(path, str(problem)) from problem


def _mapped(path: Path, size: int, origin: int, dtype: str, shape: list[int], data_offsets: list[int]) -> np.ndarray:
    kind = np.dtype(_DTYPES[dtype])
    first, last = data_offsets
    if not 0 <= first <= last <= size - origin or last - first != math.prod(shape) * kind.itemsize or min(shape, default=0) < 0:
        raise ValueError("an array that does not fit into the file")
    if first == last:
        return np.zeros(shape, kind)
    return np.memmap(path, kind, "r", origin + first, tuple(shape))


def hashes(words: Sequence[bytes]) -> np.ndarray:
    """64 bits of BLAKE2b of each word, uint64 (n,): the same on every machine and in every version of Python."""
    digests = b"".join(hashlib.blake2b(word, digest_size=8).digest() for word in words)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def _damaged(path: Path, why: str) -> EncoderError:
    return EncoderError(f"{path} is damaged ({why}); train or convert the words anew")
