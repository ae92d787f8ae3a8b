"""The run as people schedule and watch it: a real server, deployments, a worker, a watched run, and what the UI is given."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from buckets import picture, rows, small_bucket

ROOT = Path(__file__).parent.parent
PREFECT = [sys.executable, "-m", "prefect"]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bucket(tmp_path_factory):
    folder = small_bucket(tmp_path_factory.mktemp("watched") / "bucket")
    (folder / "broken.png").write_bytes(picture(1)[:200])
    (folder / "report.pdf").write_bytes(b"%PDF-1.7")
    return folder


@pytest.fixture(scope="module")
def deployed(prefect_server, bucket):
    """The environment of somebody who deployed prefect.yaml as its head says."""
    environment = os.environ | {
        "PREFECT_API_URL": prefect_server,
        "SENSORIUM_SOURCE": str(bucket),
        "SENSORIUM_DATABASE": str(bucket.parent / "lance"),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    prefect(environment, "work-pool", "create", "sensorium", "--type", "process")
    prefect(environment, "--no-prompt", "deploy", "--all")
    return environment


@pytest.fixture(scope="module")
def watched(deployed, prefect_server):
    """Output of a watched run of the nightly deployment, and the run as the server tells it."""
    worker = subprocess.Popen([*PREFECT, "worker", "start", "--pool", "sensorium", "--type", "process"], env=deployed, cwd=ROOT)
    try:
        output = prefect(deployed, "deployment", "run", "embed/nightly", "--watch")
    finally:
        worker.terminate()
        worker.wait(30)
    # The server plans the coming nights' runs by itself, and other tests' commands leave runs of no deployment in the same database.
    [run] = [each for each in post(prefect_server, "/flow_runs/filter", {}) if each["start_time"] and each["deployment_id"]]
    return output, run


def prefect(environment, *arguments):
    done = subprocess.run([*PREFECT, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def post(api, path, body):
    answer = httpx.post(api + path, json=body, timeout=30)
    answer.raise_for_status()
    return answer.json()


def test_all_deployments_allow_one_run_at_a_time_and_refuse_a_second(deployed, prefect_server):
    deployments = {d["name"]: d for d in post(prefect_server, "/deployments/filter", {})}
    assert set(deployments) >= {"nightly", "on-demand", "check"}
    for deployment in deployments.values():
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert deployments["nightly"]["schedules"][0]["schedule"]["cron"] == "0 3 * * *"


def test_the_form_describes_every_setting(deployed, prefect_server):
    deployment = next(d for d in post(prefect_server, "/deployments/filter", {}) if d["name"] == "on-demand")
    definitions = deployment["parameter_openapi_schema"]["definitions"]
    for form in ("EmbedSettings", "LimitSettings"):
        assert all(field.get("description") for field in definitions[form]["properties"].values())
    assert definitions["EmbedSettings"]["additionalProperties"] is False
    assert definitions["EmbedSettings"]["properties"]["floor"]["maximum"] == 1


def test_a_watched_run_completes_and_fills_the_table(watched, bucket):
    output, run = watched
    assert run["state"]["type"] == "COMPLETED", output
    assert len({row["uri"] for row in rows(bucket.parent / "lance")}) == 36


def test_task_runs_are_named_by_verb_and_shard(watched, prefect_server):
    names = {t["name"] for t in post(prefect_server, "/task_runs/filter", {"flow_runs": {"id": {"any_": [watched[1]["id"]]}}})}
    assert names >= {"patch image-0000", "stft audio-0000", "tokenise text-0000", "encode image-0000", "encode audio-0000", "commit 1"}


def test_a_run_shows_progress_a_table_by_shard_and_a_report(watched, prefect_server):
    artifacts = {
        a["key"]: a for a in post(prefect_server, "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [watched[1]["id"]]}}})
    }
    assert float(artifacts["embed-progress"]["data"]) == 100
    assert "of 3 shards" in artifacts["embed-progress"]["description"]
    assert {row["name"] for row in json.loads(artifacts["embed-shards"]["data"])} == {"image-0000", "audio-0000", "text-0000"}
    report = artifacts["embed-report"]["data"]
    assert re.search(r"\| 38 \| 36 \| 0 \| 1 \| 1 \| 0 \|", report)
    assert "broken.png" in report
    assert "limited the speed" in report


def test_a_flow_started_by_hand_uses_the_configured_api(deployed, prefect_server, bucket):
    command = [sys.executable, "-m", "flows.cli", "embed", str(bucket), str(bucket.parent / "lance"), "--json"]
    done = subprocess.run(command, env=deployed, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unchanged"] == 36
    assert prefect_server.removesuffix("/api") in done.stderr
