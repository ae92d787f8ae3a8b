"""Everything that can refuse a run over a bucket, before any work."""

from __future__ import annotations

from pathlib import Path

from lancedb.table import Table

from encoders import registry
from encoders.spaces import load_space
from encoders.spec import Space
from flows import secret_blocks
from flows.bucket_run import BucketRun
from flows.settings import EmbedSettings, SettingsError
from storage import table
from storage.objects import Source, open_source
from tasks.plan import RefusedError


def open_run(settings: EmbedSettings, *, only_plan: bool = False, space: Space | None = None, source: Source | None = None) -> BucketRun:
    """Do everything that can refuse a run before any work: space, source, database, generation. Writes nothing.

    Parameters
    ----------
    only_plan : takes a database folder that is not there for an empty database, instead of making it.
    space, source : instead of those that the settings name.

    Raises SettingsError, EncoderError, SourceError, TableError or RefusedError, each one clear message.
    """
    secret_blocks.install()
    space = space or load_space(settings.space)
    if settings.tables.text and "text" not in space.media:
        raise SettingsError(f"tables.text = {settings.tables.text!r}: space {space.name!r} has no texts, only {', '.join(space.media)}")
    source = source or open_source(settings.source)
    source.check()
    if not only_plan:
        for spec in space:
            registry.check(spec)
    nowhere = only_plan and "://" not in settings.database and not Path(settings.database).expanduser().exists()
    db = table.connect("memory://" if nowhere else settings.database)
    existing = table.open_table(db, settings.table)
    if existing is not None:
        refuse_other_generation(existing, space, settings)
    return BucketRun(settings, space, source, db, existing)


def refuse_other_generation(existing: Table, space: Space, settings: EmbedSettings) -> None:
    """A table holds exactly one generation: vectors of two are not comparable."""
    held = table.generation(existing)
    if held != space.generation:
        name = Space.from_json(table.space_json(existing)).name
        raise RefusedError(
            f"table {settings.table!r} of {settings.database} holds space {name!r}, generation {held}; asked was {space.name!r}, "
            f"generation {space.generation}. Vectors of two generations cannot be compared: choose another table with --table"
        )
