"""What a run costs that has nothing to do.

    python -m benchmarks.idle [--objects 100000] [--folder DIR]

Seconds of `sensorium embed --direct` over a bucket that has not changed since it was embedded, against the same command over a bucket of
one object: the difference is what listing and comparing cost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import material


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "sensorium-benchmark")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    one = material.small_texts(asked.folder / "texts-1", 1)
    many = material.small_texts(asked.folder / f"texts-{asked.objects}", asked.objects)
    first = {place.name: _embed(place) for place in (one, many)}
    rounds = [(_idle(one), _idle(many)) for _ in range(asked.rounds)]
    added = [large - small for small, large in rounds]
    figures = {
        "machine": material.machine(),
        "objects": asked.objects,
        "first_run_seconds": round(first[many.name]["wall"], 1),
        "start_up_seconds": round(statistics.median(small for small, _ in rounds), 2),
        "idle_run_seconds": round(statistics.median(large for _, large in rounds), 2),
        "added_seconds": round(statistics.median(added), 2),
    }
    print(json.dumps(figures, indent=1))


def _idle(source: Path) -> float:
    done = _embed(source)
    if done["account"]["encoded"] or not done["account"]["unchanged"]:
        raise SystemExit(f"the run over {source} was not idle: {done['account']}")
    return float(done["wall"])


def _embed(source: Path) -> dict[str, Any]:
    database = source.with_name(f"{source.name}-lance")
    began = time.monotonic()
    command = [sys.executable, "-m", "flows.cli", "embed", str(source), str(database), "--direct", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {"wall": time.monotonic() - began, "account": json.loads(done.stdout)}


if __name__ == "__main__":
    main()
