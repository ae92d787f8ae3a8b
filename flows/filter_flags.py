"""The flags by which a command takes a part of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from retrieval.filters import Filter

Medium = Annotated[str | None, typer.Option(help="Only objects that are text, image, audio or video.")]
ModalityOf = Annotated[str | None, typer.Option("--modality", help="Only segments encoded as text, image, audio or video.")]
Prefix = Annotated[str | None, typer.Option(help="Only objects whose URI starts with this.")]


def kept(medium: str | None, modality: str | None, prefix: str | None) -> Filter:
    """What these flags leave; QueryError if there is no such medium or modality."""
    from encoders.spec import MODALITIES
    from retrieval.errors import QueryError
    from retrieval.filters import Filter

    for what, given in (("medium", medium), ("modality", modality)):
        if given is not None and given not in MODALITIES:
            raise QueryError(f"there is no {what} {given!r}; allowed are {', '.join(MODALITIES)}")
    return Filter(media=(medium,) if medium else (), modality=modality, prefix=prefix)
