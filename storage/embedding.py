"""The space of a table as LanceDB's own embedding function: plain LanceDB then encodes queries by the table's generation, or refuses.

Vectors are written by the pipeline alone. Who searches with plain LanceDB imports `retrieval.lancedb_plugin`, which says how encoders are
loaded, once per process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from lancedb.embeddings import EmbeddingFunction, get_registry

PLUGIN = "retrieval.lancedb_plugin"
NAME = f"sensorium (import {PLUGIN})"  # all that LanceDB says, as a KeyError, in a process that has imported nothing of this project
_NAMES = ("sensorium", NAME)  # tables say either

Query = Callable[[Any], np.ndarray]
"""Encodes one query (words, a path, the bytes of a file, or a picture) as float32 (dimension,), unit norm."""

Loader = Callable[[str, str], Query]
"""Makes the `Query` of a space, given its JSON and the generation that it must have; raises where it cannot be that generation."""

_loader: Loader | None = None
_queries: dict[tuple[str, str], Query] = {}


def set_loader(loader: Loader | None) -> None:
    """Say how encoders are loaded in this process; `None` forgets it."""
    global _loader  # noqa: PLW0603 -- LanceDB makes the functions itself, so there is no other way in
    _loader = loader
    _queries.clear()


class SpaceFunction(EmbeddingFunction):
    """What stands under "embedding_functions" in a table's metadata."""

    space: str
    generation: str
    dimension: int
    max_retries: int = 0  # of rows on their way in, which are refused

    def ndims(self) -> int:
        """Length of a vector."""
        return self.dimension

    def compute_query_embeddings(self, *query: Any, **_: Any) -> list[Any]:
        """The query's vector, encoded by the generation of this table."""
        vector = np.asarray(_query(self.space, self.generation)(query[0]), dtype=np.float32)  # (dimension,)
        if vector.shape != (self.dimension,):
            raise ValueError(f"the query became an array of shape {vector.shape}; this table holds vectors of shape ({self.dimension},)")
        return [vector]

    def compute_query_embeddings_with_retry(self, *query: Any, **named: Any) -> list[Any]:
        """What LanceDB calls. Its own would ask a refusal again, seven times, and hide it in another error."""
        return self.compute_query_embeddings(*query, **named)

    def compute_source_embeddings(self, *_: Any, **__: Any) -> list[Any]:
        """Refused: rows come from the pipeline, which checks them."""
        raise RuntimeError("rows of this table are written by `sensorium embed` only; LanceDB does not embed them on the way in")


def metadata(space: str, generation: str, dimension: int) -> dict[str, str]:
    """The schema metadata that makes LanceDB find `SpaceFunction` again."""
    model: Mapping[str, Any] = {"space": space, "generation": generation, "dimension": dimension}
    function = {"name": NAME, "model": model, "source_column": "uri", "vector_column": "vector"}
    return {"embedding_functions": json.dumps([function], ensure_ascii=False)}


def _query(space: str, generation: str) -> Query:
    """Loaded once per process and generation: LanceDB makes a new `SpaceFunction` for each search."""
    if _loader is None:
        raise RuntimeError(
            f"this table is asked by the encoders of generation {generation}, and this process does not know how to load them: "
            f"`import {PLUGIN}` first, or search with a vector"
        )
    key = (space, generation)
    if key not in _queries:
        _queries[key] = _loader(space, generation)
    return _queries[key]


def _register() -> None:
    for name in _NAMES:
        if name not in get_registry()._functions:
            get_registry().register(name)(SpaceFunction)


_register()
