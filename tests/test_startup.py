"""A search by words starts quickly: it imports nothing that only other commands, media and models need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from buckets import embed

ROOT = Path(__file__).parent.parent
HEAVY = (
    *("torch", "transformers", "prefect", "librosa", "numba", "sklearn", "scipy", "gensim", "pandas"),
    *("av", "PIL", "starlette", "openai", "flows.settings", "tasks.prepare", "flows.pipeline"),
)
PROGRAM = """
import sys
from flows import cli
sys.argv = ["sensorium", "search", *sys.argv[1:]]
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
print(*sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("startup")
    for name, text in {"dog": "a big dog barking", "cat": "a small cat", "train": "a red train in the rain"}.items():
        (home / "texts").mkdir(exist_ok=True)
        (home / "texts" / f"{name}.txt").write_text(text, encoding="utf-8")
    embed(home / "texts", home / "lance")
    return home / "lance"


def search(*arguments: str) -> tuple[str, set[str]]:
    """What a search prints, and the modules that it has imported."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.split())


def lancedb_alone() -> set[str]:
    """What of pandas LanceDB imports by itself, where it is installed: nobody can search a table without that."""
    program = "import sys, lancedb; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return set(done.stdout.split()) & {"pandas"}


@pytest.mark.parametrize("flags", [(), ("--json",)], ids=["for people", "for machines"])
def test_a_search_by_words_imports_no_model_library_no_orchestrator_and_no_decoder(database: Path, flags: tuple[str, ...]):
    printed, modules = search(str(database), "a big dog barking", *flags)
    first = json.loads(printed)[0]["uri"] if flags else printed.splitlines()[0]
    assert "dog.txt" in first
    assert sorted(modules & set(HEAVY) - lancedb_alone()) == []
    assert len(modules) < 1500


def test_a_score_by_the_shipped_space_starts_without_a_model_library():
    program = "import sys, flows.score_run; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert not {"torch", "transformers", "prefect"} & set(done.stdout.split())
