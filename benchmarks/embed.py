"""How near the pipeline comes to its floor: the CPU time of decoding plus that of encoding, shared by all cores.

    python -m benchmarks.embed [--objects 6000] [--rounds 3] [--ways direct served prefect]

Floor: decode-only and encode-only CPU seconds of the same objects, each measured alone in one process of this run, over the cores.
Pipeline: the command `sensorium embed` from listing to committed and published rows; its start-up is what the same command takes for a
bucket of one picture. Ways: "direct" without Prefect; "served" as a flow run of a Prefect server that is up already, as scheduled runs are
(on the same cores); "prefect" with a server that the command starts for itself.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import material
from flows.local_server import LocalServer

BATCH = 64
WAYS = ["direct", "served", "prefect"]


def main() -> None:
    """Measure and print one JSON object: each round's ratios, and their medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=6000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "sensorium-benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    asked = parser.parse_args()
    photos = material.photographs(asked.folder / f"photos-{asked.objects}", asked.objects)
    one = material.photographs(asked.folder / "photos-1", 1)
    space = material.vit_tiny(asked.folder)
    rounds = [{way: _round(photos, one, space, way) for way in asked.ways} for _ in range(asked.rounds)]
    medians = {
        name: {ratio: statistics.median(each[name][ratio] for each in rounds) for ratio in ("of_floor", "of_floor_with_start_up")}
        for name in asked.ways
    }
    print(json.dumps({"machine": material.machine(), "objects": asked.objects, "median": medians, "rounds": rounds}, indent=1))


def _round(photos: Path, one: Path, space: Path, way: str) -> dict[str, Any]:
    """The pipeline between two measurements of its floor, for a shared machine's speed drifts."""
    before = _isolated("floor", photos, space)
    with _api(way) as environment:
        flags = ["--direct"] if way == "direct" else []
        start = _embed(one, space, flags, environment)
        whole = _embed(photos, space, flags, environment)
    after = _isolated("floor", photos, space)
    ideal = sum((*before.values(), *after.values())) / 2 / len(os.sched_getaffinity(0))
    return {
        "floor_seconds": round(ideal, 2),
        "cpu_seconds": [before, after],
        "start_up_seconds": round(start["wall"], 2),
        "seconds": round(whole["wall"], 2),
        "of_floor": round(ideal / (whole["wall"] - start["wall"]), 3),
        "of_floor_with_start_up": round(ideal / whole["wall"], 3),
        "bottleneck": whole["account"]["bottleneck"],
        "by_stage": whole["account"]["seconds"],
    }


@contextmanager
def _api(way: str) -> Iterator[dict[str, str]]:
    """The environment of the command: with a server's address where one is to be up already, without any elsewhere."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    if way != "served":
        yield environment
        return
    server = LocalServer()
    try:
        server.wait()
        yield environment | {"PREFECT_API_URL": f"{server.url}/api"}
    finally:
        server.stop()


def _embed(photos: Path, space: Path, flags: list[str], environment: dict[str, str]) -> dict[str, Any]:
    database = tempfile.mkdtemp(prefix="sensorium-benchmark-")
    began = time.monotonic()
    command = [sys.executable, "-m", "flows.cli", "embed", str(photos), database, "--space", str(space), "--json", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    wall = time.monotonic() - began
    shutil.rmtree(database)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {"wall": wall, "account": json.loads(done.stdout)}


def _isolated(what: str, photos: Path, space: Path) -> dict[str, float]:
    code = f"from benchmarks.embed import {what}; {what}({str(photos)!r}, {str(space)!r})"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


def floor(photos: str, space: str) -> None:
    """Print the CPU seconds of decoding every photograph into model inputs, and of encoding them all."""
    from encoders import registry
    from encoders.media import pictures
    from encoders.media.kinds import Limits
    from encoders.spaces import load_space
    from encoders.stacking import stack

    encoder = registry.build(load_space(space).encoders["image"])
    paths = sorted(Path(photos).rglob("*.jpg"))
    limits, decode, encode = Limits(), 0.0, 0.0
    encoder.encode(stack({"patches": [encoder.prepare(pictures.decode(paths[0], limits))["patches"]]}, [0]))
    for first in range(0, len(paths), BATCH):
        some = paths[first : first + BATCH]
        began = time.process_time()
        inputs = [encoder.prepare(pictures.decode(path.read_bytes(), limits))["patches"] for path in some]
        decoded = time.process_time()
        encoder.encode(stack({"patches": inputs}, range(len(some))))
        decode, encode = decode + decoded - began, encode + time.process_time() - decoded
    print(json.dumps({"decode": round(decode, 2), "encode": round(encode, 2)}))


if __name__ == "__main__":
    main()
