"""A table parted into clusters with names, exemplars and outliers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from retrieval import query_texts, units
from retrieval.cluster import cluster_names, clusters, exemplars, export_rows
from retrieval.cluster.cluster_names import Name
from retrieval.cluster.clusters import NOISE, Clusters, ClusterSettings
from retrieval.cluster.exemplars import Outlier
from retrieval.errors import QueryError
from retrieval.filters import EVERYTHING, Filter
from retrieval.means import means
from retrieval.plane import centred, plane
from retrieval.query import Searcher
from retrieval.units import Units


@dataclass(frozen=True)
class ClusteringSettings:
    """What is parted, and what is told of its parts.

    Parameters
    ----------
    parted : by which method.
    keep : what is parted at all.
    segments : segments instead of objects.
    centre : take each from the mean of its modality first, so that pictures and sounds of one thing can meet.
    on : "plane": part a map of them, where there are gaps that many dimensions have not (as BERTopic does); or "vectors".
    names : "words": the nearest of a vocabulary; "texts": those that set a cluster's own texts apart; "none"; `None`: words where the space
        can embed them and there are some, else texts.
    words : the vocabulary; empty: words of the table's own texts.
    exemplars, outliers : how many are shown, of each cluster and in all.
    """

    parted: ClusterSettings = field(default_factory=ClusterSettings)
    keep: Filter = EVERYTHING
    segments: bool = False
    centre: bool = True
    on: str = "plane"
    names: str | None = None
    words: tuple[str, ...] = ()
    exemplars: int = 3
    outliers: int = 5

    def __post_init__(self) -> None:
        if self.on not in GROUNDS:
            raise QueryError(f"clusters cannot be made on {self.on!r}; allowed are {', '.join(GROUNDS)}")
        if self.names is not None and self.names not in NAMERS:
            raise QueryError(f"there are no names by {self.names!r}; allowed are {', '.join(NAMERS)}")


@dataclass(frozen=True)
class Clustering:
    """Clusters of a table.

    Parameters
    ----------
    units : what was parted.
    clusters : their parts.
    names : of each cluster.
    named_by : how.
    vocabulary : how many words names were chosen from, and how many had no vector.
    exemplars : of each cluster, rows of `units`, nearest to the centre first.
    outliers : rows of `units` that lie apart, loneliest first.
    places : float32 (units, 2), the map that was parted, or `None`.
    """

    units: Units
    clusters: Clusters
    names: list[Name]
    named_by: str
    vocabulary: Mapping[str, int]
    exemplars: list[list[int]]
    outliers: list[Outlier]
    places: np.ndarray | None = None

    def rows(self) -> pl.DataFrame:
        """uri, segment, medium, content_hash, cluster, cluster_name and membership of each unit."""
        told = self.units.told.select("uri", "segment", "medium", "content_hash")
        return export_rows.with_clusters(told, self.clusters, list(map(str, self.names)))

    def report(self) -> dict[str, Any]:
        """All that is told but the label of each."""
        noise = int((self.clusters.labels == NOISE).sum())
        return {
            "unit": self.units.noun,
            "units": len(self.units),
            "clustered": len(self.units) - noise,
            "noise": noise,
            "named_by": self.named_by,
            "vocabulary": dict(self.vocabulary),
            "chosen": clusters.chosen(self.clusters.silhouettes) if self.clusters.silhouettes else None,
            "silhouettes": {str(number): score for number, score in self.clusters.silhouettes.items()},
            "clusters": [self._cluster(number) for number in range(len(self.names))],
            "outliers": [{**self._told(each.place), "factor": each.factor} for each in self.outliers],
        }

    def _cluster(self, number: int) -> dict[str, Any]:
        members = np.flatnonzero(self.clusters.labels == number)
        name = self.names[number]
        return {
            "cluster": number,
            "size": len(members),
            "words": dict(zip(name.words, name.scores, strict=True)),
            "media": dict(sorted(Counter(self.units.told["medium"][members].to_list()).items())),
            "exemplars": [self._told(row) for row in self.exemplars[number]],
        }

    def _told(self, row: int) -> dict[str, Any]:
        return (
            self.units.told.select("uri", "segment").row(row, named=True) if self.units.segments else {"uri": self.units.told["uri"][row]}
        )


def cluster(searcher: Searcher, asked: ClusteringSettings | None = None) -> Clustering:
    """Part the published table of a searcher.

    Raises
    ------
    QueryError : there are too few objects, too many for the method, or no names of the kind that was asked for.
    """
    asked = asked or ClusteringSettings()
    held = units.read(searcher.table, asked.keep, segments=asked.segments)
    vectors = centred(held.vectors, held.column("modality")) if asked.centre else held.vectors
    places = GROUNDS[asked.on](vectors, asked.parted.seed)
    found = clusters.find(vectors, asked.parted, places)
    named_by, names, vocabulary = _named(searcher, held, found.labels, asked)
    near = exemplars.exemplars(vectors, found.labels, found.centres, held.contents, asked.exemplars)
    apart = exemplars.outliers(vectors, held.contents, asked.outliers, asked.parted.seed) if asked.outliers else []
    return Clustering(held, found, names, named_by, vocabulary, near, apart, places)


GROUNDS: Mapping[str, Callable[[np.ndarray, int], np.ndarray | None]] = {"vectors": lambda vectors, seed: None, "plane": plane}

_Named = tuple[list[Name], dict[str, int]]


def _named(searcher: Searcher, held: Units, labels: np.ndarray, asked: ClusteringSettings) -> tuple[str, list[Name], dict[str, int]]:
    if asked.names is not None:
        return asked.names, *NAMERS[asked.names](searcher, held, labels, asked.words)
    if "text" in searcher.space.encoders:
        names, vocabulary = _by_words(searcher, held, labels, asked.words)
        if any(name.words for name in names):
            return "words", names, vocabulary
    return "texts", *_by_texts(searcher, held, labels, ())


def _by_words(searcher: Searcher, held: Units, labels: np.ndarray, words: Sequence[str]) -> _Named:
    vocabulary = list(words) or cluster_names.mined(held.column("text"))
    if not vocabulary:
        return _unnamed(searcher, held, labels, ())
    encoded = query_texts.embed_texts(searcher.encoder("text", "words"), vocabulary)
    kept = [vocabulary[place] for place in encoded.kept]
    counts = {"words": len(vocabulary), "without_vector": len(encoded.failed)}
    if not kept:
        return _unnamed(searcher, held, labels, ())[0], counts
    return cluster_names.nearest_words(
        held.vectors, labels, held.column("modality"), kept, means(encoded.vectors, encoded.owner)
    ), counts  # fmt: skip


def _by_texts(searcher: Searcher, held: Units, labels: np.ndarray, words: Sequence[str]) -> _Named:
    texts = held.column("text")
    return cluster_names.distinctive_words(texts, labels), {"texts": sum(map(bool, texts))}


def _unnamed(searcher: Searcher, held: Units, labels: np.ndarray, words: Sequence[str]) -> _Named:
    return [Name((), ()) for _ in range(int(labels.max(initial=NOISE)) + 1)], {}


NAMERS: Mapping[str, Callable[[Searcher, Units, np.ndarray, Sequence[str]], _Named]] = {
    "words": _by_words,
    "texts": _by_texts,
    "none": _unnamed,
}
