"""The table's columns and what stands in its metadata."""

from __future__ import annotations

import pyarrow as pa

STAMP = pa.timestamp("us", tz="UTC")

ADDED = b"sensorium.column"
"""In the metadata of a column that is not of the pipeline: the command that made it, the only one that may write there."""

LISTING = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("etag", pa.string()),
        pa.field("modified", STAMP),
    ]
)


def rows(dimension: int) -> pa.Schema:
    """One row per segment; `uri` and `segment` identify it and come first (an index on a key that is not first was once ignored).

    `medium` is what the object is, `modality` what the segment was encoded as: a video has rows of images and of audio. `start` and `end`
    are seconds of sounds and videos and characters of texts, null for pictures; `content_hash` is the hex SHA-256 of the whole object.
    """
    return pa.schema(
        [
            pa.field("uri", pa.string(), nullable=False),
            pa.field("segment", pa.int32(), nullable=False),
            pa.field("source", pa.string(), nullable=False),
            pa.field("etag", pa.string()),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("modified", STAMP),
            pa.field("content_hash", pa.string(), nullable=False),
            pa.field("medium", pa.string(), nullable=False),
            pa.field("modality", pa.string(), nullable=False),
            pa.field("start", pa.float64()),
            pa.field("end", pa.float64()),
            pa.field("text", pa.string()),
            pa.field("vector", pa.list_(pa.float16(), dimension), nullable=False),
            pa.field("embedded_at", STAMP, nullable=False),
            pa.field("run", pa.string(), nullable=False),
        ]
    )


QUARANTINE = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string()),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),
        pa.field("first_failed", STAMP, nullable=False),
        pa.field("last_failed", STAMP, nullable=False),
        pa.field("generation", pa.string(), nullable=False),
    ]
)

RUNS = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("space", pa.string()),
        pa.field("generation", pa.string()),
        pa.field("started", STAMP, nullable=False),
        pa.field("finished", STAMP),
        *(pa.field(figure, pa.int64()) for figure in ("listed", "embedded", "unchanged", "quarantined", "skipped", "deleted")),
        *(pa.field(figure, pa.int64()) for figure in ("segments", "encoded", "reused", "version")),
        pa.field("balanced", pa.bool_()),
        pa.field("account", pa.string()),
        pa.field("kind", pa.string()),  # null in runs of before there were several kinds: "embed"
    ]
)

TABLES_READ = pa.schema(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("etag", pa.string()),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("modified", STAMP),
        pa.field("columns", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
        pa.field("digest", pa.string(), nullable=False),
        pa.field("run", pa.string(), nullable=False),
        pa.field("read_at", STAMP, nullable=False),
    ]
)
