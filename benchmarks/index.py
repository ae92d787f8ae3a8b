"""What a vector index costs and finds: its build, its recall against exact search, and the time of a search beside one of every row.

    python -m benchmarks.index [--rows 1000000] [--dimension 256] [--recall 0.98] [--bits 2] [--kind IVF_RQ] [--folder DIR]

Rows are unit vectors around 10,000 centres, in directions that differ in strength as those of trained encoders do (the k-th varies by
1/sqrt(k)); a row has a cosine of about 0.74 to 0.93 to its centre. One of ten is a "text": such a row, moved by one and a half to a place
apart from all others, as the modalities of trained spaces are, and by half in a direction of its own.

The index is built by a fresh process, whose memory and CPU time are told. Questions are rows of the table, as in `sensorium maintain`, and
new vectors of the same kinds, which the table does not hold; each is asked alone, in a process that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lancedb.table import Table

from benchmarks import material
from storage import batches, index, recall, schema, table
from storage.index import IndexRules
from storage.recall import Questions
from tasks import maintain
from tasks.maintain import Wanted

CENTRES = 10_000
BATCH = 20_000
NEW = 200  # questions of each kind that the table does not hold
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class World:
    """Where vectors come from.

    Parameters
    ----------
    centres : float32 (10,000, dimension), of length one.
    strength : float32 (dimension,), how much each direction varies.
    turn : float32 (dimension, dimension), a rotation, so that no direction is an axis.
    apart : float32 (dimension,), where texts are.
    """

    centres: np.ndarray
    strength: np.ndarray
    turn: np.ndarray
    apart: np.ndarray

    def vectors(self, count: int, number: int, *, texts: np.ndarray) -> np.ndarray:
        """Float32 (count, dimension); the same for the same number. `texts` (count,) tells which are texts."""
        random = np.random.default_rng([1, number])
        centre = self.centres[random.integers(0, len(self.centres), count)]
        noise = _unit(random.standard_normal((count, len(self.strength)), np.float32) * self.strength)
        spread = random.uniform(0.4, 0.9, (count, 1)).astype(np.float32)
        near = _unit(centre + spread * noise)
        off = 1.5 * self.apart + 0.5 * _unit(random.standard_normal(near.shape, np.float32))
        return _unit(np.where(texts[:, None], near + off, near) @ self.turn)


def world(dimension: int) -> World:
    """The same world for the same dimension."""
    random = np.random.default_rng(0)
    strength = (np.arange(1, dimension + 1) ** -0.5).astype(np.float32)
    turn = np.linalg.qr(random.standard_normal((dimension, dimension)))[0].astype(np.float32)
    centres = _unit(random.standard_normal((CENTRES, dimension), np.float32) * strength)
    return World(centres, strength, turn, _unit(random.standard_normal((1, dimension), np.float32))[0])


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--recall", type=float, default=0.98)
    parser.add_argument("--bits", type=int, default=IndexRules.bits)
    parser.add_argument("--partition", type=int, default=IndexRules.partition)
    parser.add_argument("--kind", choices=(index.RQ, index.SQ), default=index.RQ)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "sensorium-benchmark")
    parser.add_argument("--only-build", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    database = asked.folder / f"index-{asked.rows}-{asked.dimension}"
    wanted = Wanted(asked.recall, IndexRules(bits=asked.bits, partition=asked.partition))
    if asked.only_build:
        print(json.dumps(_built(_open(database), asked.kind, wanted)))
        return
    if not database.exists():
        _write(database, asked.rows, asked.dimension)
    command = [sys.executable, "-m", "benchmarks.index", *sys.argv[1:], "--only-build"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(json.dumps(_figures(_open(database), json.loads(done.stdout), wanted), indent=1))


def _write(database: Path, rows: int, dimension: int) -> None:
    unfinished = database.with_suffix(".unfinished")
    made = table.create(table.connect(str(unfinished)), "media", "{}", "g1", dimension)
    made.add(pa.RecordBatchReader.from_batches(schema.rows(dimension), _batches(world(dimension), rows)))
    unfinished.rename(database)


def _batches(drawn: World, rows: int) -> Iterator[pa.RecordBatch]:
    for number in range(-(-rows // BATCH)):
        count = min(BATCH, rows - number * BATCH)
        texts = np.arange(count) % 10 == 0
        medium = np.where(texts, "text", "image")
        same = {"segment": 0, "source": "s3://bucket", "size": 1, "content_hash": "0" * 64, "embedded_at": NOW, "run": "r1"}
        names = {"uri": [f"s3://bucket/{number * BATCH + k:09}" for k in range(count)], "medium": medium, "modality": medium}
        yield batches.rows(schema.rows(len(drawn.strength)), same | names, drawn.vectors(count, number, texts=texts))


def _open(database: Path) -> Table:
    opened = table.open_table(table.connect(str(database)), "media")
    if opened is None:
        raise SystemExit(f"{database} holds no table; delete the folder and run again")
    return opened


def _built(opened: Table, kind: str, wanted: Wanted) -> dict[str, Any]:
    index.drop(opened)
    index.index_filters(opened)
    before, peak_before = time.process_time(), _peak()
    seconds = maintain.build(opened, kind, wanted.rules)
    return {
        "build_seconds": round(seconds, 1),
        "build_cpu_seconds": round(time.process_time() - before, 1),
        "peak_mb": round(_peak()),
        "peak_before_mb": round(peak_before),
    }


def _figures(opened: Table, built: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    began = time.process_time()
    exam = maintain.examine(opened, wanted)
    exact = time.process_time() - began
    attempt = maintain.measure(opened, exam, wanted, 0.0)
    state = index.state(opened)
    new = _new(opened)
    truth = recall.exact(opened, new)
    found = recall.measure(opened, new, truth, attempt.best.settings)
    before = time.process_time()
    plain = recall.measure(opened, exam.questions[:1], exam.truth[:1], attempt.best.settings)
    return {
        "machine": material.machine(),
        "load": round(os.getloadavg()[0], 1),
        "rows": state.rows,
        "dimension": opened.schema.field("vector").type.list_size,
        "index": state.kind,
        "index_mb": round(state.bytes / 1e6, 1),
        "partitions": wanted.rules.partitions(state.rows),
        **built,
        "exact_cpu_seconds": round(exact, 1),
        "reached": attempt.reached,
        "settings": {"nprobes": attempt.best.settings.nprobes, "refine": attempt.best.settings.refine},
        "recall_of_rows": _rounded(attempt.best.by_kind),
        "surely": _rounded(attempt.best.sure),
        "recall_of_new": _rounded(found.by_kind),
        "milliseconds": plain.milliseconds,
        "milliseconds_of_all_kinds": attempt.best.milliseconds,
        "cpu_milliseconds": round(1000 * (time.process_time() - before) / max(len(exam.questions[0].vectors), 1), 1),
        "flat_milliseconds": exam.flat_milliseconds,
        "measured": [[each.settings.nprobes, each.settings.refine, each.milliseconds, _rounded(each.by_kind)] for each in attempt.measured],
    }


def _new(opened: Table) -> list[Questions]:
    """Vectors that the table does not hold: pictures among all rows, and texts among pictures."""
    drawn = world(opened.schema.field("vector").type.list_size)
    none = np.full(NEW, np.iinfo(np.uint64).max, np.uint64)
    kinds = {"new image>all": (False, None), "new text>image": (True, "image")}
    return [
        Questions(name, among, drawn.vectors(NEW, 10**6 + text, texts=np.full(NEW, text)), none) for name, (text, among) in kinds.items()
    ]


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)


def _peak() -> float:
    """Most resident memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
