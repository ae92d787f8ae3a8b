"""How often words stand near each other, counted in bounded memory: sorted runs on disk, merged, then dealt into shuffled blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

RECORD = np.dtype([("word", "<u4"), ("context", "<u4"), ("count", "<f4")])
_SAMPLED = 2**10


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
        self._runs: list[Path] = []

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
        most = 2 * sum(run.stat().st_size // 8 for run in self._runs)
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
            run.unlink()
            run.with_suffix(".counts").unlink()
        return [path for path in paths if path.exists()]

    def _spill(self) -> None:
        if not self._size:
            return
        keys, counts = summed(*map(np.concatenate, zip(*self._held, strict=True)))
        run = self._folder / f"run-{len(self._runs)}.keys"
        keys.tofile(run)
        counts.tofile(run.with_suffix(".counts"))
        self._runs.append(run)
        self._held, self._size = [], 0

    def _merged(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All runs as one, in parts of about `pairs` entries, split where the keys of the runs say."""
        runs = [(np.memmap(run, np.uint64, "r"), np.memmap(run.with_suffix(".counts"), np.float64, "r")) for run in self._runs]
        step = max(1, min(_SAMPLED, self._pairs // 8))
        sampled = np.sort(np.concatenate([keys[::step] for keys, _ in runs])) if runs else np.empty(0, np.uint64)
        borders = [*sampled[:: max(1, self._pairs // step)][1:], np.iinfo(np.uint64).max]
        places = [0] * len(runs)
        for border in borders:
            ends = [int(np.searchsorted(keys, border)) for keys, _ in runs]
            parts = [(keys[a:b], counts[a:b]) for (keys, counts), a, b in zip(runs, places, ends, strict=True) if b > a]
            places = ends
            if parts:
                yield summed(*map(np.concatenate, zip(*parts, strict=True)))


def summed(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Keys sorted, each once, with the sum of its counts."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[first], np.add.reduceat(counts, first)
