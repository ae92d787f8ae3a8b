"""Media of pairs as model inputs, for encoders that learn: prepared as when they are embedded, and kept while training lasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from encoders import hardware
from encoders.spec import Modality, Space
from flows.pair_vectors import PairVectors
from tasks.isolate import Workers
from tasks.pairs import PairsError
from tasks.plan import Shard, shards
from tasks.prepare import Preparation, prepare
from tasks.prepare_object import PrepareObject
from tasks.segments import Item, Ready
from tasks.tower_examples import PreparedInputs

TEXTS = 4096  # prepared into one file


def prepared_inputs(stored: PairVectors, frame: pl.DataFrame, modality: Modality, folder: Path) -> PreparedInputs:
    """Model inputs of what some pairs name in one modality.

    Parameters
    ----------
    frame : rows of a `tasks.split.Split`.
    folder : for prepared files, about as large as the media are when they are decoded and scaled.

    Raises
    ------
    PairsError : a medium cannot be read now that could be read when it was embedded.
    """
    settings, inputs = stored.settings, PreparedInputs()
    space = Space(modality, {modality: stored.specs[modality]})
    limits = settings.limits.of_one_object()
    named = frame.select(uri=modality, content=f"{modality}_content").drop_nulls().unique("content").sort("content")
    with Workers(settings.workers or hardware.cores(), seconds=settings.limits.seconds, memory=settings.limits.memory) as workers:
        if modality == "text":
            for number, texts in enumerate(named.iter_slices(TEXTS)):
                job = PrepareObject(space.to_json(), limits, folder, f"text-{number:04d}")
                _take(inputs, [found for _, found in workers.each(job, _texts(texts))], texts)
        else:
            preparation = Preparation(stored.source, space, limits, workers, None, folder)
            for shard, objects in _shards(stored, modality, named):
                ready = prepare(shard, preparation)
                _take(inputs, [*ready.ready, *ready.failures], objects)
    lost = [uri for uri, content in named.iter_rows() if content not in inputs]
    if lost:
        raise PairsError(f"{len(lost)} {modality} objects cannot be prepared any more, such as {lost[0]}; run again when they are back")
    return inputs


def _texts(frame: pl.DataFrame) -> Iterator[Item]:
    for index, text in enumerate(frame.get_column("uri")):
        yield Item(index, f"captions.parquet#{index}", Path(), text.encode())


def _shards(stored: PairVectors, modality: Modality, named: pl.DataFrame) -> Iterator[tuple[Shard, pl.DataFrame]]:
    """Shards of a modality's objects, each with uri and content in its order."""
    listed = stored.listed().join(named, on="uri", how="inner", maintain_order="right")
    todo = listed.with_columns(medium=pl.lit(modality), place=pl.lit(None, pl.Int64), known=pl.lit(False))
    for shard in shards(todo, 512, 256 << 20):
        yield shard, shard.objects


def _take(inputs: PreparedInputs, results: Sequence[object], objects: pl.DataFrame) -> None:
    """Take in what became ready."""
    contents = objects.get_column("content").to_list()
    ready = [each for each in results if isinstance(each, Ready)]
    for path in dict.fromkeys(part.path for each in ready for part in each.parts):
        inputs.add(path, {each.index: contents[each.index] for each in ready if any(part.path == path for part in each.parts)})
