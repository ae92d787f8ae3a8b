"""The command `sensorium analogy`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing
from flows.filter_flags import Medium, ModalityOf, Prefix, kept


def analogy(
    database: Database,
    a: Annotated[str, typer.Argument(help="Words, a path, or uri:URI of an object of the table.")],
    b: Annotated[str, typer.Argument(help="What belongs to A.")],
    c: Annotated[str, typer.Argument(help="That of which the like is wanted.")],
    table: TableName = "media",
    medium: Medium = None,
    modality: ModalityOf = None,
    prefix: Prefix = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most objects.")] = 10,
    as_json: Json = False,
) -> None:
    """Find what is to C as B is to A: the objects nearest to B - A + C."""
    with refusing():
        from flows import secret_blocks
        from flows.display_search import show_hits
        from retrieval.query import Searcher
        from retrieval.search.analogy import analogy as found_by
        from retrieval.search.question import thing

        secret_blocks.install()
        keep = kept(medium, modality, prefix)
        hits = found_by(Searcher(database, table), thing(a), thing(b), thing(c), keep=keep, limit=limit)
        print_json([asdict(hit) for hit in hits]) if as_json else show_hits(hits)
