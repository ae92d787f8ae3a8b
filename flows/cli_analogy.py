"""The command `sensorium analogy`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from flows.command import Database, Json, TableName, print_json, refusing


def analogy(
    database: Database,
    a: Annotated[str, typer.Argument(help="Words, a path, or uri:URI of an object of the table.")],
    b: Annotated[str, typer.Argument(help="What belongs to A.")],
    c: Annotated[str, typer.Argument(help="That of which the like is wanted.")],
    table: TableName = "media",
    medium: Annotated[str | None, typer.Option(help="Only objects that are text, image, audio or video.")] = None,
    modality: Annotated[str | None, typer.Option(help="Only segments encoded as text, image, audio or video.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Only objects whose URI starts with this.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most objects.")] = 10,
    as_json: Json = False,
) -> None:
    """Find what is to C as B is to A: the objects nearest to B - A + C."""
    with refusing():
        from flows import secret_blocks
        from flows.display_search import show_hits
        from retrieval.filters import Filter
        from retrieval.query import Searcher
        from retrieval.search.analogy import analogy as found_by
        from retrieval.search.question import thing

        secret_blocks.install()
        keep = Filter(media=(medium,) if medium else (), modality=modality, prefix=prefix)
        hits = found_by(Searcher(database, table), thing(a), thing(b), thing(c), keep=keep, limit=limit)
        print_json([asdict(hit) for hit in hits]) if as_json else show_hits(hits)
