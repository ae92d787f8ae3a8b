"""Commit: the only place that changes tables. Gathers staged shards, makes them one version, and reads it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic

import polars as pl
import pyarrow as pa
from lancedb.db import DBConnection
from lancedb.table import Table

from storage import batches, quarantine, table
from tasks.encode import Staged
from tasks.memory import give_back
from tasks.plan import shards
from tasks.prepare import reading
from tasks.prepare_object import discard
from tasks.segments import Failure

ROWS = 20_000  # a commit takes about the same time whatever its size: small ones are gathered …
SECONDS = 15.0  # … but never longer than this, so that a kill costs little
OBJECTS = 2_000  # objects that a single replacing commit names
ROW_BYTES = 8 << 20  # of texts that are copied at once


@dataclass
class Committer:
    """The one committer of a table.

    Parameters
    ----------
    db, name, table : where rows go.
    source : root of the source, for copied rows.
    run : name of the run, recorded in each version's properties.
    generation : recorded with failures.
    quarantined : URIs in quarantine now, kept current.
    """

    db: DBConnection
    name: str
    table: Table
    source: str
    run: str
    generation: str
    quarantined: set[str]
    waiting: list[Staged] = field(default_factory=list)
    twins: list[pl.DataFrame] = field(default_factory=list)
    commits: int = 0
    embedded: int = 0
    segments: int = 0
    encoded: int = 0
    reused: int = 0
    deleted: int = 0
    failures: list[dict[str, object]] = field(default_factory=list)
    seconds: float = 0.0
    _last: float = field(default_factory=monotonic)

    def add(self, staged: Staged) -> bool:
        """Take a staged shard; True when it is time to `commit`."""
        self.waiting.append(staged)
        rows = sum(sum(s.segments.values()) for s in self.waiting)
        objects = sum(len(s.shard) for s in self.waiting)
        return rows >= ROWS or objects >= OBJECTS or monotonic() - self._last >= SECONDS

    def commit(self) -> int:
        """Make everything that waits one version of the table; its number, or the present one when there was nothing to write."""
        began = monotonic()
        give_back()
        staged, self.waiting = self.waiting, []
        good = [uri for s in staged for uri in _uris(s, s.segments)]
        failed = _failure_frame(staged)
        stale = [uri for s in staged for uri in _uris(s, [f.index for f in s.failures], known=True)]
        if good or stale:
            rows = (lambda: _read(staged, self.table.schema)) if good else None
            shards = ",".join(s.shard.name for s in staged)
            table.commit(self.table, [*good, *stale], rows, properties={"sensorium.run": self.run, "sensorium.shards": shards})
            self.commits += 1
        self._settle_quarantine(good, failed)
        self._remember_twins(staged)
        self.embedded += len(good)
        self.segments += sum(sum(s.segments.values()) for s in staged)
        self.encoded += sum(s.encoded for s in staged)
        for s in staged:
            discard(s.path)
        self._last = monotonic()
        self.seconds += self._last - began
        return int(self.table.version)

    def copy_vectors(self, version: int) -> pl.DataFrame:
        """Give objects of known content the vectors of that content; return those whose content is not in the table after all.

        Parameters
        ----------
        version : the table's version at the start of the run, whose vectors are also looked at: this run may have replaced them since.
        """
        began = monotonic()
        missing: list[pl.DataFrame] = []
        if not self.twins:
            return pl.DataFrame()
        todo, self.twins = pl.concat(self.twins), []
        for part in _slices(todo):
            missing.append(self._copy(part, version))
        self.seconds += monotonic() - began
        return pl.concat(missing)

    def delete(self, uris: Sequence[str], released: Sequence[str]) -> None:
        """Remove the rows of objects that have left the source, and what is recorded against them."""
        began = monotonic()
        for first in range(0, len(uris), OBJECTS):
            part = list(uris[first : first + OBJECTS])
            table.commit(self.table, part, None, properties={"sensorium.run": self.run, "sensorium.deleted": str(len(part))})
            self.commits += 1
            self.deleted += len(part)
        if gone := [uri for uri in {*uris, *released} if uri in self.quarantined]:
            quarantine.release(self.db, self.name, gone)
            self.quarantined.difference_update(gone)
        self.seconds += monotonic() - began

    def _copy(self, part: pl.DataFrame, version: int) -> pl.DataFrame:
        hashes = part.get_column("content_hash").unique().to_list()
        donors = _Donors(table.rows_with_content(self.table, version, hashes).read_all())
        if lacking := [h for h, uri in part.select("content_hash", "uri").iter_rows() if not donors.has(uri, h)]:
            donors.add(table.rows_with_content(self.table, int(self.table.version), lacking).read_all())
        has = [donors.has(uri, h) for uri, h in part.select("uri", "content_hash").iter_rows()]
        found, missing = part.filter(has), part.filter([not h for h in has])
        if not found.is_empty():
            rows = donors.copy(found, self.table.schema, self.source, self.run)
            uris = found.get_column("uri").to_list()
            properties = {"sensorium.run": self.run, "sensorium.copied": str(found.height)}
            table.commit(self.table, uris, rows.to_reader, properties=properties)
            self._settle_quarantine(uris, pl.DataFrame())
            self.commits += 1
            self.embedded += found.height
            self.reused += found.height
            self.segments += rows.num_rows
        return missing

    def _settle_quarantine(self, good: Sequence[str], failed: pl.DataFrame) -> None:
        if not failed.is_empty():
            quarantine.record(self.db, self.name, failed, self.generation)
            self.quarantined.update(failed.get_column("uri"))
            self.failures.extend(failed.select("uri", "stage", "reason", "error").to_dicts())
        if healed := [uri for uri in good if uri in self.quarantined]:
            quarantine.release(self.db, self.name, healed)
            self.quarantined.difference_update(healed)

    def _remember_twins(self, staged: Sequence[Staged]) -> None:
        for s in staged:
            if s.twins:
                hashes = pl.Series("content_hash", [s.hashes[i] for i in s.twins])
                self.twins.append(s.shard.objects[list(s.twins)].with_columns(hashes))


def _uris(staged: Staged, indices: object, *, known: bool = False) -> list[str]:
    objects = staged.shard.objects[sorted(indices)]  # type: ignore[call-overload]
    return list(objects.filter("known").get_column("uri") if known else objects.get_column("uri"))


def _failure_frame(staged: Sequence[Staged]) -> pl.DataFrame:
    frames = []
    for s in staged:
        if s.failures:
            rows = s.shard.objects[[f.index for f in s.failures]].select("uri", "etag", "size")
            frames.append(rows.with_columns(_told(s.failures)))
    return pl.concat(frames) if frames else pl.DataFrame()


def _told(failures: Sequence[Failure]) -> list[pl.Series | pl.Expr]:
    passing = pl.Series([f.retryable for f in failures])
    return [
        pl.Series("stage", [f.stage for f in failures]),
        pl.Series("reason", [f.reason for f in failures]),
        pl.Series("error", [f.error for f in failures]),
        # What passes by itself is tried again by the next run: its diff sees a size that no object has.
        pl.when(passing).then(quarantine.RETRY_SIZE).otherwise(pl.col("size")).alias("size"),
    ]


def _read(staged: Sequence[Staged], schema: pa.Schema) -> pa.RecordBatchReader:
    return batches.chain(schema, (batches.without(batches.read_stream(s.path), _uris(s, {f.index for f in s.failures})) for s in staged))


def _slices(twins: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """As many objects as one commit copies: how many segments a row of a table file has, its size says; a sound may have thousands."""
    is_row = pl.col("place").is_not_null()
    yield from (shard.objects for shard in shards(twins.filter(is_row), OBJECTS, ROW_BYTES))
    yield from twins.filter(~is_row).iter_slices(OBJECTS // 8)


def _renamed(rows: pa.Table, about: pa.Table) -> pa.Table:
    """The rows with what `about` says of each of them in place of what they say of themselves."""
    for name in about.column_names:
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), about.column(name).cast(rows.schema.field(at).type))
    return rows


class _Donors:
    """Rows of the table to copy vectors from: per content, those of one object."""

    def __init__(self, rows: pa.Table) -> None:
        self._tables = [rows]
        self._rows: dict[tuple[str, str], tuple[int, list[int]]] = {}
        self._index(0)

    def add(self, rows: pa.Table) -> None:
        """Look here too for contents that the rows so far lack."""
        self._tables.append(rows)
        self._index(len(self._tables) - 1)

    def has(self, uri: str, content_hash: str) -> bool:
        """Whether there are vectors for this content as this name has it read."""
        return (content_hash, reading(uri)) in self._rows

    def copy(self, objects: pl.DataFrame, schema: pa.Schema, source: str, run: str) -> pa.Table:
        """Rows of `objects` (uri, etag, size, modified, content_hash) with the donors' segments and vectors."""
        about = objects.select("uri", "etag", "size", "modified").to_arrow()
        taken: list[list[int]] = [[] for _ in self._tables]
        owners: list[list[int]] = [[] for _ in self._tables]
        for number, (uri, content_hash) in enumerate(objects.select("uri", "content_hash").iter_rows()):
            which, rows_of_donor = self._rows[content_hash, reading(uri)]
            taken[which] += rows_of_donor
            owners[which] += [number] * len(rows_of_donor)
        parts = [_renamed(table.take(rows), about.take(of)) for table, rows, of in zip(self._tables, taken, owners, strict=True) if rows]
        rows = pa.concat_tables(parts).combine_chunks()  # the engine writes many small batches a hundred times slower than one
        for name, value in {"source": source, "run": run, "embedded_at": datetime.now(UTC)}.items():
            field_ = schema.field(name)
            column = pa.repeat(pa.scalar(value, field_.type), rows.num_rows)
            rows = rows.set_column(rows.schema.get_field_index(name), field_, column)
        return rows.select(schema.names).cast(schema)

    def _index(self, which: int) -> None:
        rows = self._tables[which]
        donor: dict[tuple[str, str], str] = {}
        for number, (uri, content_hash) in enumerate(
            zip(rows.column("uri").to_pylist(), rows.column("content_hash").to_pylist(), strict=True)
        ):
            key = (content_hash, reading(uri))
            if key in self._rows and self._rows[key][0] != which:
                continue
            if donor.setdefault(key, uri) == uri:
                self._rows.setdefault(key, (which, []))[1].append(number)
