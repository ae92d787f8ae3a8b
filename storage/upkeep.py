"""What keeps a table small and quick between runs: merge small fragments, follow up its indices, drop old versions and what kills left.

Done by the committer alone, between commits: beside a writer, compaction and commits take each other's place.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import lance
import lancedb
from lancedb.table import Table

from storage import quarantine, runs, tables_read
from storage.faults import told
from storage.replace import latest
from storage.table import open_table, publish, published_version

FRAGMENT = 262_144  # rows that make a fragment large: it is not rewritten again until a tenth of it is deleted
SMALL_FRAGMENTS = 8  # merged when there are so many
DELETED = 0.1  # share of a fragment's rows, the engine's own threshold
UNINDEXED = 0.1  # share of the table; an index is merged as a whole, so following up each small commit would cost more than it saves
KEEP = timedelta(days=7)
LEFTOVER = timedelta(days=1)


class Tidied(NamedTuple):
    """What `tidy` did: the version it left, rows newly indexed, fragments merged away, bytes freed."""

    version: int
    indexed: int
    merged: int
    freed: int


def sweep(table: Table, older_than: timedelta = LEFTOVER) -> int:
    """Remove half-written files that killed writers left in a folder; returns the bytes freed.

    The engine's own clean-up never looks at them. An object store has none: there, a lifecycle rule ends unfinished uploads.
    """
    place = table.to_lance().uri
    if "://" in place:
        return 0
    before = time.time() - older_than.total_seconds()
    freed = 0
    with told(f"sweeping the folder of table {table.name!r}"):
        for path in Path(place).rglob(".tmp*"):
            state = path.stat()
            if path.is_file() and state.st_mtime < before:
                path.unlink(missing_ok=True)
                freed += state.st_size
    return freed


def tidy(table: Table, keep: timedelta = KEEP) -> Tidied:
    """Index and merge what has become worth it, then drop versions older than `keep`; with nothing worth it, no version is made.

    The rows stay the same. Readers are moved along if the latest version was the published one, and what is published is never dropped.
    An index that is not there is not made: that is for `sensorium maintain`, which measures what it finds.
    """
    with told(f"tidying table {table.name!r}"):
        before = latest(table).version
        indexed, merged = settle(table)
        if table.version != before and published_version(table) == before:
            publish(table, table.version)
        return Tidied(table.version, indexed, merged, _drop_versions(table, keep))


def settle(table: Table) -> tuple[int, int]:
    """Follow up indices and merge fragments where it is worth it; returns the rows newly indexed and the fragments merged away."""
    with told(f"merging what table {table.name!r} is made of"):
        dataset = latest(table)
        indexed = _follow_up_indices(table, dataset)
        merged = _merge_fragments(dataset)
        latest(table)
        return indexed, merged


def tidy_all(db: lancedb.DBConnection, name: str, keep: timedelta = KEEP) -> dict[str, Tidied]:
    """`sweep` and `tidy` table `name`, its quarantine, its runs and its table files, as far as they exist."""
    tidied = {}
    for each in (name, quarantine.table_name(name), runs.table_name(name), tables_read.table_name(name)):
        table = open_table(db, each)
        if table is not None:
            swept = sweep(table)
            done = tidy(table, keep)
            tidied[each] = done._replace(freed=done.freed + swept)
    return tidied


def _follow_up_indices(table: Table, dataset: lance.LanceDataset) -> int:
    """Before merging: fragments that an index covers and those it does not are never merged with each other."""
    rows = table.count_rows()
    behind = {}
    for index in table.list_indices():
        stats = table.index_stats(index.name)
        if stats is not None and stats.num_unindexed_rows > UNINDEXED * rows:
            behind[index.name] = stats.num_unindexed_rows
    if behind:
        dataset.optimize.optimize_indices(index_names=list(behind))
    return max(behind.values(), default=0)


def _merge_fragments(dataset: lance.LanceDataset) -> int:
    fragments = [fragment.metadata for fragment in dataset.get_fragments()]
    small = sum(fragment.num_rows < FRAGMENT for fragment in fragments)
    hollow = any(fragment.num_deletions > DELETED * fragment.physical_rows for fragment in fragments)
    if small < SMALL_FRAGMENTS and not hollow:
        return 0
    return int(dataset.optimize.compact_files(target_rows_per_fragment=FRAGMENT).fragments_removed)


def _drop_versions(table: Table, keep: timedelta) -> int:
    """`optimize(cleanup_older_than=…)` raises as soon as a tag stands on an old version; this leaves tagged versions and goes on."""
    oldest = min(version["timestamp"] for version in table.list_versions())
    if oldest.astimezone(UTC) > datetime.now(UTC) - keep:
        return 0
    return int(table.to_lance().cleanup_old_versions(older_than=keep, error_if_tagged_old_versions=False).bytes_removed)
