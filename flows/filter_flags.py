"""The flags by which a command takes a part of a table."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from retrieval.filters import Filter

_DAY = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]

Medium = Annotated[str | None, typer.Option(help="Only objects that are text, image, audio or video.")]
ModalityOf = Annotated[str | None, typer.Option("--modality", help="Only segments encoded as text, image, audio or video.")]
Prefix = Annotated[str | None, typer.Option(help="Only objects whose URI starts with this.")]
After = Annotated[datetime | None, typer.Option(formats=_DAY, help="Only objects changed then or later, UTC.")]
Before = Annotated[datetime | None, typer.Option(formats=_DAY, help="Only objects changed earlier, UTC.")]
Larger = Annotated[int | None, typer.Option(help="Only objects of more bytes.")]
Smaller = Annotated[int | None, typer.Option(help="Only objects of fewer bytes.")]
Metadata = Annotated[Path | None, typer.Option(help='Parquet, CSV, TSV or JSONL with a column "uri" and columns of your own.')]
Where = Annotated[str | None, typer.Option(help="SQL condition on those columns, such as \"price < 20 AND colour = 'red'\".")]


def kept(medium: str | None, modality: str | None, prefix: str | None) -> Filter:
    """What these flags leave; QueryError if there is no such medium or modality."""
    from retrieval.filters import Filter

    return Filter(media=(medium,) if medium else (), modality=modality, prefix=prefix)


def objects(metadata: Path | None, where: str | None) -> frozenset[str] | None:
    """The objects for which a condition on their metadata holds; None without one. QueryError for a condition on nothing."""
    from retrieval.errors import QueryError
    from retrieval.search.metadata import objects_where

    if where is not None and metadata is None:
        raise QueryError("--where is a condition on columns of your own; name their file: --metadata FILE")
    return objects_where(metadata, where) if metadata is not None and where is not None else None
