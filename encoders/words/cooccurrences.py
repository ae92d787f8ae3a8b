"""How often words stand near each other, counted in bounded memory: sorted runs on disk, merged, then dealt into shuffled blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

RECORD = np.dtype([("word", "<u4"), ("context", "<u4"), ("count", "<f4")])
_STEP = 2**10


class _Run:
    """A sorted run on disk, read by plain reads: mapped pages would count as this process's memory."""

    def __init__(self, path: Path, keys: np.ndarray, counts: np.ndarray) -> None:
        self._files = (path.with_suffix(".keys"), path.with_suffix(".counts"))
        keys.tofile(self._files[0])
        counts.tofile(self._files[1])
        self.size = len(keys)
        self.sampled = keys[::_STEP].copy()

    def place(self, border: np.uint64) -> int:
        """How many keys are less than `border`."""
        start = _STEP * max(0, int(np.searchsorted(self.sampled, border)) - 1)
        block = np.fromfile(self._files[0], np.uint64, _STEP, offset=8 * start)
        return start + int(np.searchsorted(block, border))

    def part(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and counts of the entries from `first` up to `last`."""
        keys, counts = self._files
        size = last - first
        return np.fromfile(keys, np.uint64, size, offset=8 * first), np.fromfile(counts, np.float64, size, offset=8 * first)

    def remove(self) -> None:
        for file in self._files:
            file.unlink()


class Cooccurrences:
    """Counts pairs of words at most `window` apart, each weighing one over its distance (Pennington et al. 2014, section 4.2).

    The matrix is symmetric; one half of it is counted. When the pairs in memory exceed `pairs`, they are summed up, sorted, and written as
    a run; a run has an entry at most for each pair.

    Parameters
    ----------
    folder : where runs and blocks go, 16 and 24 bytes for each entry.
    words : size of the vocabulary.
    window : words on each side.
    pairs : most pairs in memory, at about 100 bytes each while they are sorted.
    """

    def __init__(self, folder: Path, words: int, window: int, pairs: int = 2**22) -> None:
        self._folder = folder
        self._words = words
        self._window = window
        self._pairs = pairs
        self._held: list[tuple[np.ndarray, np.ndarray]] = []
        self._size = 0
        self._runs: list[_Run] = []

    def add(self, sentences: Sequence[np.ndarray]) -> None:
        """Count the pairs of some sentences, each int (length,) rows of the vocabulary; no pair crosses the end of a sentence."""
        ids = np.concatenate(sentences).astype(np.uint64)
        owner = np.repeat(np.arange(len(sentences)), [len(sentence) for sentence in sentences])
        for distance in range(1, self._window + 1):
            near = owner[distance:] == owner[:-distance]
            left, right = ids[:-distance][near], ids[distance:][near]
            keys = np.minimum(left, right) * np.uint64(self._words) + np.maximum(left, right)
            # A word beside itself is its own neighbour on both sides.
            self._held.append((keys, np.where(left == right, 2.0, 1.0) / distance))
            self._size += len(keys)
            if self._size > self._pairs:
                self._spill()

    def blocks(self, rng: np.random.Generator) -> list[Path]:
        """Files of shuffled records (word, context, count), both halves of the matrix, with at most about `pairs` records each.

        Every record goes to a block that is drawn for it; a block read whole and shuffled thus gives the records in random order.
        """
        self._spill()
        most = 2 * sum(run.size for run in self._runs)
        paths = [self._folder / f"block-{number}" for number in range(-(-most // self._pairs))]
        for keys, counts in self._merged():
            left, right = np.divmod(keys, np.uint64(self._words))
            off = left != right  # off the diagonal, an entry stands for two
            records = np.empty(len(keys) + int(off.sum()), RECORD)
            records["word"], records["context"] = np.concatenate([left, right[off]]), np.concatenate([right, left[off]])
            records["count"] = np.concatenate([counts, counts[off]])
            drawn = rng.integers(len(paths), size=len(records))
            order = np.argsort(drawn, kind="stable")
            for path, part in zip(paths, np.split(records[order], np.searchsorted(drawn[order], np.arange(1, len(paths)))), strict=True):
                with path.open("ab") as file:
                    file.write(part.tobytes())
        for run in self._runs:
            run.remove()
        return [path for path in paths if path.exists()]

    def _spill(self) -> None:
        if not self._size:
            return
        keys, counts = summed(*map(np.concatenate, zip(*self._held, strict=True)))
        self._runs.append(_Run(self._folder / f"run-{len(self._runs)}", keys, counts))
        self._held, self._size = [], 0

    def _merged(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All runs as one, in parts of about a quarter of `pairs` entries, split where the keys of the runs say."""
        sampled = np.sort(np.concatenate([np.empty(0, np.uint64), *(run.sampled for run in self._runs)]))
        borders = [*sampled[:: max(1, self._pairs // 4 // _STEP)][1:], np.uint64(2**64 - 1)]
        places = [0] * len(self._runs)
        for border in borders:
            ends = [run.place(border) for run in self._runs]
            parts = [run.part(first, last) for run, first, last in zip(self._runs, places, ends, strict=True) if last > first]
            places = ends
            if parts:
                yield summed(*map(np.concatenate, zip(*parts, strict=True)))


def summed(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys sorted, each once, with the sum of its counts."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(counts, first)
