"""The table of one space and generation: made, opened, asked what it holds, changed object by object, published."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import lance
import lancedb
import polars as pl
import pyarrow as pa
from lancedb.index import FTS
from lancedb.table import Table

from storage import embedding, schema
from storage.batches import widened
from storage.errors import TableError
from storage.faults import told
from storage.replace import Rows, latest, replace, scan

SPACE = b"sensorium.space"
GENERATION = b"sensorium.generation"
LIVE = "live"
SAME_ROWS = "sensorium.same_rows"
PRESENT = ("uri", "etag", "size", "modified", "content_hash", "medium")
COUNTED = ["medium", "modality"]


def connect(database: str, *, must_exist: bool = False) -> lancedb.DBConnection:
    """A folder or an object store's prefix (`s3://bucket/prefix`, `gs://`, `az://`) as a LanceDB database.

    Credentials and endpoint come from the environment alone. `must_exist` refuses a folder that is not there instead of making it.
    """
    if must_exist and "://" not in database and not Path(database).is_dir():
        raise TableError("no database", f"there is no folder {database!r}; name the database that `sensorium embed SOURCE DATABASE` made")
    with told(f"opening database {database!r}"):
        db = lancedb.connect(database)
        db.list_tables(limit=1)  # an object store is first asked here
    return db


def create(db: lancedb.DBConnection, name: str, space_json: str, generation: str, dimension: int) -> Table:
    """A new table for the vectors of one space, with its full-text index.

    A table of the same generation that is there already is opened instead, so that a run killed here can be run again.
    """
    metadata = {SPACE.decode(): space_json, GENERATION.decode(): generation, **embedding.metadata(space_json, generation, dimension)}
    table = open_table(db, name)
    if table is None:
        with told(f"creating table {name!r}"):
            table = db.create_table(name, schema=schema.rows(dimension).with_metadata(metadata))
    held = _metadata(table, GENERATION)
    if held != generation:
        raise TableError("another generation", f"table {name!r} holds generation {held}, not {generation}; choose another name")
    index_text(table)
    return table


def open_table(db: lancedb.DBConnection, name: str) -> Table | None:
    """The table at its latest version, or `None` where there is none (also where its creation was cut off)."""
    with told(f"opening table {name!r}"):
        try:
            return db.open_table(name)
        except ValueError as error:
            if "was not found" in str(error):
                return None
            raise


def open_beside(db: lancedb.DBConnection, name: str, schema: pa.Schema) -> Table:
    """A table of other things than vectors (quarantine, runs, table files read), made if it is not there."""
    table = open_table(db, name)  # never `or`: a table without rows is false
    if table is not None:
        return table
    with told(f"creating table {name!r}"):
        return db.create_table(name, schema=schema)


def index_text(table: Table) -> None:
    """Full text over chunks and captions, once per table: Chinese is found, and no language's stop words are lost."""
    with told(f"indexing the text of table {table.name!r}"):
        if not any(index.columns == ["text"] for index in table.list_indices()):
            table.create_index("text", config=FTS(base_tokenizer="icu", remove_stop_words=False))


def space_json(table: Table) -> str:
    """The space that filled the table, as `Space.to_json` wrote it."""
    return _metadata(table, SPACE)


def generation(table: Table) -> str:
    """The generation of all vectors in the table."""
    return _metadata(table, GENERATION)


def present(table: Table, root: str) -> pl.DataFrame:
    """What the table holds of a source, one row per object: uri, etag, size, modified, content_hash, medium.

    `root` is the source: the object of that URI and all below it. Reads narrow columns of each object's first segment.
    """
    with told(f"reading table {table.name!r}"):
        scanner = scan(table.to_lance(), PRESENT, f"segment = 0 AND {under(root)}")
        return _frame(scanner.to_batches(), scanner.projected_schema)


def commit(table: Table, uris: Sequence[str], rows: Rows | None, *, properties: Mapping[str, str] | None = None) -> int:
    """Make all rows of the objects `uris` what `rows` gives, in exactly one version; see `storage.replace.replace`.

    New, changed and vanished objects alike: those without rows disappear. Segments of an object must be numbered 0, 1, 2 … without a gap.
    Read back: uri, segment and etag of every row.
    """
    return replace(table, uris, rows, identity=("uri", "segment"), also=("etag",), check=_refuse_gaps, properties=properties)


def rows_with_content(table: Table, version: int, hashes: Sequence[str]) -> pa.RecordBatchReader:
    """All columns of the rows whose `content_hash` is one of `hashes`, as they stood in `version`.

    For objects that were renamed or copied: their vectors are there already.
    """
    with told(f"reading version {version} of table {table.name!r}"):
        dataset = table.to_lance().checkout_version(version)

    def batches() -> Iterator[pa.RecordBatch]:
        for first in range(0, len(hashes), 1000):  # the engine reads the filter in more than linear time
            wanted = ", ".join(literal(value) for value in hashes[first : first + 1000])
            for batch in dataset.scanner(filter=f"content_hash IN ({wanted})", batch_size=4096).to_batches():
                yield widened(batch, held)

    held = widened(pa.RecordBatch.from_pylist([], dataset.schema), table.schema).schema  # the table may have got a column since
    return pa.RecordBatchReader.from_batches(held, batches())


def count(table: Table) -> pl.DataFrame:
    """Rows by medium and modality, sorted by them: columns medium, modality, objects, rows.

    An object is counted once, where its first segment is.
    """
    with told(f"counting table {table.name!r}"):
        scanner = scan(table.to_lance(), [*COUNTED, "segment"])
        parts = [_count(pl.DataFrame(batch)) for batch in scanner.to_batches()]
        empty = pl.DataFrame(schema=dict.fromkeys(COUNTED, pl.String) | {"objects": pl.UInt32, "rows": pl.UInt32})
        return pl.concat([empty, *parts]).group_by(COUNTED).sum().sort(COUNTED)


def published(db: lancedb.DBConnection, name: str) -> Table:
    """The table at the version that readers see: the one the last run published after its checks."""
    table = open_table(db, name)
    if table is None:
        raise TableError("no table", f"{db.uri} has no table {name!r}; make it: sensorium embed SOURCE {db.uri} --table {name}")
    version = published_version(table)
    if version is None:
        raise TableError("nothing published", f"no run has filled table {name!r} and passed its checks yet; run `sensorium embed` again")
    with told(f"opening the published version {version} of table {name!r}"):
        table.checkout(version)
    return table


def publish(table: Table, version: int) -> None:
    """Let readers see `version`, at once and as a whole. An older version rolls back."""
    with told(f"publishing version {version} of table {table.name!r}"):
        if published_version(table) is None:
            table.tags.create(LIVE, version)
        else:
            table.tags.update(LIVE, version)


def published_version(table: Table) -> int | None:
    """The version that readers see; `None` before the first `publish`."""
    with told(f"reading the tags of table {table.name!r}"):
        tag = table.tags.list().get(LIVE)
        return None if tag is None else int(tag["version"])


def same_rows(table: Table, version: int) -> bool:
    """Whether the latest version holds the rows of an older one, and only indices, settings and the division into fragments may differ.

    That is so where both consist of the same files, or where `note_same_rows` said so of just these files; `False` where it cannot be told.
    """
    with told(f"comparing table {table.name!r} with its version {version}"):
        dataset = latest(table)
        digest = _digest(dataset)
        return digest == _digest(dataset.checkout_version(version)) or dataset.config().get(SAME_ROWS) == _same(version, digest)


def note_same_rows(table: Table, version: int) -> None:
    """Write into the latest version that it holds the rows of an older one, for `same_rows`: after a merge of fragments, no file tells it.

    The note names the files it speaks of, so it says nothing of later versions that hold others. Where it is not needed, or stands there
    already, no version is made.
    """
    if not same_rows(table, version):
        with told(f"noting the rows of table {table.name!r}"):
            dataset = latest(table)
            dataset.update_config({SAME_ROWS: _same(version, _digest(dataset))})
            latest(table)


def under(root: str) -> str:
    """SQL that holds for the URI `root` and all that lie below it.

    A range, not LIKE: `%` and `_` mean themselves. "0" is the character after "/".
    """
    above = root.removesuffix("/")
    return f"(uri = {literal(root)} OR (uri >= {literal(above + '/')} AND uri < {literal(above + '0')}))"


def literal(text: str) -> str:
    """`text` as an SQL string; the engine knows no escape but the doubled quote."""
    return "'" + text.replace("'", "''") + "'"


def _metadata(table: Table, key: bytes) -> str:
    value = (table.schema.metadata or {}).get(key)
    if value is None:
        raise TableError("not ours", f"table {table.name!r} says nothing under {key.decode()!r}; it was not made by `sensorium embed`")
    return str(value, "utf-8")


def _same(version: int, digest: str) -> str:
    return json.dumps({"version": version, "files": digest}, sort_keys=True)


def _digest(dataset: lance.LanceDataset) -> str:
    """Of the columns of a version and the files that its rows stand in, with those that strike rows out. No file is ever changed."""
    schema = dataset.schema
    described = [(field.name, str(field.type), field.nullable, _sorted(field.metadata)) for field in schema]
    fragments = [fragment.metadata.to_json() for fragment in dataset.get_fragments()]
    return sha256(json.dumps([described, _sorted(schema.metadata), fragments], sort_keys=True).encode()).hexdigest()


def _sorted(metadata: Mapping[bytes, bytes] | None) -> list[list[str]]:
    return sorted([str(key, "latin-1"), str(value, "latin-1")] for key, value in (metadata or {}).items())


def _refuse_gaps(sent: pl.DataFrame) -> None:
    objects = sent.group_by("uri").agg(n=pl.len(), first=pl.col("segment").min(), last=pl.col("segment").max())
    gaps = objects.filter((pl.col("first") != 0) | (pl.col("last") != pl.col("n").cast(pl.Int64) - 1))
    if gaps.height:
        uri, n, first, last = gaps.row(0)
        raise TableError("refused", f"{uri!r} has {n} segments numbered {first} to {last}; an object is written with all, from 0 on")


def _count(batch: pl.DataFrame) -> pl.DataFrame:
    return batch.group_by(COUNTED).agg(objects=(pl.col("segment") == 0).sum(), rows=pl.len())


def _frame(batches: Iterator[pa.RecordBatch], columns: pa.Schema) -> pl.DataFrame:
    return pl.concat([pl.DataFrame(columns.empty_table()), *(pl.DataFrame(batch) for batch in batches)])
