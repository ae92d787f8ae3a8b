"""How the settings of a run have table files read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from flows.settings import EmbedSettings
from storage.objects import Source
from storage.text_tables import Columns, RowLimits
from tasks.isolate import Workers
from tasks.list_rows import Reading
from tasks.scratch import scratch_folder


def reading(settings: EmbedSettings, source: Source, kept: ExitStack) -> Reading:
    """How the table files of `source` are read; the contents of their rows stay until `kept` is closed."""
    limits = settings.limits

    @contextmanager
    def tools() -> Iterator[tuple[Workers, Path]]:
        scratch = kept.enter_context(scratch_folder(settings.scratch))
        with Workers(1, seconds=limits.seconds, memory=limits.memory) as workers:
            yield workers, scratch

    columns = Columns(**settings.tables.model_dump())
    return Reading(source, columns, RowLimits(limits.rows, limits.row_characters, limits.bytes), tools)
