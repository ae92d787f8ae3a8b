"""`import retrieval.lancedb_plugin`, once per process: plain LanceDB then encodes queries with the generation of the table it asks.

::

    import lancedb
    import retrieval.lancedb_plugin

    table = lancedb.connect("demo/lance").open_table("media")
    table.checkout("live")
    table.search("a dog barks").distance_type("cosine").limit(3).to_list()

A query is words (a string), a `pathlib.Path`, the bytes of a file, or a picture that Pillow has opened. LanceDB asks with one vector: of a
query of several windows (a long sound, a long text, a video) it is their mean, of length one, where `retrieval.query.Searcher` asks with
each and keeps the best.
"""

from __future__ import annotations

from encoders.spec import Space
from retrieval.errors import QueryError
from retrieval.query_encoder import QueryEncoder
from storage import embedding

_moved: dict[str, Space] = {}


def use(space: Space) -> None:
    """Ask tables of this space's generation with it: for weights that lie elsewhere than the tables remember."""
    _moved[space.generation] = space
    embedding.set_loader(load)  # forgets the encoders that were loaded from elsewhere


def load(space: str, generation: str) -> embedding.Query:
    """The encoder of queries for tables of one generation.

    Parameters
    ----------
    space : the JSON that a table remembers.
    generation : of the table's vectors.

    Raises
    ------
    QueryError : the space is of another generation. (Weights that have changed are an EncoderError, raised at the first query.)
    """
    named = _moved.get(generation) or Space.from_json(space)
    if named.generation != generation:
        raise QueryError(
            f"the vectors of this table are of generation {generation}, but the space that it names, {named.name!r}, is of generation "
            f"{named.generation}: they cannot be compared. Give the space of that generation to `retrieval.lancedb_plugin.use`, "
            "or embed into a new table"
        )
    return QueryEncoder(named).embed_whole


embedding.set_loader(load)
