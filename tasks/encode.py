"""Encode a prepared shard: batches through the encoder, checks, rows of the table's schema into a staged file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pyarrow as pa

from encoders.errors import EncoderError
from encoders.spec import Encoder, Modality
from storage import batches
from tasks import prepared
from tasks.forward import Forward, Tally
from tasks.plan import Shard
from tasks.prepare import PreparedShard
from tasks.prepare_object import discard
from tasks.segments import Failure

WINDOW_ROWS = 1024  # segments in memory at a time, twice: enough to sort by length within
WINDOW_BYTES = 16 << 20


@dataclass(frozen=True)
class Encoding:
    """What all shards of a run are encoded with.

    Parameters
    ----------
    encoders : by modality, the encoder with weights, as often as it may run at once: one per GPU, or the same one for each core of a CPU
        (one thread each is faster than all threads on one batch).
    schema : the table's.
    source : root of the source, for the rows.
    run : name of the run, for the rows.
    scratch : the run's folder for staged files.
    lanes : threads that encode, as many as the encoder with the most replicas has. They live as long as the run: a new thread would warm
        its caches anew, a third of the page faults.
    batch : segments per forward pass.
    """

    encoders: Mapping[Modality, Sequence[Encoder]]
    schema: pa.Schema
    source: str
    run: str
    scratch: Path
    lanes: Executor
    batch: int = 64


def warm(encoders: Iterable[Encoder]) -> None:
    """Load the weights of those encoders that have a method `warm`; the others have none to load."""
    for encoder in encoders:
        getattr(encoder, "warm", lambda: None)()


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


def encode(shard: Shard, ready: PreparedShard, encoding: Encoding) -> Staged:
    """Turn a shard's prepared files into a staged file, and remove them.

    A segment whose vector cannot be made or fails the checks takes its whole object to `failures`. If no object of a shard can be encoded,
    and several fail for another reason than what they hold, or if all get one and the same vector, the encoder is broken: EncoderError.
    """
    began = monotonic()
    tally = Tally()
    path = encoding.scratch / f"{shard.name}.staged.arrow"
    batches.write_stream(path, encoding.schema, _rows(shard, ready, encoding, tally))
    for file in {part.path for outcome in ready.ready for part in outcome.parts}:
        discard(file)
    whole = {outcome.index: outcome.segments for outcome in ready.ready if outcome.index not in tally.failures}
    unexplained = [failure for row, failure in tally.failures.items() if row not in tally.refused]
    if len(unexplained) > 1 and not whole:
        raise EncoderError(f"no object of shard {shard.name} could be encoded; the first: {unexplained[0].error}")
    failures = [*ready.failures, *tally.failures.values()]
    return Staged(shard, path, whole, failures, ready.twins, ready.hashes, tally.encoded, monotonic() - began)


def _rows(shard: Shard, ready: PreparedShard, encoding: Encoding, tally: Tally) -> Iterator[pa.RecordBatch]:
    """Rows window by window; while one is written, the next is already in the lanes, so that no core waits for this thread."""
    objects = _about(shard, ready)
    under_way: deque[Forward] = deque()
    for file, modality in sorted({(part.path, part.modality) for outcome in ready.ready for part in outcome.parts}):
        done = {outcome.index for outcome in ready.ready if any(part.path == file for part in outcome.parts)}
        for window in prepared.read(file, done, WINDOW_ROWS, WINDOW_BYTES):
            under_way.append(Forward(encoding.encoders[modality], window, encoding.batch, encoding.lanes, tally))
            if len(under_way) > 1:
                yield _table_rows(objects, under_way.popleft(), encoding)
    while under_way:
        yield _table_rows(objects, under_way.popleft(), encoding)


@contextmanager
def lanes(encoders: Mapping[Modality, Sequence[Encoder]]) -> Iterator[Executor]:
    """Threads that encode; passes that have not begun are dropped in the end, for one that failed for good ends the run."""
    pool = ThreadPoolExecutor(max(map(len, encoders.values())), thread_name_prefix="encode")
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _about(shard: Shard, ready: PreparedShard) -> pa.Table:
    """What all rows of an object repeat, one row per object of the shard."""
    media = {outcome.index: outcome.medium for outcome in ready.ready}
    rows = range(len(shard))
    columns = {"content_hash": [ready.hashes.get(row) for row in rows], "medium": [media.get(row) for row in rows]}
    about = shard.objects.select("uri", "etag", "size", "modified").to_arrow()
    for name, values in columns.items():
        about = about.append_column(name, pa.array(values, pa.string()))
    return about


def _table_rows(objects: pa.Table, forward: Forward, encoding: Encoding) -> pa.RecordBatch:
    vectors, good = forward.result()
    window = forward.window
    about = objects.take(pa.array(window.objects[good])).combine_chunks()
    columns = {name: about.column(name).combine_chunks() for name in about.column_names}
    columns |= {name: getattr(window, name).take(pa.array(good)) for name in ("start", "end", "text")}
    columns |= {
        "segment": window.numbers[good],
        "source": encoding.source,
        "modality": forward.spec.modality,
        "embedded_at": datetime.now(UTC),
        "run": encoding.run,
    }
    return batches.rows(encoding.schema, columns, vectors[good])
