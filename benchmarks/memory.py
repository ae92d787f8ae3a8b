"""Whether memory is set by settings, not by the number of objects nor by the length of one of them.

    python -m benchmarks.memory [--objects 16000] [--folder DIR]

Peak resident memory of the whole process tree (sampled every 50 ms, shared pages counted in each process) of `sensorium embed --direct`
with the miniature space, over 1,000 pictures beside a sound of four seconds and a text of a kilobyte; over --objects pictures beside the
same; and over 1,000 pictures beside a sound of three hours and a text of 50 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks import material


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=16_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "sensorium-benchmark")
    asked = parser.parse_args()
    base = _peak(_bucket(asked.folder, 1000, long=False))
    figures = {
        "machine": material.machine(),
        "1000 objects": base,
        f"{asked.objects} objects": _peak(_bucket(asked.folder, asked.objects, long=False)),
        "3 h of sound, 50 MB of text": _peak(_bucket(asked.folder, 1000, long=True)),
    }
    ratios = {name: round(each["peak_mb"] / base["peak_mb"], 3) for name, each in figures.items() if isinstance(each, dict)}
    print(json.dumps(figures | {"of the peak at 1000": ratios}, indent=1))


def _bucket(home: Path, pictures: int, *, long: bool) -> Path:
    """Pictures (linked, not copied) beside one sound and one text, short or long."""
    folder = home / f"memory-{pictures}-{'long' if long else 'short'}"
    if not folder.exists():
        shutil.copytree(material.photographs(home / f"photos-{pictures}", pictures), folder, copy_function=os.link)
        material.long_sound(folder / "sound.wav", 3.0 if long else 4 / 3600)
        material.long_text(folder / "text.txt", 50_000_000 if long else 1000)
    return folder


def _peak(source: Path) -> dict[str, Any]:
    database = tempfile.mkdtemp(prefix="sensorium-benchmark-")
    command = [sys.executable, "-m", "flows.cli", "embed", str(source), database, "--direct", "--json"]
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        peak = 0
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.05)
        output, errors = process.communicate()
    shutil.rmtree(database)
    if process.returncode:
        raise SystemExit(errors)
    account = json.loads(output)
    return {
        "peak_mb": round(peak / 1e6),
        "seconds": round(time.monotonic() - began, 1),
        "objects": account["listed"],
        "rows": account["segments"],
    }


def _resident(pid: int) -> int:
    total = 0
    try:
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            total += process.memory_info().rss
    except psutil.Error:
        pass
    return total


if __name__ == "__main__":
    main()
