"""An installed package brings an encoder of its own by the public route: an entry point and a class of under 30 lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
OUTSIDE = ROOT / "tests" / "outside"


def run(program: str, *places: Path) -> Any:
    """What a program prints as JSON in a fresh process, which has the project and the outsider's package on its path."""
    path = os.pathsep.join(map(str, (ROOT, OUTSIDE, *places)))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def error_of(name: str, *places: Path) -> str:
    program = f"""
import json
from encoders import registry
from encoders.errors import EncoderError
try:
    registry.describe({name!r})
except EncoderError as error:
    print(json.dumps(str(error)))
"""
    return str(run(program, *places))


def test_the_whole_encoder_is_under_thirty_lines():
    assert len([line for line in (OUTSIDE / "letters.py").read_text().splitlines() if line.strip()]) < 30


def test_an_outsiders_encoder_is_found_described_built_and_encodes():
    names, vectors, plain, ignoring = run("""
import json
from encoders import registry
from encoders.spec import Spec
from encoders.stacking import stack
spec = registry.describe("letters", ignore="e")
encoder = registry.build(Spec.from_dict(json.loads(json.dumps(spec.to_dict()))))
inputs = [encoder.prepare(text) for text in ("abba", "bee")]
vectors = encoder.encode(stack({"counts": [one["counts"] for one in inputs]}, [0, 1]))
print(json.dumps([registry.names(), vectors[:, :5].tolist(), registry.describe("letters").fingerprint, spec.fingerprint]))
""")
    assert {"letters", "clip-text", "ast"} <= set(names)
    assert vectors[0] == pytest.approx([0.5**0.5, 0.5**0.5, 0, 0, 0])
    assert vectors[1] == [0, 1, 0, 0, 0]
    assert plain != ignoring


def test_an_outsiders_encoder_makes_a_space_and_stands_in_the_catalogue(tmp_path: Path):
    (tmp_path / "space.toml").write_text('name = "counting"\n[text]\nencoder = "letters"\nignore = "x"\n')
    dimension, entry, broken = run(f"""
import json
from dataclasses import asdict
from encoders.catalogue import catalogue
from encoders.spaces import load_space
entries = {{entry.name: asdict(entry) for entry in catalogue()}}
print(json.dumps([load_space({str(tmp_path / "space.toml")!r}).dimension, entries["letters"], entries["broken"]]))
""")
    assert dimension == 26
    assert (entry["modalities"], entry["dimension"], entry["licence"], entry["here"]) == (["text"], 26, "CC0-1.0", True)
    assert "letters:Missing, which cannot be imported" in broken["problem"]


def test_what_is_no_encoder_is_told_what_it_lacks():
    assert "letters:np, which lacks modality, describe, prepare, encode" in error_of("half")


def test_a_name_claimed_by_two_packages_is_refused(tmp_path: Path):
    shutil.copytree(OUTSIDE / "letters-1.0.dist-info", tmp_path / "glyphs-1.0.dist-info")
    (tmp_path / "glyphs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: glyphs\nVersion: 1.0\n")
    (tmp_path / "glyphs-1.0.dist-info" / "entry_points.txt").write_text("[sensorium.encoders]\nletters = glyphs:Glyphs\n")
    assert "claimed by several packages (glyphs, letters)" in error_of("letters", tmp_path)
