"""The vector index of a table: whether one is worth it and which, how it is built, and how readers must ask it.

What a reader must know stands in the version itself, in the engine's configuration of the table: it survives commits, merges of fragments
and follow-ups of the index, and a rollback brings back the settings that fit the index of that version.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from lancedb.table import Table

from storage.errors import TableError
from storage.faults import told

SETTINGS = "sensorium.search"


@dataclass(frozen=True)
class SearchSettings:
    """How much of an index a search looks at; without an index neither matters.

    Parameters
    ----------
    nprobes : partitions of the index that are searched, those whose centres are nearest.
    refine : candidates for each row asked for, taken by their coarse vectors, whose true vectors are then compared. Never 0: without it
        the engine's distances of a coarse index are not cosine distances.
    """

    nprobes: int = 20
    refine: int = 10


def search_settings(table: Table) -> SearchSettings:
    """The settings of the version at which `table` stands; the defaults where none were measured."""
    with told(f"reading the search settings of table {table.name!r}"):
        held = table.to_lance().config().get(SETTINGS)
    if held is None:
        return SearchSettings()
    try:
        values = json.loads(held)
        return SearchSettings(int(values["nprobes"]), int(values["refine"]))
    except (ValueError, KeyError, TypeError) as problem:
        raise TableError("not usable", f"table {table.name!r} says {held!r} under {SETTINGS!r}; run `sensorium maintain`") from problem


def keep_settings(table: Table, settings: SearchSettings) -> int:
    """Write settings into a new version of the table, with the same rows; returns the version."""
    with told(f"writing the search settings of table {table.name!r}"):
        table.checkout_latest()  # type: ignore[no-untyped-call]
        table.to_lance().update_config({SETTINGS: json.dumps(asdict(settings))})
        table.checkout_latest()  # type: ignore[no-untyped-call]
        return int(table.version)
