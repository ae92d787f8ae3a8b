"""Rows of an export: what is told of each object or segment, its vector, its place on a map and its neighbours, its cluster."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from retrieval.cluster.clusters import NOISE, Clusters
from retrieval.cluster.neighbours import neighbours
from retrieval.units import Units
from storage import row_files

COLUMNS = ("uri", "medium", "modality", "segment", "start", "end", "text")


def frame(units: Units, *, vectors: bool = True) -> pl.DataFrame:
    """uri, medium, modality, segment, start, end, text of each, and vector: lists of float32."""
    told = units.told.select(COLUMNS)
    return told.with_columns(vector=pl.Series(units.vectors).cast(pl.List(pl.Float32))) if vectors else told


def with_places(rows: pl.DataFrame, vectors: np.ndarray, places: np.ndarray, number: int = 15) -> pl.DataFrame:
    """And x, y, and neighbors: {ids, distances} of the nearest rows, ids counted from 0 in the order of the file.

    `neighbors` is spelt and shaped as embedding-atlas documents for `--neighbors`; they are the neighbours by cosine of `vectors` (n, d),
    not those on the map.
    """
    ids, distances = neighbours(vectors, number)
    near = pl.DataFrame({"ids": _lists(ids), "distances": _lists(distances)}).to_struct("neighbors")
    return rows.with_columns(pl.Series("x", places[:, 0]), pl.Series("y", places[:, 1]), near)


def with_clusters(rows: pl.DataFrame, clusters: Clusters, names: list[str]) -> pl.DataFrame:
    """And cluster, null of what is in none, its name as cluster_name, and membership."""
    labels = pl.Series("cluster", clusters.labels)
    told = pl.Series("cluster_name", [None if label == NOISE else names[label] for label in clusters.labels.tolist()], dtype=pl.String)
    membership = pl.Series("membership", clusters.membership)
    return rows.with_columns(labels.set(labels == NOISE, None), told, membership)


def labels(rows: pl.DataFrame) -> pl.DataFrame:
    """Where on the map the name of each cluster goes: x, y, text, as embedding-atlas reads it by `--labels`; medians of the members."""
    named = rows.filter(pl.col("cluster_name").is_not_null() & (pl.col("cluster_name") != ""))
    middles = named.group_by("cluster").agg(pl.col("x", "y").median(), text=pl.col("cluster_name").first())
    return middles.sort("cluster").select("x", "y", "text")


def write(rows: pl.DataFrame, file: Path) -> None:
    """Parquet, of which nothing is seen before it is whole."""
    with row_files.whole(file) as beside:
        rows.write_parquet(beside)


def _lists(values: np.ndarray) -> pl.Series:
    inner = pl.Int64 if values.dtype == np.int64 else pl.Float32
    if not values.shape[1]:
        return pl.Series([[]] * len(values), dtype=pl.List(inner))
    return pl.Series(values).cast(pl.List(inner))
