"""A table for other programs: one Parquet file, as Embedding Atlas (Ren et al. 2025) and every data frame read it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from retrieval import units
from retrieval.cluster import clustering, export_rows
from retrieval.cluster.clustering import Clustering, ClusteringSettings
from retrieval.cluster.clusters import ClusterSettings
from retrieval.errors import QueryError
from retrieval.filters import EVERYTHING, Filter
from retrieval.plane import centred, plane
from retrieval.query import Searcher
from retrieval.units import Units

SUFFIXES = (".parquet",)


@dataclass(frozen=True)
class ExportSettings:
    """What is written.

    Parameters
    ----------
    keep : what is written at all.
    segments : a row is a segment instead of an object.
    vectors : column vector.
    map : columns x, y and neighbors.
    cluster : method, for columns cluster, cluster_name and membership.
    labels : file for the places of the clusters' names on the map.
    centre : for map and clusters take each from the mean of its modality first. Neighbours are those of the vectors as they are.
    seed : of map and clusters.
    """

    keep: Filter = EVERYTHING
    segments: bool = False
    vectors: bool = True
    map: bool = False
    cluster: str | None = None
    labels: Path | None = None
    centre: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.labels is not None and not (self.map and self.cluster):
            raise QueryError("labels are names of clusters on a map; ask with --map and --cluster kmeans, too")


def export(searcher: Searcher, file: Path, asked: ExportSettings | None = None) -> dict[str, Any]:
    """Write the published table of a searcher into a Parquet file.

    Returns
    -------
    unit, rows, columns, bytes, file, labels, and open: the command that shows the map, `None` without one.

    Raises
    ------
    QueryError : the file is none, or there is nothing to write.
    """
    asked = asked or ExportSettings()
    for path in (file, asked.labels) if asked.labels else (file,):
        _refuse(path)
    held = units.read(searcher.table, asked.keep, segments=asked.segments)
    rows = export_rows.frame(held, vectors=asked.vectors)
    found = _parted(searcher, asked) if asked.cluster else None
    if found:
        rows = export_rows.with_clusters(rows, found.clusters, list(map(str, found.names)))
    if asked.map:
        rows = export_rows.with_places(rows, held.vectors, _places(held, asked) if found is None or found.places is None else found.places)
    export_rows.write(rows, file)
    if asked.labels:
        export_rows.write(export_rows.labels(rows), asked.labels)
    return {
        "unit": held.noun,
        "rows": rows.height,
        "columns": rows.columns,
        "bytes": file.stat().st_size,
        "file": str(file),
        "labels": str(asked.labels) if asked.labels else None,
        "open": _command(file, asked.labels) if asked.map else None,
    }


def _parted(searcher: Searcher, asked: ExportSettings) -> Clustering:
    settings = ClusterSettings(asked.cluster or "", seed=asked.seed)
    return clustering.cluster(
        searcher, ClusteringSettings(settings, asked.keep, segments=asked.segments, centre=asked.centre, exemplars=0, outliers=0)
    )


def _places(held: Units, asked: ExportSettings) -> np.ndarray:
    return plane(centred(held.vectors, held.column("modality")) if asked.centre else held.vectors, asked.seed)


def _command(file: Path, labels: Path | None) -> str:
    shown = ["embedding-atlas", str(file), "--x", "x", "--y", "y", "--neighbors", "neighbors", "--text", "text"]
    return shlex.join([*shown, "--labels", str(labels)] if labels else shown)


def _refuse(file: Path) -> None:
    if file.suffix.lower() not in SUFFIXES or not file.absolute().parent.is_dir():
        raise QueryError(f"{str(file)!r} cannot be written; name a file in a folder that exists, with {', '.join(SUFFIXES)} at its end")
