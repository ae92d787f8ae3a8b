"""`sensorium encoders` lists every space, encoder and well-known checkpoint, with what is known of each and whether it is here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_checkpoints
from huggingface_hub import constants

from encoders import catalogue, registry
from encoders.catalogue import Entry, checkpoints, reads
from encoders.spaces import SPACES, load_space
from encoders.spec import Spec

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    """What the command prints, for people and for machines, on a machine whose cache of the hub is empty."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(tmp_path_factory.mktemp("hub")), "COLUMNS": "100"}
    command = [sys.executable, "-m", "flows.cli", "encoders"]
    runs = [subprocess.run([*command, *more], env=environment, capture_output=True, text=True, check=True) for more in ([], ["--json"])]
    return runs[0].stdout, json.loads(runs[1].stdout)


def test_every_space_and_every_name_of_the_registry_is_listed(printed: tuple[str, list[dict[str, Any]]]):
    table, entries = printed
    assert {e["name"] for e in entries if e["kind"] == "space"} == set(SPACES)
    assert {e["name"] for e in entries if e["kind"] == "encoder"} == set(registry.names()) >= set(registry.ENCODERS)
    assert all(f"\n{name} " in table for name in (*SPACES, *registry.names()))


def test_each_checkpoint_stands_below_its_encoder_with_what_a_space_needs_to_know(printed: tuple[str, list[dict[str, Any]]]):
    _, entries = printed
    above = ""
    for entry in entries:
        above = above if entry["kind"] == "checkpoint" else entry["name"]
        if entry["kind"] == "checkpoint":
            assert entry["name"] == above
            assert (entry["here"] or False, entry["revisions"]) == (False, [])
            assert set(entry) == set(Entry.__dataclass_fields__)
            assert entry["reads"] > 0
            assert entry["unit"] in {catalogue.UNITS.get(entry["modalities"][0], "frames"), "patches"}


def test_the_table_is_readable_at_100_columns(printed: tuple[str, list[dict[str, Any]]]):
    table, entries = printed
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 100
    assert all(e["weights"] in table for e in entries)


def test_a_checkpoint_names_encoders_that_there_are_and_no_commit():
    for one in checkpoints():
        assert set(one) <= {"weights", "dimension", "licence", "reads", "server"}
        assert set(one["reads"]) <= set(registry.ENCODERS), one["weights"]
    assert len({one["weights"] for one in checkpoints()}) == len(checkpoints())


def test_every_encoder_that_reads_checkpoints_has_a_well_known_one():
    without = set(registry.ENCODERS) - {name for one in checkpoints() for name in one["reads"]}
    assert without == {"one-hot", "bag-of-words", "word-vectors"}


def test_any_whole_revision_in_the_cache_of_the_hub_counts_as_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    snapshots = tmp_path / "models--BAAI--bge-m3" / "snapshots"
    whole = tiny_checkpoints.bert(snapshots / COMMIT)
    partial = shutil.copytree(whole, snapshots / COMMIT[::-1])
    (partial / "model.safetensors").unlink()
    found = {entry.weights: entry for entry in catalogue.catalogue() if entry.kind == "checkpoint"}
    assert (found["BAAI/bge-m3"].here, found["BAAI/bge-m3"].revisions) == (True, (COMMIT,))
    assert not found["BAAI/bge-small-en-v1.5"].here


def test_what_an_encoder_reads_is_told_by_its_spec():
    told = {modality: reads(spec) for modality, spec in load_space("miniature").encoders.items()}
    assert told == {"text": 40, "image": 64, "audio": 49152 / 16000}
    assert reads(Spec("x", "text", 1, "text")) is None
