"""Columns that a table gets beside the pipeline's own, such as labels: one value an object, written and read back in exactly one version.

A column of ours says so in its field's metadata; no other column is ever overwritten. Objects that are new or have changed since have null
there (see `storage.batches.widened`), and a copy takes its donor's values along with its vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import lance
import polars as pl
import pyarrow as pa
from lance.commit import CommitConflictError
from lance.fragment import FragmentMetadata
from lancedb.table import Table

from storage import schema
from storage.errors import TableError
from storage.faults import told
from storage.replace import ATTEMPTS, latest, scan
from storage.table import publish, published_version

MAKER = schema.ADDED.decode()


class Written(NamedTuple):
    """What `write` did.

    Parameters
    ----------
    version : that holds the values; the latest one where there was nothing to write.
    published : whether readers see that version.
    objects : that have the values now.
    changed : objects that have vanished or changed since their values were made, and got none.
    """

    version: int
    published: bool
    objects: int
    changed: int


def refuse_names(held: pa.Schema, columns: Sequence[pa.Field], maker: str) -> None:
    """TableError "refused" unless each column may be made, or is there already, of the same type and by the same maker."""
    own = {name.lower() for name in schema.rows(1).names}
    for column in columns:
        name = column.name
        if not name.isidentifier() or name.startswith("_"):
            raise TableError("refused", f"{name!r} cannot name a column; use letters, digits and _, and begin with a letter")
        if name.lower() in own:
            raise TableError(
                "refused", f"{name!r} is a column of the pipeline's own; choose another name than {', '.join(schema.rows(1).names)}"
            )
        same = [there for there in held.names if there.lower() == name.lower()]
        if same and not _is_ours(held.field(same[0]), column, maker):
            raise TableError(
                "refused", f"the table has a column {same[0]!r} already, which `sensorium {maker}` did not make so; choose another name"
            )


def write(table: Table, values: pl.DataFrame, maker: str) -> Written:
    """Give objects values in columns that are made, or updated where `maker` made them before; all in one version, then read back.

    Parameters
    ----------
    values : uri, content_hash, and the columns to write; one line an object. An object whose content is no longer this one is left alone.
        Objects that are not named keep what they have: null in a new column.
    maker : the command that writes, remembered with each column: only it may write there again.

    Readers are moved along if the latest version was the published one.

    Raises
    ------
    TableError : "refused" for a name that is not free, "conflict" and "read back" as `storage.replace.replace`.
    """
    names = [name for name in values.columns if name not in ("uri", "content_hash")]
    fields = [pa.field(field.name, _plain(field.type), metadata={MAKER: maker}) for field in values.select(names).to_arrow().schema]
    with told(f"writing columns of table {table.name!r}"):
        for _ in range(ATTEMPTS):
            dataset = latest(table)
            refuse_names(dataset.schema, fields, maker)
            before = int(dataset.version)
            sent = _present(dataset, values)
            rows = sent.select("uri", *names).to_arrow().cast(pa.schema([pa.field("uri", pa.string()), *fields]))
            new = [field for field in fields if field.name not in dataset.schema.names]
            if not rows.num_rows:
                return Written(before, published_version(table) == before, 0, values.height)
            try:
                dataset = _commit(dataset, rows, new, maker)
            except CommitConflictError:
                continue
            latest(table)
            _compare(dataset, rows, table.name)
            version, moves = int(dataset.version), published_version(table) == before
            if moves:
                publish(table, version)
            return Written(version, moves, sent.height, values.height - sent.height)
    raise TableError("conflict", f"another writer changed table {table.name!r} {ATTEMPTS} times in a row; stop it and run again")


def _commit(dataset: lance.LanceDataset, rows: pa.Table, new: Sequence[pa.Field], maker: str) -> lance.LanceDataset:
    """New columns are joined to every fragment; of columns that are there, the objects' values are replaced."""
    if 0 < len(new) < rows.num_columns - 1:
        names = ", ".join(field.name for field in new)
        raise TableError("refused", f"the table has some of the columns, and not {names}; choose another name")
    operation = _added(dataset, rows) if new else _updated(dataset, rows)
    properties = {MAKER: maker, f"{MAKER}s": ",".join(rows.column_names[1:])}
    transaction = lance.Transaction(read_version=dataset.version, operation=operation, transaction_properties=properties)
    return lance.LanceDataset.commit(dataset, transaction)


def _added(dataset: lance.LanceDataset, rows: pa.Table) -> lance.LanceOperation.BaseOperation:
    fragments: list[FragmentMetadata] = []
    columns = None
    for fragment in dataset.get_fragments():
        made, columns = fragment.merge(rows, "uri")
        fragments.append(made)
    return lance.LanceOperation.Merge(fragments, columns, preserves_nullability=True)


def _updated(dataset: lance.LanceDataset, rows: pa.Table) -> lance.LanceOperation.BaseOperation:
    fragments: list[FragmentMetadata] = []
    modified: set[int] = set()
    for fragment in dataset.get_fragments():
        made, fields = fragment.update_columns(rows, "uri")
        fragments.append(made)
        modified.update(fields)
    return lance.LanceOperation.Update([], fragments, [], fields_modified=sorted(modified), update_mode="rewrite_columns")


def _present(dataset: lance.LanceDataset, values: pl.DataFrame) -> pl.DataFrame:
    """The values whose object stands there with the same content, one line an object."""
    there = [pl.DataFrame(batch) for batch in scan(dataset, ["uri", "content_hash"], "segment = 0").to_batches()]
    empty = pl.DataFrame(schema={"uri": pl.String, "content_hash": pl.String})
    return values.join(pl.concat([empty, *there]), on=["uri", "content_hash"], how="semi")


def _compare(dataset: lance.LanceDataset, rows: pa.Table, name: str) -> None:
    """TableError "read back" unless every row of these objects has the values that were sent."""
    sent = pl.DataFrame(rows)
    found = [pl.DataFrame(batch) for batch in scan(dataset, rows.column_names).to_batches()]
    held = pl.concat([sent.clear(), *found]).join(sent.select("uri"), on="uri", how="semi").unique()
    if not held.sort("uri").equals(sent.sort("uri")):
        raise TableError("read back", f"table {name!r} does not hold what was written into {', '.join(rows.column_names[1:])}; run again")


def _is_ours(there: pa.Field, wanted: pa.Field, maker: str) -> bool:
    metadata: Mapping[bytes, bytes] = there.metadata or {}
    return there.name == wanted.name and there.type == wanted.type and metadata.get(schema.ADDED) == maker.encode()


def _plain(kind: pa.DataType) -> pa.DataType:
    """Polars' own large types as the table has them."""
    return pa.string() if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else kind
