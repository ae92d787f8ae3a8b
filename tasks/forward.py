"""One window of segments through an encoder: batches side by side, the bad segment found by halving, vectors checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np

from encoders.errors import EncoderError, MediumError
from encoders.spec import Encoder
from encoders.stacking import stack
from storage import batches
from tasks.prepared import Prepared
from tasks.segments import Failure

SUSPICIOUS = 8  # so many segments with one and the same vector mean a broken encoder, fewer may be a coincidence


@dataclass
class Tally:
    """What became of a shard's segments.

    Parameters
    ----------
    failures : of objects, by their row.
    refused : rows of those among them that the encoder refused for what they hold; the others fail by the encoder's own fault, perhaps.
    encoded : segments that went through an encoder.
    """

    failures: dict[int, Failure] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    encoded: int = 0


class Forward:
    """The forward passes of a window, started at once; `result` waits for them.

    Parameters
    ----------
    replicas : the encoder as often as it may run at once: one per device, or the same one for each core of a CPU.
    window : segments of one modality.
    batch : most segments in one pass.
    pool : runs the passes, at least one thread for each replica.
    tally : where failures go.
    """

    def __init__(self, replicas: Sequence[Encoder], window: Prepared, batch: int, pool: Executor, tally: Tally) -> None:
        self.spec = replicas[0].spec
        self.window = window
        self._tally = tally
        self._vectors = np.zeros((len(window), self.spec.dimension), np.float32)
        self._free: SimpleQueue[Encoder] = SimpleQueue()
        for replica in replicas:
            self._free.put(replica)
        order = np.argsort([_length(window, row) for row in range(len(window))], kind="stable")  # little padding within a batch
        passes = -(-len(order) // batch)
        passes = min(len(order), -(-passes // len(replicas)) * len(replicas))  # as many for each replica, all of one size
        self._passes = [pool.submit(self._run, rows) for rows in np.array_split(order, passes)]

    def result(self) -> tuple[np.ndarray, np.ndarray]:
        """Vectors float32 (n, dimension), and the rows among them that may be written: all segments of objects that have not failed."""
        for each in self._passes:
            each.result()
        self._tally.encoded += len(self.window)
        self._check()
        failed = np.isin(self.window.objects, list(self._tally.failures))
        return self._vectors, np.flatnonzero(~failed)

    def _run(self, rows: np.ndarray) -> None:
        encoder = self._free.get()
        try:
            for part, result in _bisect(rows, lambda some: encoder.encode(stack(self.window.inputs, some))):
                self._take(part, result)
        finally:
            self._free.put(encoder)

    def _take(self, part: np.ndarray, result: np.ndarray | Exception) -> None:
        if isinstance(result, Exception):
            self._fail(part, "encode", *_told(result))
            if isinstance(result, MediumError):
                self._tally.refused.update(self.window.objects[part].tolist())
            return
        want = (len(part), self.spec.dimension)
        if result.shape != want:
            raise EncoderError(f"encoder {self.spec.encoder!r} gave vectors of shape {result.shape} for a batch; its spec says {want}")
        self._vectors[part] = result

    def _check(self) -> None:
        bad, reasons = batches.check_vectors(self._vectors, self.spec.dimension)
        for row in np.flatnonzero(bad):
            self._fail([int(row)], "check", "bad vector", f"its vector is refused: {reasons[row]}")
        good = np.flatnonzero(~bad)
        if len(good) >= SUSPICIOUS and batches.all_same(self._vectors[good]) and _differ(self.window, good):
            raise EncoderError(
                f"encoder {self.spec.encoder!r} gives the same vector for {len(good)} different segments; nothing of it was written"
            )

    def _fail(self, rows: Sequence[int] | np.ndarray, stage: str, reason: str, error: str) -> None:
        for row in rows:
            index = int(self.window.objects[row])
            self._tally.failures.setdefault(index, Failure(index, stage, reason, error))


def _bisect(rows: np.ndarray, call: Callable[[np.ndarray], np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray | Exception]]:
    """Call on all rows; when that fails, on each half, down to the single row that fails."""
    try:
        result = call(rows)
    except EncoderError:
        raise
    except Exception as problem:  # noqa: BLE001 - told to the caller, with the row that caused it
        if len(rows) == 1:
            yield rows, problem
            return
    else:
        yield rows, result
        return
    middle = len(rows) // 2
    yield from _bisect(rows[:middle], call)
    yield from _bisect(rows[middle:], call)


def _length(window: Prepared, row: int) -> int:
    return sum(arrays[row].size for arrays in window.inputs.values())


def _differ(window: Prepared, rows: np.ndarray) -> bool:
    """Whether the inputs differ at all: the windows of a long silence rightly share one vector."""
    return any(not np.array_equal(arrays[rows[0]], arrays[row]) for arrays in window.inputs.values() for row in rows[1:])


def _told(problem: Exception) -> tuple[str, str]:
    if isinstance(problem, MediumError):
        return problem.reason, problem.message[:500]
    memory = isinstance(problem, MemoryError) or "out of memory" in str(problem).lower()
    return ("out of memory" if memory else "encoder error"), f"{type(problem).__name__}: {problem}"[:500]
