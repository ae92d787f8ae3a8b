"""Search a table by words, a picture, a sound or a video, with the encoders of the table's own generation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from lancedb.query import LanceVectorQueryBuilder
from lancedb.table import Table

from encoders import registry
from encoders.context import fitted
from encoders.media import pictures, sounds, texts, videos
from encoders.media.containers import medium_of
from encoders.media.frames import FrameChoice
from encoders.media.kinds import Limits
from encoders.spec import Encoder, Modality, Space
from encoders.stacking import alone
from storage import table as tables
from storage.errors import TableError

COLUMNS = ("uri", "medium", "modality", "segment", "start", "end", "text")
FRAMES = 32  # of a video that is asked with, spread over all of it


class QueryError(ValueError):
    """The question cannot be asked of this table; says what can."""


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
        self.table: Table = tables.published(tables.connect(database, must_exist=True), name)
        held = Space.from_json(tables.space_json(self.table))
        if space is not None and space.generation != tables.generation(self.table):
            raise QueryError(
                f"table {name!r} holds generation {tables.generation(self.table)} of space {held.name!r}; asked was with {space.name!r}, "
                f"generation {space.generation}. Their vectors cannot be compared: ask with the table's own space"
            )
        self.space = space or held
        self._encoders: dict[Modality, Encoder] = {}

    def search(
        self,
        query: str | Path,
        *,
        media: Collection[str] = (),
        modality: str | None = None,
        prefix: str | None = None,
        limit: int = 10,
    ) -> list[Hit]:
        """The segments nearest to words, or to a picture, sound, video or text file.

        Parameters
        ----------
        query : words; a Path is a file to be looked at or listened to.
        media : only objects of these, such as ("video",); all if empty.
        modality : only segments that were encoded as this one: "image" finds pictures and frames of videos.
        prefix : only objects whose URI starts with this.
        limit : most hits.

        Returns
        -------
        Best first. A query of several windows (a long sound, a long text, a video) scores each segment by its best window.
        """
        return self.nearest(self.embed(query), media=media, modality=modality, prefix=prefix, limit=limit)

    def nearest(
        self,
        vectors: np.ndarray,
        *,
        media: Collection[str] = (),
        modality: str | None = None,
        prefix: str | None = None,
        limit: int = 10,
    ) -> list[Hit]:
        """As `search`, of a query that is embedded already: float32 (windows, dimension)."""
        best: dict[tuple[str, int], Hit] = {}
        for vector in vectors:
            for hit in self._nearest(vector, _where(media, modality, prefix), limit):
                key = (hit.uri, hit.segment)
                if key not in best or hit.score > best[key].score:
                    best[key] = hit
        return sorted(best.values(), key=lambda hit: (-hit.score, hit.uri, hit.segment))[:limit]

    def embed(self, query: str | Path) -> np.ndarray:
        """Vectors of a query, float32 (windows, dimension)."""
        if isinstance(query, str):
            return self._of_text([query], self.encoder("text", "words"))
        modality = medium_of(query.name, query)
        if modality == "video":
            return self._of_video(query)
        encoder = self.encoder(modality, f"{query.name} ({modality})")
        if modality == "image":
            return encoder.encode(alone(encoder.prepare(pictures.decode(query, Limits()))))
        if modality == "audio":
            wanted = encoder.spec.preprocessing
            windows = sounds.windows(query, wanted["sampling_rate"], wanted["window_samples"], Limits())
            return np.concatenate([encoder.encode(alone(encoder.prepare(w.samples))) for w in windows])
        return self._of_text(texts.blocks(query, query.name, Limits()), encoder)

    def _of_video(self, query: Path) -> np.ndarray:
        read = self.space.modalities_of("video") or ("video",)
        encoders = {modality: self.encoder(modality, f"{query.name} (video)") for modality in read}
        specs = {modality: encoder.spec for modality, encoder in encoders.items()}
        seen = videos.parts(query, specs, FrameChoice(most=FRAMES))
        return np.concatenate([encoders[part.modality].encode(alone(encoders[part.modality].prepare(part.medium))) for part in seen])

    def _of_text(self, words: Iterable[str], encoder: Encoder) -> np.ndarray:
        parts = [chunk.text for chunk in fitted(encoder, words, role="query")]
        if not parts:
            raise QueryError("the query is empty; give some words, or the path of a picture or sound")
        prepare = getattr(encoder, "prepare_query", encoder.prepare)  # an encoder may read queries otherwise than what it finds
        return np.concatenate([encoder.encode(alone(prepare(part))) for part in parts])

    def encoder(self, modality: Modality, what: str) -> Encoder:
        """The encoder of a modality; QueryError, which says that `what` cannot be embedded, where the space has none."""
        if modality not in self.space.encoders:
            raise QueryError(f"space {self.space.name!r} cannot embed {what}; it can embed {', '.join(self.space.encoders)}")
        if modality not in self._encoders:
            # One float32 forward pass: the table's own number format may be coarser, which moves a score by less than its rounding.
            self._encoders[modality] = registry.build(self.space.encoders[modality], "cpu", "float32")
        return self._encoders[modality]

    def _nearest(self, vector: np.ndarray, where: str, limit: int) -> Iterator[Hit]:
        try:
            found = cast("LanceVectorQueryBuilder", self.table.search(vector, vector_column_name="vector"))
            found = found.distance_type("cosine").nprobes(20).refine_factor(10)
            found = found.where(where) if where else found
            rows = found.limit(limit).select([*COLUMNS, "_distance"]).to_list()
        except (OSError, RuntimeError, ValueError) as problem:
            raise TableError("unreadable", f"the search failed: {problem}") from problem
        for row in rows:
            yield Hit(**{name: row[name] for name in COLUMNS}, score=1.0 - row["_distance"])


def _where(media: Collection[str], modality: str | None, prefix: str | None) -> str:
    parts = []
    if media:
        parts.append(f"medium IN ({', '.join(map(tables.literal, media))})")
    if modality is not None:
        parts.append(f"modality = {tables.literal(modality)}")
    if prefix:
        # A range, not LIKE: % and _ mean themselves.
        parts.append(f"uri >= {tables.literal(prefix)} AND uri < {tables.literal(prefix + chr(0x10FFFF))}")
    return " AND ".join(parts)
