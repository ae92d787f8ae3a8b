"""Objects as plain dicts and the rows they must become: what the tests of the table compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pyarrow as pa
from lancedb.table import Table

from storage import batches, schema

DIMENSION = 8
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

Objects = Mapping[str, tuple[str, int]]  # uri -> etag, number of segments


def vector(uri: str, etag: str, segment: int) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(f"{uri}|{etag}|{segment}".encode()).digest()[:8], "big")
    v = np.random.default_rng(seed).standard_normal(DIMENSION)
    return (v / np.linalg.norm(v)).astype(np.float32)


def content(uri: str, etag: str) -> str:
    return hashlib.sha256(f"{uri}|{etag}".encode()).hexdigest()


def batch(objects: Objects, *, modality: str = "image", text: str | None = None) -> pa.RecordBatch:
    segments = [(uri, etag, k) for uri, (etag, n) in objects.items() for k in range(n)]
    columns = {
        "uri": [uri for uri, _, _ in segments],
        "segment": [k for _, _, k in segments],
        "source": "s3://bucket",
        "etag": [etag for _, etag, _ in segments],
        "size": 1,
        "modified": NOW,
        "content_hash": [content(uri, etag) for uri, etag, _ in segments],
        "medium": modality,
        "modality": modality,
        "text": text,
        "embedded_at": NOW,
        "run": "r1",
    }
    vectors = np.stack([vector(*s) for s in segments]) if segments else np.empty((0, DIMENSION), np.float32)
    return batches.rows(schema.rows(DIMENSION), columns, vectors)


def stream(objects: Objects, **same: str) -> pa.RecordBatchReader:
    made = batch(objects, **same)
    return pa.RecordBatchReader.from_batches(made.schema, [made])


def contents(table: Table) -> dict[str, tuple[str, int]]:
    """What the table holds, as objects; a row that is not exactly what its etag says fails here."""
    rows = pl.DataFrame(table.search().select(["uri", "segment", "etag", "vector"]).limit(None).to_arrow())
    found: dict[str, tuple[str, int]] = {}
    for uri, segment, etag, values in rows.sort("uri", "segment").iter_rows():
        known, n = found.get(uri, (etag, 0))
        assert known == etag, f"{uri} mixes {known} and {etag}"
        assert segment == n, f"{uri} has segment {segment} in place {n}"
        np.testing.assert_allclose(np.asarray(values, np.float32), vector(uri, etag, segment), atol=1e-3)
        found[uri] = (etag, n + 1)
    return found
