"""Prepared files: model inputs of many segments as an Arrow IPC stream, written by a worker and read by `encode`.

Arrays never pass between tasks, paths do. A stream (no footer) can be read up to its last whole batch when its writer was killed;
plain reads rather than a memory map keep the reader's resident memory at one batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.segments import Segment

_FIXED = [
    pa.field("object", pa.int32(), nullable=False),
    pa.field("segment", pa.int32(), nullable=False),
    pa.field("start", pa.float64()),
    pa.field("end", pa.float64()),
    pa.field("text", pa.string()),
]
_BUFFER = 64 << 10  # bytes: the many small pieces of a batch are written as one
_INPUT = "input:"  # before the names of inputs, which are the encoder's own affair


class PreparedWriter:
    """Appends segments of one modality to a stream; the first batch fixes the schema."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: pa.NativeFile | None = None
        self._stream: pa.ipc.RecordBatchStreamWriter | None = None
        self._schema: pa.Schema | None = None

    def write(self, index: int, numbers: Sequence[int], segments: Sequence[Segment]) -> None:
        """Append segments of object `index`, each with its number within the object; they are in the file when this returns."""
        columns = {f"{_INPUT}{name}": _column([s.inputs[name] for s in segments]) for name in segments[0].inputs}
        if self._file is None or self._stream is None:
            self._schema = pa.schema(_FIXED + [pa.field(name, column.type) for name, column in columns.items()])
            self._file = pa.output_stream(str(self.path), compression=None, buffer_size=_BUFFER)
            self._stream = pa.ipc.new_stream(self._file, self._schema)
        fixed = [
            pa.array([index] * len(segments), pa.int32()),
            pa.array(numbers, pa.int32()),
            pa.array([s.start for s in segments], pa.float64()),
            pa.array([s.end for s in segments], pa.float64()),
            pa.array([s.text for s in segments], pa.string()),
        ]
        self._stream.write_batch(pa.record_batch([*fixed, *columns.values()], schema=self._schema))
        self._file.flush()

    def close(self) -> None:
        """End the stream."""
        if self._stream is not None:
            self._stream.close()
        if self._file is not None:
            self._file.close()


@dataclass(frozen=True)
class Prepared:
    """Segments in memory: one window of a prepared file.

    Parameters
    ----------
    objects, numbers : int32 (n,), row of the object in its shard and number of the segment within it.
    start, end, text : Arrow arrays (n,), as they stand in the table.
    inputs : per input its n arrays, in order.
    """

    objects: np.ndarray
    numbers: np.ndarray
    start: pa.Array
    end: pa.Array
    text: pa.Array
    inputs: Mapping[str, list[np.ndarray]]

    def __len__(self) -> int:
        return len(self.objects)


def read(path: Path, done: Collection[int], rows: int, size: int) -> Iterator[Prepared]:
    """Yield the segments of the objects in `done`, at most about `rows` of them or `size` bytes at a time.

    An object that is not in `done` was cut off or failed half way: its segments are passed over.
    """
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in _batches(path):
        if batch.column("object")[0].as_py() not in done:
            continue
        held.append(batch)
        held_rows, held_bytes = held_rows + batch.num_rows, held_bytes + batch.nbytes
        if held_rows >= rows or held_bytes >= size:
            yield _gather(held)
            held, held_rows, held_bytes = [], 0, 0
    if held:
        yield _gather(held)


def inputs_of(batch: pa.RecordBatch, row: int) -> dict[str, np.ndarray]:
    """The inputs of one segment: views of the batch, by name."""
    return {
        name.removeprefix(_INPUT): _arrays(pa.chunked_array([batch.column(name).slice(row, 1)]))[0]
        for name in batch.schema.names[len(_FIXED) :]
    }


def _batches(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as stream:
        while True:
            try:
                yield stream.read_next_batch()
            except (StopIteration, pa.ArrowInvalid, OSError):
                return  # the end, or where a killed worker stopped writing: what counts is which objects are done


def _gather(batches: list[pa.RecordBatch]) -> Prepared:
    table = pa.Table.from_batches(batches)
    inputs = {name.removeprefix(_INPUT): _arrays(table.column(name)) for name in table.column_names[len(_FIXED) :]}
    objects, numbers = (table.column(name).to_numpy() for name in ("object", "segment"))
    start, end, text = (table.column(name).combine_chunks() for name in ("start", "end", "text"))
    return Prepared(objects, numbers, start, end, text, inputs)


def _column(arrays: list[np.ndarray]) -> pa.Array:
    """Lists for vectors, which may differ in length; fixed-shape tensors for everything else."""
    if arrays[0].ndim == 1:
        offsets = np.cumsum([0, *map(len, arrays)], dtype=np.int32)
        return pa.ListArray.from_arrays(offsets, np.concatenate(arrays))
    stacked = arrays[0].reshape(1, *arrays[0].shape) if len(arrays) == 1 else np.stack(arrays)
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(stacked))


def _arrays(column: pa.ChunkedArray) -> list[np.ndarray]:
    arrays: list[np.ndarray] = []
    for chunk in column.chunks:
        if isinstance(chunk, pa.FixedShapeTensorArray):
            arrays.extend(chunk.to_numpy_ndarray())
        else:
            values, offsets = chunk.values.to_numpy(), chunk.offsets.to_numpy()
            arrays.extend(values[a:b] for a, b in pairwise(offsets))
    return arrays
