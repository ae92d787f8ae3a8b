"""Search a table by words, a picture, a sound or a video, with the encoders of the table's own generation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from lancedb.table import Table

from encoders.spec import Encoder, Modality, Space
from retrieval import exact
from retrieval.errors import QueryError
from retrieval.filters import EVERYTHING, LISTED, Filter
from retrieval.means import TINY
from retrieval.query_encoder import QueryEncoder
from retrieval.query_texts import embed_texts
from storage import batches
from storage import table as tables
from storage.errors import TableError
from storage.faults import told
from storage.index import nearest, search_settings
from storage.replace import scan

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["COLUMNS", "Hit", "QueryError", "Searcher"]

COLUMNS = ("uri", "medium", "modality", "segment", "start", "end", "text")
SEVERAL = 4  # segments looked at for each object that is wanted, before looking again
WINDOWS = 16  # of one query, each asked of the engine on its own; more are asked in one pass over the table


@dataclass(frozen=True)
class Hit:
    """One segment that answers a query.

    Parameters
    ----------
    medium : what the object is.
    modality : what the segment was encoded as: a frame of a video is an image.
    start, end : seconds of a sound or video, characters of a text, None for a picture.
    text : the words of a text's chunk.
    score : cosine similarity, -1 to 1.
    """

    uri: str
    medium: str
    modality: str
    segment: int
    start: float | None
    end: float | None
    text: str | None
    score: float


class Searcher:
    """A published table, open for questions; encoders are built once, at their first use.

    Parameters
    ----------
    database, name : where the table is.
    space : the space to ask with, if its weights lie elsewhere than the table remembers; it must be of the table's generation.

    Raises
    ------
    TableError : there is no such table, or nothing is published in it.
    QueryError : `space` is of another generation than the table.
    """

    def __init__(self, database: str, name: str = "media", space: Space | None = None) -> None:
        self.database, self.name = tables.connect(database, must_exist=True), name
        self.table: Table = tables.published(self.database, name)
        held = Space.from_json(tables.space_json(self.table))
        self.generation = tables.generation(self.table)
        if space is not None and space.generation != self.generation:
            raise QueryError(
                f"table {name!r} holds generation {self.generation} of space {held.name!r}; asked was with {space.name!r}, "
                f"generation {space.generation}. Their vectors cannot be compared: ask with the table's own space"
            )
        self.space = space or held
        self.queries = QueryEncoder(self.space)
        self.settings = search_settings(self.table)

    @property
    def dimension(self) -> int:
        """Length of every vector."""
        return self.space.dimension

    def search(
        self, query: str | Path | bytes | Image, *, keep: Filter = EVERYTHING, limit: int = 10, per_object: bool = False
    ) -> list[Hit]:
        """The segments nearest to words, or to a picture, sound, video or text file.

        Parameters
        ----------
        query : words; a Path is a file to be looked at or listened to.
        keep : what is found at all.
        limit : most hits, 1 or more (QueryError).
        per_object : the best segment of each object alone, so that a long video does not take all places.

        Returns
        -------
        Best first. A query of several windows (a long sound, a long text, a video) scores each segment by its best window.
        """
        return self.nearest(self.embed(query), keep=keep, limit=limit, per_object=per_object)

    def nearest(self, vectors: np.ndarray, *, keep: Filter = EVERYTHING, limit: int = 10, per_object: bool = False) -> list[Hit]:
        """As `search`, of a query that is embedded already: float32 (windows, dimension), of unit length."""
        if limit < 1:
            raise QueryError(f"at most {limit} hits are none; give a limit of 1 or more")
        if len(vectors) > WINDOWS or keep.long or (per_object and limit > LISTED):
            return self.nearest_of_many(vectors, np.zeros(len(vectors), np.int64), keep=keep, limit=limit, per_object=per_object)[0]
        found: list[Hit] = []
        while True:
            hits = self._best(vectors, keep.excluding(hit.uri for hit in found), SEVERAL * limit if per_object else limit)
            if not per_object:
                return hits
            first = {hit.uri: hit for hit in reversed(hits)}  # of hits with one URI the best is the last to stay
            found += sorted(first.values(), key=_order)
            if len(found) >= limit or len(hits) < SEVERAL * limit:
                return found[:limit]

    def nearest_of_many(
        self, vectors: np.ndarray, query_of: np.ndarray, *, keep: Filter = EVERYTHING, limit: int = 10, per_object: bool = False
    ) -> list[list[Hit]]:
        """As `nearest`, of many queries at once and always exact: one pass over the table instead of one for each query.

        Parameters
        ----------
        vectors : float32 (windows, dimension), of unit length.
        query_of : int64 (windows,), the query each belongs to: 0, 0, 1, 2, … that never fall and leave none out.
        """
        return self._exact(vectors, query_of, keep, limit, per_object)

    def among(
        self, rows: np.ndarray, vectors: np.ndarray, *, keep: Filter = EVERYTHING, limit: int = 10, per_object: bool = False
    ) -> list[Hit]:
        """As `nearest`, among some rows of the table alone, by their ids; always exact."""
        return self._exact(vectors, np.zeros(len(vectors), np.int64), keep, limit, per_object, rows)[0]

    def _exact(
        self, vectors: np.ndarray, query_of: np.ndarray, keep: Filter, limit: int, per_object: bool, rows: np.ndarray | None = None
    ) -> list[list[Hit]]:
        found = exact.nearest(self.table, vectors, query_of, limit, COLUMNS, keep=keep, per_object=per_object, only=rows)
        hits: list[list[Hit]] = [[] for _ in range(int(query_of[-1]) + 1 if len(query_of) else 0)]
        for row in found.iter_rows(named=True):
            hits[row.pop("query")].append(Hit(**row))
        return hits

    def vectors_at(self, hits: Sequence[Hit]) -> np.ndarray:
        """The vectors of some hits, in their order: float32 (hits, dimension)."""
        places = {(hit.uri, hit.segment): place for place, hit in enumerate(hits)}
        vectors = np.zeros((len(hits), self.dimension), np.float32)
        dataset = self.table.to_lance()
        for low in range(0, len(hits), LISTED):
            part = hits[low : low + LISTED]
            segments = ", ".join(map(str, sorted({hit.segment for hit in part})))
            condition = f"segment IN ({segments}) AND {Filter(uris=frozenset(hit.uri for hit in part)).sql()}"
            with told(f"reading table {self.table.name!r}"):
                for batch in scan(dataset, ["uri", "segment", "vector"], condition).to_batches():
                    keys = zip(batch["uri"].to_pylist(), batch["segment"].to_pylist(), strict=True)
                    known = [(places[key], row) for row, key in enumerate(keys) if key in places]
                    if known:
                        to, rows = np.array(known).T
                        vectors[to] = batches.vectors(batch)[rows]
        return vectors

    def _best(self, vectors: np.ndarray, keep: Filter, limit: int) -> list[Hit]:
        best: dict[tuple[str, int], Hit] = {}
        for vector in vectors:
            for hit in self._nearest(vector, keep.sql(), limit):
                key = (hit.uri, hit.segment)
                if key not in best or hit.score > best[key].score:
                    best[key] = hit
        return sorted(best.values(), key=_order)[:limit]

    def rescored(self, hits: Sequence[Hit], vectors: np.ndarray) -> list[Hit]:
        """The same hits in the same order, with their cosine similarity to a query (windows, dimension) as score."""
        scores = (self.vectors_at(hits) @ vectors.T).max(axis=1) if hits else []
        return [replace(hit, score=float(score)) for hit, score in zip(hits, scores, strict=True)]

    def vectors_of(self, uri: str, segment: int | None = None) -> np.ndarray:
        """What the table holds of an object, or of one of its segments: float32 (rows, dimension), in order of its segments.

        Raises
        ------
        QueryError : it holds none.
        """
        condition = f"uri = {tables.literal(uri)}" + (f" AND segment = {int(segment)}" if segment is not None else "")
        with told(f"reading table {self.table.name!r}"):
            read = scan(self.table.to_lance(), ["segment", "vector"], condition).to_table().sort_by("segment").combine_chunks()
        if not len(read):
            what = f"segment {segment} of {uri!r}" if segment is not None else repr(uri)
            raise QueryError(f"table {self.table.name!r} holds no {what}; give a URI as `search` prints it")
        return np.concatenate([batches.vectors(batch) for batch in read.to_batches()]).astype(np.float32)

    def modality_of(self, uri: str, segment: int = 0) -> str:
        """As what a segment was encoded.

        Raises
        ------
        QueryError : the table holds none.
        """
        with told(f"reading table {self.table.name!r}"):
            condition = f"uri = {tables.literal(uri)} AND segment = {int(segment)}"
            read: list[str] = scan(self.table.to_lance(), ["modality"], condition).to_table()["modality"].to_pylist()
        if not read:
            raise QueryError(f"table {self.table.name!r} holds no segment {segment} of {uri!r}; give a URI as `search` prints it")
        return read[0]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """One unit vector for each text, float32 (n, dimension), encoded in batches; of a long text the mean of its chunks.

        Raises
        ------
        QueryError : a text has no vector; says which and why.
        """
        encoded = embed_texts(self.encoder("text", "words"), texts)
        if encoded.failed:
            place, reason = min(encoded.failed.items())
            raise QueryError(f"text {place + 1} of {len(texts)} ({texts[place][:40]!r}) has no vector: {reason}; leave it out")
        sums = np.zeros((len(texts), self.dimension), np.float32)
        np.add.at(sums, encoded.owner, encoded.vectors)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        if len(texts) and lengths.min() < TINY:
            raise QueryError(f"the chunks of text {int(lengths.argmin()) + 1} of {len(texts)} cancel each other out; ask with a part of it")
        means: np.ndarray = sums / lengths
        return means

    def embed(self, query: str | Path | bytes | Image) -> np.ndarray:
        """Vectors of a query, float32 (windows, dimension); see `QueryEncoder.embed`."""
        return self.queries.embed(query)

    def encoder(self, modality: Modality, what: str) -> Encoder:
        """The encoder of a modality; QueryError, which says that `what` cannot be embedded, where the space has none."""
        return self.queries.encoder(modality, what)

    def _nearest(self, vector: np.ndarray, where: str, limit: int) -> Iterator[Hit]:
        try:
            found = nearest(self.table, vector, self.settings, where)
            rows = found.limit(limit).select([*COLUMNS, "_distance"]).to_list()
        except (OSError, RuntimeError, ValueError) as problem:
            raise TableError("unreadable", f"the search failed: {problem}") from problem
        for row in rows:
            yield Hit(**{name: row[name] for name in COLUMNS}, score=1.0 - row["_distance"])


def _order(hit: Hit) -> tuple[float, str, int]:
    return -hit.score, hit.uri, hit.segment
