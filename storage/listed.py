"""Some objects of a source as a source of their own: a run over it lists, embeds and deletes nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from storage.looks import Look
from storage.objects import Source
from storage.schema import LISTING


class ListedSource:
    """Objects of a source that was listed already.

    Parameters
    ----------
    source : where they are fetched from.
    listing : their rows of its listing, with the columns of `storage.schema.LISTING`.
    """

    def __init__(self, source: Source, listing: pl.DataFrame) -> None:
        self.root = source.root
        self._source = source
        self._listing = listing

    def check(self) -> None:
        """As the source's own."""
        self._source.check()

    def listing(self) -> Iterator[pa.RecordBatch]:
        """These objects, as they were when the source was listed."""
        yield from self._listing.select(LISTING.names).to_arrow().cast(LISTING).to_batches()

    def fetch(self, uri: str, folder: Path, limit: int) -> Path:
        """As the source's own."""
        return self._source.fetch(uri, folder, limit)

    def look(self, uri: str) -> Look:
        """As the source's own."""
        return self._source.look(uri)

    def part(self, uri: str, start: int, stop: int) -> Iterator[bytes]:
        """As the source's own."""
        return self._source.part(uri, start, stop)
