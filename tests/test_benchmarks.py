"""Every benchmark can be imported: what it takes from the project is still there."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("[a-z]*.py")))
def test_a_benchmark_is_imported(name):
    if name == "alignment_figures":
        pytest.importorskip("matplotlib", reason="of the extra guide")
    assert importlib.import_module(f"benchmarks.{name}").__doc__
