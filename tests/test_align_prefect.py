"""The alignment as people watch it: a real server, the flow's tasks, its progress, its curve and its report with pictures."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from pair_world import STRANGERS, world, write_pairs
from PIL import Image

ROOT = Path(__file__).parent.parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(prefect_server, tmp_path_factory):
    """The account that the command printed, and the run as the server tells it."""
    folder = tmp_path_factory.mktemp("watched")
    write_pairs(folder / "pairs.jsonl", world(folder, 60, sounds=False))
    (folder / "strangers.toml").write_text(STRANGERS)
    arguments = [str(folder / "pairs.jsonl"), "--space", str(folder / "strangers.toml"), "--name", "watched", "--out", str(folder)]
    arguments += ["--steps", "60", "--shares", "0.6,0.2,0.2", "--workers", "2", "--json"]
    environment = os.environ | {"PREFECT_API_URL": prefect_server, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flows.cli", "align", *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    assert prefect_server.removesuffix("/api") in done.stderr
    [run] = [each for each in post(prefect_server, "/flow_runs/filter", {}) if each["name"] == "align watched"]
    return json.loads(done.stdout), run


def post(api, path, body):
    answer = httpx.post(api + path, json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


@pytest.fixture(scope="module")
def artifacts(watched, prefect_server):
    found = post(prefect_server, "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [watched[1]["id"]]}}})
    return {each["key"]: each for each in sorted(found, key=lambda each: each["created"])}


def test_its_steps_are_tasks(watched, prefect_server):
    tasks = post(prefect_server, "/task_runs/filter", {"flow_runs": {"id": {"any_": [watched[1]["id"]]}}})
    names = {each["name"] for each in tasks}
    assert names >= {"patch image-0000", "tokenise text-0000", "divide", "train", "calibrate", "write"}
    assert {each["state"]["type"] for each in tasks} == {"COMPLETED"}
    assert watched[1]["state"]["type"] == "COMPLETED"


def test_its_progress_counts_steps(artifacts):
    assert float(artifacts["align-progress"]["data"]) == 100
    assert re.search(r"step 60 of 60, loss [\d.]+, scale", artifacts["align-progress"]["description"])


def test_its_curve_and_report_hold_pictures_that_need_no_network(watched, artifacts):
    for key, names in (("align-curve", {"loss", "recall"}), ("align-report", {"loss", "recall"})):
        pictures = dict(re.findall(r"!\[(.*?)\]\(data:image/png;base64,(.*?)\)", artifacts[key]["data"]))
        assert set(pictures) == names
        assert all(Image.open(io.BytesIO(base64.b64decode(data))).width > 500 for data in pictures.values())
    report = artifacts["align-report"]["data"]
    assert "http" not in report
    assert watched[0]["generation"] in report
    assert re.search(r"\| text>image \| \d+ \| – \| 0\.\d+ \(0\.\d+ to \d\.\d+\)", report)
    assert re.search(r"\| 60 \| 0 \| 0 \| 0 \| 0 \| \d+ \| \d+ \| \d+ \|", report)
