"""How long a search by words takes from the shell, imports included.

    python -m benchmarks.startup [--database DATABASE] [--query "a dog"] [--rounds 5]

Wall and CPU seconds (user and system, of all threads) of `sensorium search DATABASE "a dog"` with the miniature, beside those of
`import torch` and of `import lancedb, torch` in a bare interpreter, taken in turns; the median of the rounds. Without a database, one of a
hundred texts is made first.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import material


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", default="")
    parser.add_argument("--query", default="a dog")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    search = ["-m", "flows.cli", "search", asked.database or _made(), asked.query]
    commands = {
        "sensorium search": search,
        "sensorium search --json": [*search, "--json"],
        "import numpy": ["-c", "import numpy"],
        "import lancedb": ["-c", "import lancedb"],
        "import torch": ["-c", "import torch"],
        "import lancedb, torch": ["-c", "import lancedb, torch"],
    }
    rounds = [{name: _seconds(command) for name, command in commands.items()} for _ in range(asked.rounds + 1)][
        1:
    ]  # the first fills caches
    figures = {
        name: {kind: round(statistics.median(each[name][kind] for each in rounds), 2) for kind in ("wall", "cpu")} for name in commands
    }
    print(json.dumps({"machine": material.machine(), "rounds": asked.rounds, "seconds": figures}, indent=1))


def _made() -> str:
    home = Path(tempfile.gettempdir()) / "sensorium-benchmark"
    source = material.small_texts(home / "texts-100", 100)
    database = tempfile.mkdtemp(prefix="startup-", dir=home)
    _seconds(["-m", "flows.cli", "embed", str(source), database, "--direct"])
    return database


def _seconds(arguments: list[str]) -> dict[str, float]:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    return {"wall": wall, "cpu": after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime}


if __name__ == "__main__":
    main()
