"""Train heads on vectors that stand in tables: one side of the pairs at a time, so that no side is read before its turn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from lancedb.table import Table

from encoders.align import sampling
from encoders.align.frozen import FrozenVectors, OnVectors
from encoders.align.heads import Head, Kind
from encoders.align.objective import Objective
from encoders.align.training import History, Options, Step, train
from encoders.spec import MODALITIES, Modality
from storage import batches
from storage.faults import told
from storage.replace import scan
from storage.table import literal

AT_ONCE = 4096  # vectors that go through a head together, outside of training


def read_side(frame: pl.DataFrame, tables: Mapping[Modality, Table], most: int = 0) -> FrozenVectors:
    """Vectors and ids of the rows of one side of a `tasks.split.Split`; of the tables nothing else is kept.

    Rows are sorted by content, so that neither their order in the file nor what the files are called changes anything.

    Parameters
    ----------
    tables : by modality, the table that holds its vectors.
    most : rows that are taken at most, evenly spread over all; 0 for all.
    """
    items, ids = items_of(frame, tuple(tables), most)
    vectors = {modality: read_vectors(table, modality, items[modality]) for modality, table in tables.items()}
    return FrozenVectors(vectors, ids)


def items_of(
    frame: pl.DataFrame, modalities: Sequence[Modality], most: int = 0
) -> tuple[dict[Modality, list[str]], dict[Modality, np.ndarray]]:
    """Different contents of each modality, sorted; and which of them each row has, -1 where it has none. Arguments as in `read_side`."""
    columns = {modality: f"{modality}_content" for modality in MODALITIES if modality in modalities}
    frame = frame.sort([*reversed(columns.values())], nulls_last=True)  # media before texts
    if 0 < most < frame.height:
        frame = frame[np.linspace(0, frame.height - 1, most).round().astype(np.int64)]
    items, ids = {}, {}
    for modality, name in columns.items():
        column = frame.get_column(name)
        distinct = column.drop_nulls().unique().sort()
        numbers = column.replace_strict(distinct, pl.int_range(len(distinct), eager=True), default=-1, return_dtype=pl.Int64)
        items[modality], ids[modality] = distinct.to_list(), numbers.fill_null(-1).to_numpy()
    return items, ids


def read_vectors(table: Table, modality: Modality, contents: Sequence[str]) -> np.ndarray:
    """One unit vector for each content, float16 (contents, d): the mean direction of its segments."""
    dimension = table.schema.field("vector").type.list_size
    sums = np.zeros((len(contents), dimension), np.float32)
    places = pl.Series(contents, dtype=pl.String)
    with told(f"reading table {table.name!r}"):
        for batch in scan(table.to_lance(), ["content_hash", "vector"], f"modality = {literal(modality)}").to_batches():
            hashes = pl.Series(batch.column("content_hash"), dtype=pl.String)
            found = hashes.replace_strict(places, pl.int_range(len(places), eager=True), default=-1, return_dtype=pl.Int64).to_numpy()
            mine = found >= 0
            if mine.any():
                np.add.at(sums, found[mine], batches.vectors(batch)[mine].astype(np.float32))
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    if not (lengths > 0).all():
        lost = contents[int(np.flatnonzero(~(lengths[:, 0] > 0))[0])]
        raise ValueError(f"table {table.name!r} has no {modality} vector of content {lost}, or vectors that cancel each other out")
    vectors: np.ndarray = (sums / lengths).astype(np.float16)
    return vectors


def make_heads(
    dimensions: Mapping[Modality, int], dimension: int, kind: Kind, hidden: int, keep: Collection[Modality], seed: int
) -> dict[Modality, Head]:
    """A head for each modality, by its encoder's dimension: drawn from the seed, or the identity where vectors are kept."""
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return {
            m: Head("identity", size, dimension) if m in keep else Head(kind, size, dimension, hidden) for m, size in dimensions.items()
        }


def train_heads(
    heads: Mapping[Modality, Head],
    side: FrozenVectors,
    objective: Objective,
    options: Options,
    *,
    folder: Path,
    validate: Callable[[], Mapping[str, float]],
    note: Callable[[Step], None],
    hard_negatives: int = 0,
) -> History:
    """Train heads in place, as `encoders.align.training.train` does.

    Parameters
    ----------
    hard_negatives : so many for each row and pair of modalities, mined from the vectors as trained without them, in a second training that
        goes on from there.
    """
    towers = {modality: OnVectors(head) for modality, head in heads.items()}
    history = train(towers, objective, side, options, folder=folder, validate=validate, note=note)
    if not hard_negatives:
        return history
    negatives = _mined(headed(heads, side.vectors), side.ids, hard_negatives)
    return train(towers, objective, side, options, folder=folder / "hard", validate=validate, note=note, negatives=negatives)


def headed(heads: Mapping[Modality, Head], vectors: Mapping[Modality, np.ndarray]) -> dict[Modality, np.ndarray]:
    """Vectors after their heads, float32 (items, dimension)."""
    mapped = {}
    for modality, head in heads.items():
        device = next((parameter.device for parameter in head.parameters()), torch.device("cpu"))
        training, parts = head.training, []
        head.eval()
        with torch.inference_mode():
            for low in range(0, len(vectors[modality]), AT_ONCE):
                some = torch.from_numpy(vectors[modality][low : low + AT_ONCE].astype(np.float32)).to(device)
                parts.append(head(some).cpu().numpy())
        head.train(training)
        mapped[modality] = np.concatenate(parts) if parts else np.zeros((0, head.form.dimension), np.float32)
    return mapped


def _mined(vectors: Mapping[Modality, np.ndarray], ids: Mapping[Modality, np.ndarray], count: int) -> dict[Modality, np.ndarray]:
    """For each modality b, rows whose items of b are near and wrong, asked from each other modality."""
    found = {}
    for b in vectors:
        asked = [a for a in vectors if a != b and ((ids[a] >= 0) & (ids[b] >= 0)).any()]
        if asked:
            found[b] = np.concatenate([sampling.mine(vectors[a], vectors[b], ids[a], ids[b], count) for a in asked], axis=1)
    return found
