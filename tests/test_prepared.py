"""Prepared files give back what was written, whatever an encoder calls its inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks import prepared
from tasks.segments import Segment


def test_inputs_may_have_the_names_of_the_columns_beside_them(tmp_path: Path):
    writer = prepared.PreparedWriter(tmp_path / "shard.arrow")
    names = ("text", "start", "object", "lengths")
    writer.write(7, range(3), [Segment({name: np.arange(n + 1) for name in names}, 0.0, 1.0 + n, f"chunk {n}") for n in range(3)])
    writer.close()
    [window] = prepared.read(tmp_path / "shard.arrow", {7}, 100, 1 << 20)
    assert window.text.to_pylist() == ["chunk 0", "chunk 1", "chunk 2"]
    assert window.end.to_pylist() == [1.0, 2.0, 3.0]
    assert set(window.inputs) == set(names)
    for arrays in window.inputs.values():
        assert [array.tolist() for array in arrays] == [[0], [0, 1], [0, 1, 2]]
