"""Make the rows of some keys what a stream says, in exactly one version of a LanceDB table.

LanceDB's `delete` then `add` shows a table without the objects in between, and its one-version `merge_insert` holds the whole table in
memory. Here the engine's own transaction is used: new rows are written as fragments nobody sees yet, old rows are struck out by their
addresses, and one commit makes both visible. Rows are found by reading the key column (50 ms for a million keys), not by SQL: no quoting,
no limit on the number of keys, and no index that could be behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import lance
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from lance.commit import CommitConflictError
from lance.fragment import FragmentMetadata, write_fragments
from lancedb.table import Table

from storage.batches import widened
from storage.errors import TableError
from storage.evidence import Evidence, same
from storage.faults import told

Rows = Callable[[], pa.RecordBatchReader]
"""Makes a stream of rows, from its beginning, each time it is called."""

ATTEMPTS = 5
BATCH = 8192  # rows of a narrow scan in one batch: no slower than more, and half a megabyte
CACHE = 8 << 20  # bytes of columns collected before a page is written; the engine's default took 90 MB more for long objects
AHEAD = 4  # batches and fragments read ahead; the engine's own default grows with the table's fragments


def replace(
    table: Table,
    keys: Sequence[str],
    rows: Rows | None,
    *,
    identity: Sequence[str],
    also: Sequence[str] = (),
    check: Callable[[pl.DataFrame], None] | None = None,
    properties: Mapping[str, str] | None = None,
) -> int:
    """Make all rows of `keys` what `rows` gives, in one version, and read them back.

    Parameters
    ----------
    keys : values of the first `identity` column; those that `rows` does not give lose their rows. Any number, any characters.
    rows : a stream of the table's schema whose keys all stand in `keys`; `None` only removes.
    identity : the columns that together identify a row, the key first.
    also : further columns that are read back and compared.
    check : looks at the rows sent (`identity` columns, the key as a category) before anything is committed, and raises to refuse them.
    properties : kept in the version's transaction.

    Returns
    -------
    The version that holds the rows. Where there was nothing to add or remove it is the latest one and no version is made.

    Raises
    ------
    TableError
        "refused" for rows that do not fit `keys` or the schema, "conflict" when another writer was faster every time, "read back" when the
        table does not hold what was sent, and what `storage.faults` tells of the engine's errors. Except for "read back" the table is
        unchanged.
    """
    with told(f"committing to table {table.name!r}"):
        dataset = latest(table)
        evidence = Evidence(keys, dataset.schema, identity, also)
        fragments, sent = _write(dataset, rows, evidence)
        _refuse_misfits(sent, evidence)
        if check:
            check(sent)
        committed = _commit(table, keys, identity[0], fragments, properties or {})
        latest(table)
        _compare(sent, _found(committed, evidence), table.name)
        return int(committed.version)


def latest(table: Table) -> lance.LanceDataset:
    """Move `table` to its latest version, as the engine's own object."""
    table.checkout_latest()  # type: ignore[no-untyped-call]
    return table.to_lance()


def scan(
    dataset: lance.LanceDataset, columns: Sequence[str], condition: str | None = None, *, addresses: bool = False
) -> lance.LanceScanner:
    """A scan of narrow columns in flat memory, of the rows for which the SQL `condition` holds."""
    return dataset.scanner(
        columns=list(columns),
        filter=condition,
        with_row_address=addresses,
        batch_size=BATCH,
        batch_readahead=AHEAD,
        fragment_readahead=AHEAD,
    )


def _write(dataset: lance.LanceDataset, rows: Rows | None, evidence: Evidence) -> tuple[list[FragmentMetadata], pl.DataFrame]:
    """The stream as fragments that no version names yet, and the evidence of what went into them."""
    if rows is None:
        return [], evidence.of([])
    reader = _widened(rows(), dataset.schema)
    if not reader.schema.equals(dataset.schema, check_metadata=False):
        raise TableError("refused", f"rows have the columns {_columns(reader.schema)}; the table has {_columns(dataset.schema)}")
    sent: list[pl.DataFrame] = []

    def witnessed() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            sent.append(evidence.of([batch]))
            yield batch

    stream = pa.RecordBatchReader.from_batches(reader.schema, witnessed())
    fragments = write_fragments(stream, dataset, data_cache_bytes=CACHE)
    return fragments, pl.concat([evidence.of([]), *sent])


def _widened(reader: pa.RecordBatchReader, held: pa.Schema) -> pa.RecordBatchReader:
    """The stream with nulls in columns that the table got meanwhile."""
    columns = widened(pa.RecordBatch.from_pylist([], reader.schema), held).schema
    return pa.RecordBatchReader.from_batches(columns, (widened(batch, held) for batch in reader))


def _commit(
    table: Table, keys: Sequence[str], key: str, fragments: list[FragmentMetadata], properties: Mapping[str, str]
) -> lance.LanceDataset:
    """One transaction; done again from the latest version when another writer touched the same fragments meanwhile."""
    for _ in range(ATTEMPTS):
        dataset = latest(table)
        addresses = _addresses(dataset, key, keys)
        if not fragments and not addresses.size:
            return dataset
        transaction = lance.Transaction(
            read_version=dataset.version, operation=_operation(dataset, addresses, fragments), transaction_properties=dict(properties)
        )
        try:
            return lance.LanceDataset.commit(dataset, transaction)
        except CommitConflictError:
            continue
    raise TableError("conflict", f"another writer changed table {table.name!r} {ATTEMPTS} times in a row; stop it and run again")


def _operation(dataset: lance.LanceDataset, addresses: np.ndarray, fragments: list[FragmentMetadata]) -> lance.LanceOperation.BaseOperation:
    if not addresses.size:
        return lance.LanceOperation.Append(fragments)
    homes, offsets = addresses >> np.uint64(32), addresses & np.uint64(0xFFFF_FFFF)
    removed, updated = [], []
    for home in np.unique(homes).tolist():
        fragment = dataset.get_fragment(home)
        left = fragment.delete_rows(offsets[homes == home].tolist()) if fragment else None
        if left is None:  # no row is left
            removed.append(home)
        else:
            updated.append(left)
    return lance.LanceOperation.Update(removed, updated, fragments, fields_modified=[])


def _addresses(dataset: lance.LanceDataset, key: str, keys: Sequence[str]) -> np.ndarray:
    """Addresses of the rows of `keys`: uint64, fragment in the upper half, offset in the lower."""
    wanted = pa.array(keys, pa.string())
    found = [np.empty(0, np.uint64)]
    for batch in scan(dataset, [key], addresses=True).to_batches():
        found.append(batch["_rowaddr"].filter(pc.is_in(batch[key], value_set=wanted)).to_numpy())
    return np.concatenate(found)


def _found(dataset: lance.LanceDataset, evidence: Evidence) -> pl.DataFrame:
    return evidence.of(batch.filter(evidence.named(batch)) for batch in scan(dataset, evidence.columns).to_batches())


def _refuse_misfits(sent: pl.DataFrame, evidence: Evidence) -> None:
    if evidence.strangers:
        strange = sent[:, 0].null_count()
        raise TableError("refused", f"{strange} rows belong to keys that were not named, the first to {min(evidence.strangers)!r}")
    doubles = evidence.doubles(sent)
    if doubles.height:
        names = " and ".join(evidence.identity)
        raise TableError("refused", f"{doubles.height} rows share their {names}, the first with {doubles[0, 0]!r}")


def _compare(sent: pl.DataFrame, found: pl.DataFrame, name: str) -> None:
    if same(sent, found):
        return
    keys = [frame[:, 0].n_unique() for frame in (sent, found)]
    counts = f"{sent.height} rows of {keys[0]} keys were sent, {found.height} of {keys[1]} are there"
    raise TableError("read back", f"table {name!r} does not hold what was committed: {counts}; is another writer at work? Run again")


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
