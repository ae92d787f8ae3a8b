"""Encode a prepared shard: batches through the encoder, checks, rows of the table's schema into a staged file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import numpy as np
import pyarrow as pa

from encoders.errors import EncoderError
from encoders.spec import Encoder, Modality
from encoders.stacking import stack
from storage import batches
from tasks import prepared
from tasks.plan import Shard
from tasks.prepare import PreparedShard
from tasks.prepare_object import discard
from tasks.segments import Failure

WINDOW_ROWS = 1024  # segments in memory at a time: enough to sort by length within
WINDOW_BYTES = 64 << 20
SUSPICIOUS = 8  # so many segments with one and the same vector mean a broken encoder, fewer may be a coincidence


@dataclass(frozen=True)
class Encoding:
    """What all shards of a run are encoded with.

    Parameters
    ----------
    encoders : by modality, with weights.
    schema : the table's.
    source : root of the source, for the rows.
    run : name of the run, for the rows.
    scratch : the run's folder for staged files.
    batch : segments per forward pass.
    lanes : forward passes at once: the cores of a CPU (one thread each is faster than all threads on one batch), 1 for a GPU.
    """

    encoders: Mapping[Modality, Encoder]
    schema: pa.Schema
    source: str
    run: str
    scratch: Path
    batch: int = 32
    lanes: int = 1


def warm(encoders: Iterable[Encoder]) -> threading.Thread:
    """Start loading weights, one encoder after the other, while the first shards are prepared.

    An encoder that has a method `warm` has weights to load. What goes wrong here is not told: the first `encode` meets it again.
    """

    def load() -> None:
        with suppress(Exception):
            for encoder in encoders:
                getattr(encoder, "warm", lambda: None)()

    thread = threading.Thread(target=load, name="warm", daemon=True)
    thread.start()
    return thread


@dataclass(frozen=True)
class Staged:
    """Rows of a shard, ready to be committed.

    Parameters
    ----------
    path : Arrow IPC stream in the table's schema.
    segments : rows per object's row in the shard, of the objects that are whole.
    failures : objects that could not be prepared or encoded; their rows, if any stand in the file, do not count.
    twins : rows of objects whose vectors are to be copied.
    hashes : hex SHA-256 by row.
    encoded : segments that went through an encoder.
    seconds : time this took.
    """

    shard: Shard
    path: Path
    segments: Mapping[int, int]
    failures: Sequence[Failure]
    twins: Sequence[int]
    hashes: Mapping[int, str]
    encoded: int
    seconds: float


@dataclass
class _Tally:
    failures: dict[int, Failure] = field(default_factory=dict)
    encoded: int = 0


def encode(shard: Shard, ready: PreparedShard, encoding: Encoding) -> Staged:
    """Turn a shard's prepared files into a staged file, and remove them.

    A segment whose vector cannot be made or fails the checks takes its whole object to `failures`. If no segment of a sizeable shard can be
    encoded, or all get one and the same vector, the encoder is broken: EncoderError.
    """
    began = monotonic()
    tally = _Tally()
    path = encoding.scratch / f"{shard.name}.staged.arrow"
    batches.write_stream(path, encoding.schema, _rows(shard, ready, encoding, tally))
    for file in {outcome.path for outcome in ready.ready}:
        discard(file)
    whole = {outcome.index: outcome.segments for outcome in ready.ready if outcome.index not in tally.failures}
    if tally.failures and not whole and len(tally.failures) > 1:
        raise EncoderError(f"no object of shard {shard.name} could be encoded; the first: {next(iter(tally.failures.values())).error}")
    failures = [*ready.failures, *tally.failures.values()]
    return Staged(shard, path, whole, failures, ready.twins, ready.hashes, tally.encoded, monotonic() - began)


def _rows(shard: Shard, ready: PreparedShard, encoding: Encoding, tally: _Tally) -> Iterator[pa.RecordBatch]:
    objects = shard.objects.to_arrow()
    modality = {outcome.path: outcome.modality for outcome in ready.ready}
    with ThreadPoolExecutor(encoding.lanes, thread_name_prefix="encode") as lanes:
        for file in sorted(modality):
            encoder = encoding.encoders[modality[file]]
            done = {outcome.index for outcome in ready.ready if outcome.path == file}
            for window in prepared.read(file, done, WINDOW_ROWS, WINDOW_BYTES):
                vectors = _vectors(encoder, window, encoding, lanes, tally)
                failed = np.isin(window.objects, list(tally.failures))
                yield _table_rows(objects, ready.hashes, window, vectors, np.flatnonzero(~failed), modality[file], encoding)


def _vectors(encoder: Encoder, window: prepared.Prepared, encoding: Encoding, lanes: ThreadPoolExecutor, tally: _Tally) -> np.ndarray:
    """Float32 (n, dimension), one for each segment of the window; a failed segment's row is zero and its object stands in the tally."""
    order = np.argsort([_length(window, i) for i in range(len(window))], kind="stable")
    cuts = [order[i : i + encoding.batch] for i in range(0, len(order), encoding.batch)]
    vectors = np.zeros((len(window), encoder.spec.dimension), np.float32)

    def run(rows: np.ndarray) -> None:
        for part, result in _bisect(rows, lambda some: encoder.encode(stack(window.inputs, some))):
            if isinstance(result, Exception):
                _fail(tally, window, part, "encode", *_told(result))
            elif result.shape != (len(part), encoder.spec.dimension):
                want = (len(part), encoder.spec.dimension)
                raise EncoderError(
                    f"encoder {encoder.spec.encoder!r} gave vectors of shape {result.shape} for a batch; its spec says {want}"
                )
            else:
                vectors[part] = result

    list(lanes.map(run, cuts))
    tally.encoded += len(window)
    bad, reasons = batches.check_vectors(vectors, encoder.spec.dimension)
    for row in np.flatnonzero(bad):
        _fail(tally, window, [int(row)], "check", "bad vector", f"its vector is refused: {reasons[row]}")
    good = np.flatnonzero(~bad)
    if len(good) >= SUSPICIOUS and batches.all_same(vectors[good]) and _differ(window, good):
        raise EncoderError(
            f"encoder {encoder.spec.encoder!r} gives the same vector for {len(good)} different segments; nothing of it was written"
        )
    return vectors


def _differ(window: prepared.Prepared, rows: np.ndarray) -> bool:
    """Whether the inputs differ at all: the windows of a long silence rightly share one vector."""
    return any(not np.array_equal(arrays[rows[0]], arrays[row]) for arrays in window.inputs.values() for row in rows[1:])


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


def _length(window: prepared.Prepared, row: int) -> int:
    return sum(arrays[row].size for arrays in window.inputs.values())


def _fail(tally: _Tally, window: prepared.Prepared, rows: Sequence[int] | np.ndarray, stage: str, reason: str, error: str) -> None:
    for row in rows:
        index = int(window.objects[row])
        tally.failures.setdefault(index, Failure(index, stage, reason, error))


def _told(problem: Exception) -> tuple[str, str]:
    memory = isinstance(problem, MemoryError) or "out of memory" in str(problem).lower()
    return ("out of memory" if memory else "encoder error"), f"{type(problem).__name__}: {problem}"[:500]


def _table_rows(
    objects: pa.Table,
    hashes: Mapping[int, str],
    window: prepared.Prepared,
    vectors: np.ndarray,
    good: np.ndarray,
    modality: Modality,
    encoding: Encoding,
) -> pa.RecordBatch:
    rows = window.objects[good]
    about = objects.take(pa.array(rows)).combine_chunks()
    columns = {name: about.column(name).combine_chunks() for name in ("uri", "etag", "size", "modified")}
    columns |= {name: getattr(window, name).take(pa.array(good)) for name in ("start", "end", "text")}
    columns |= {
        "segment": window.numbers[good],
        "content_hash": [hashes[int(row)] for row in rows],
        "source": encoding.source,
        "modality": modality,
        "embedded_at": datetime.now(UTC),
        "run": encoding.run,
    }
    return batches.rows(encoding.schema, columns, vectors[good])
