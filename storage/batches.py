"""Rows on their way to the table: built from objects and vectors, checked, staged in Arrow files, filtered by object."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storage.errors import StorageError
from storage.schema import ADDED

UNIT = 1e-3  # a vector's length may be off by this; float16 rounds a unit vector's length by less
SAME = 1e-6


def check_vectors(vectors: np.ndarray, dimension: int) -> tuple[np.ndarray, list[str]]:
    """Which vectors must not be written, and why.

    Parameters
    ----------
    vectors : float32 (n, d), before any rounding to float16.
    dimension : the table's.

    Returns
    -------
    bad : bool (n,).
    reasons : n words: "" for a good one, else "wrong dimension", "not finite", "zero vector" or "not unit length".
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        return np.ones(len(vectors), bool), ["wrong dimension"] * len(vectors)
    finite = np.isfinite(vectors).all(axis=1)  # (n,)
    length = np.linalg.norm(np.where(finite[:, None], vectors, 0).astype(np.float64), axis=1)  # (n,)
    faults = [~finite, length == 0, np.abs(length - 1) > UNIT]
    reasons = np.select(faults, ["not finite", "zero vector", "not unit length"], default="")
    return reasons != "", reasons.tolist()


def all_same(vectors: np.ndarray) -> bool:
    """Whether two or more vectors (n, d) are one and the same: an encoder that ignores its input.

    Identical objects have identical vectors; ask this of objects with different contents.
    """
    return len(vectors) > 1 and bool(np.abs(vectors - vectors[0]).max() <= SAME)


def rows(schema: pa.Schema, columns: Mapping[str, Any], vectors: np.ndarray) -> pa.RecordBatch:
    """One record batch of a table's schema.

    Parameters
    ----------
    schema : the table's, or `storage.schema.rows(dimension)`.
    columns : by name, every column but "vector": a sequence or Arrow array of n values, or one value for all n rows. Left out means null.
    vectors : float32 (n, dimension), each of length one; checked, then rounded to float16.

    Raises
    ------
    StorageError
        "bad vectors" if `check_vectors` finds one, "bad columns" if a column is unknown, missing where the table needs it, or of the wrong
        type or length.
    """
    dimension = schema.field("vector").type.list_size
    _, reasons = check_vectors(vectors, dimension)
    faults = sorted(set(reasons) - {""})
    if faults:
        raise StorageError("bad vectors", f"{sum(map(bool, reasons))} of {len(vectors)} vectors cannot be written: {', '.join(faults)}")
    unknown = set(columns) - set(schema.names)
    if unknown:
        raise StorageError("bad columns", f"no column {', '.join(sorted(unknown))} in the table; it has {', '.join(schema.names)}")
    vector = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), dimension)
    arrays = [vector if field.name == "vector" else _column(field, columns.get(field.name), len(vectors)) for field in schema]
    return pa.record_batch(arrays, schema=schema)


def write_stream(path: str | os.PathLike[str], schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Stage batches as an uncompressed Arrow IPC stream; returns the rows written.

    The file appears under its name only when it is whole.
    """
    path = Path(path)
    part = path.with_name(path.name + ".part")
    written = 0
    try:
        with pa.OSFile(str(part), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
            for batch in batches:
                stream.write_batch(batch)
                written += batch.num_rows
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    return written


def read_stream(path: str | os.PathLike[str]) -> pa.RecordBatchReader:
    """A staged stream, one batch in memory at a time.

    Plain reads, not a memory map: mapped pages would count as this process's memory until the system wants them back.
    """
    try:
        return pa.ipc.open_stream(pa.OSFile(str(path), "rb"))
    except (OSError, pa.ArrowInvalid) as error:
        raise StorageError("unreadable stream", f"{os.fspath(path)} is not a whole Arrow stream ({error}); stage it again") from error


def vectors(batch: pa.RecordBatch) -> np.ndarray:
    """The column "vector" of some rows, float16 (n, dimension)."""
    column = batch.column("vector")
    values: np.ndarray = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(len(batch), column.type.list_size)


def without(reader: pa.RecordBatchReader, uris: Collection[str]) -> pa.RecordBatchReader:
    """The stream without the rows of some objects: those that failed after part of them was staged."""
    dropped = pa.array(list(uris), pa.string())

    def kept() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            rest = batch.filter(pc.invert(pc.is_in(batch["uri"], value_set=dropped)))
            if rest.num_rows:
                yield rest

    return pa.RecordBatchReader.from_batches(reader.schema, kept())


def widened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """A batch that was made before a table got columns that are not of the pipeline: with nulls there. Any other is returned as it is."""
    lacking = {field.name for field in schema if ADDED in (field.metadata or {})} - set(batch.schema.names)
    if not lacking or set(schema.names) - lacking != set(batch.schema.names):
        return batch
    arrays = [pa.nulls(len(batch), field.type) if field.name in lacking else batch.column(field.name) for field in schema]
    return pa.record_batch(arrays, schema=schema)


def chain(schema: pa.Schema, readers: Iterable[pa.RecordBatchReader]) -> pa.RecordBatchReader:
    """Several streams of one schema as one, opened one after the other if `readers` is lazy."""
    return pa.RecordBatchReader.from_batches(schema, (widened(batch, schema) for reader in readers for batch in reader))


def _column(field: pa.Field, values: Any, n: int) -> pa.Array:
    try:
        if isinstance(values, str | bytes) or not hasattr(values, "__len__"):  # one value for all, or none
            values = pa.repeat(pa.scalar(values, field.type), n)
        array = values.cast(field.type) if isinstance(values, pa.Array) else pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise StorageError("bad columns", f"column {field.name!r} holds {field.type}: {error}") from error
    if len(array) != n:
        raise StorageError("bad columns", f"column {field.name!r} has {len(array)} values for {n} vectors")
    if array.null_count and not field.nullable:
        raise StorageError("bad columns", f"column {field.name!r} lacks {array.null_count} of {n} values; the table needs them all")
    return array
