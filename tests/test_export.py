"""Exports: every object with its vector, place, neighbours and cluster in one Parquet file, which Embedding Atlas opens."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest
from buckets import rows as table_rows
from themed_table import make
from typer.testing import CliRunner

from flows.cli import app
from retrieval.cluster.neighbours import neighbours

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("export")
    make(home / "lance")
    return home


@pytest.fixture(scope="module")
def exported(home):
    """An export with everything, and what the command told."""
    flags = ["--map", "--cluster", "kmeans", "--labels", str(home / "labels.parquet"), "--json"]
    run = CliRunner().invoke(app, ["export", str(home / "lance"), str(home / "all.parquet"), *flags], env={"COLUMNS": "200"})
    assert run.exit_code == 0, run.output
    return json.loads(run.output), pl.read_parquet(home / "all.parquet")


@pytest.mark.parametrize("block", [1, 5, 30, 100])
def test_neighbours_are_the_nearest_of_all_others_whatever_the_blocks(block):
    vectors = np.random.default_rng(0).standard_normal((30, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids, distances = neighbours(vectors, 6, block)
    for row in range(30):
        apart = sorted((1 - float(vectors[row] @ vectors[other]), other) for other in range(30) if other != row)[:6]
        assert ids[row].tolist() == [other for _, other in apart]
        assert distances[row] == pytest.approx([distance for distance, _ in apart], abs=1e-5)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_vectors_have_fewer_neighbours(n):
    ids, distances = neighbours(np.eye(3, dtype=np.float32)[:n])
    assert ids.shape == distances.shape == (n, max(0, n - 1))


def test_every_object_is_a_row_with_the_mean_of_its_segments(home, exported):
    told, rows = exported
    held = {}
    for row in table_rows(home / "lance"):
        held.setdefault(row["uri"], []).append(row)
    assert told["rows"] == rows.height == len(held) and set(rows["uri"]) == set(held)
    for row in rows.iter_rows(named=True):
        mean = np.mean([segment["vector"] for segment in held[row["uri"]]], axis=0)
        assert row["vector"] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-3)
        assert row["segment"] == len(held[row["uri"]]) and row["text"] == held[row["uri"]][0]["text"]
        assert row["modality"] == ("audio+image" if row["medium"] == "video" else row["medium"])
    assert told["bytes"] == (home / "all.parquet").stat().st_size and told["columns"] == rows.columns


def test_neighbors_are_row_numbers_of_the_file_with_cosine_distances(exported):
    _, rows = exported
    vectors = np.array(rows["vector"].to_list())
    for place, near in enumerate(rows["neighbors"].to_list()):
        assert len(near["ids"]) == 15 and place not in near["ids"] and near["distances"] == sorted(near["distances"])
        assert near["distances"] == pytest.approx((1 - vectors[near["ids"]] @ vectors[place]).clip(0), abs=1e-4)


def test_clusters_and_their_labels_lie_on_the_map(home, exported):
    _, rows = exported
    labels = pl.read_parquet(home / "labels.parquet")
    assert labels.columns == ["x", "y", "text"] and labels.height == rows["cluster"].n_unique() == 3
    members = rows.filter(pl.col("cluster") == 0)
    assert labels.row(0) == (members["x"].median(), members["y"].median(), members["cluster_name"][0])
    assert rows["x"].abs().max() <= 1 and rows["y"].abs().max() <= 1


def test_an_export_without_more_is_what_the_table_tells(home):
    run = CliRunner().invoke(
        app, ["export", str(home / "lance"), str(home / "few.parquet"), "--segments", "--medium", "video", "--no-vectors"]
    )
    assert run.exit_code == 0 and "18 segments" in run.output and "open it" not in run.output
    rows = pl.read_parquet(home / "few.parquet")
    assert rows.columns == ["uri", "medium", "modality", "segment", "start", "end", "text"]
    assert sorted(rows["segment"]) == [0] * 6 + [1] * 6 + [2] * 6


@pytest.mark.parametrize(
    ("file", "flags", "told"),
    [("table.csv", [], ".parquet"), ("none/table.parquet", [], "exists"), ("t.parquet", ["--labels", "l.parquet"], "--map and --cluster")],
)
def test_what_cannot_be_written_is_refused(home, file, flags, told):
    run = CliRunner().invoke(app, ["export", str(home / "lance"), str(home / file), *flags])
    assert run.exit_code == 2 and told in run.output and not (home / file).exists()


def embedding_atlas() -> str | None:
    """The command, which has an environment of its own: from EMBEDDING_ATLAS, beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("embedding-atlas")
    return os.environ.get("EMBEDDING_ATLAS") or (str(beside) if beside.exists() else shutil.which("embedding-atlas"))


@contextmanager
def served(command: str, port: int):
    """The server that a command starts; ends with the block."""
    with subprocess.Popen(command.split(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for _ in range(600):
                assert process.poll() is None, process.stdout.read()
                try:
                    httpx.get(f"http://127.0.0.1:{port}/data/metadata.json", timeout=30).raise_for_status()
                    break
                except httpx.TransportError:
                    time.sleep(0.2)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_embedding_atlas_opens_an_export_and_shows_all_of_it(home, exported, tmp_path):
    atlas = embedding_atlas()
    if atlas is None:
        pytest.skip("embedding-atlas is not installed; name the command in EMBEDDING_ATLAS")
    from playwright.sync_api import sync_playwright

    told, rows = exported
    port = free_port()
    command = told["open"].replace("embedding-atlas", atlas, 1) + f" --host 127.0.0.1 --port {port} --no-auto-port"
    with served(command, port) as address:
        metadata = httpx.get(f"{address}/data/metadata.json").json()
        assert metadata["props"]["data"]["projection"] == {"x": "x", "y": "y"} and metadata["props"]["data"]["neighbors"] == "neighbors"
        asked = {"type": "json", "sql": "SELECT uri, cluster, x, y FROM dataset ORDER BY __row_index__"}
        held = httpx.post(f"{address}/data/query", json=asked, timeout=60).json()
        assert [row["uri"] for row in held] == rows["uri"].to_list()
        assert [row["x"] for row in held] == pytest.approx(rows["x"].to_list(), abs=1e-5)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET)
            page = browser.new_page(viewport={"width": 1400, "height": 900})
            page.goto(address, timeout=300_000)
            page.get_by_text(f"{rows.height:,} points").first.wait_for(timeout=300_000)
            shot = Path(os.environ.get("EMBEDDING_ATLAS_PICTURE", tmp_path / "atlas.png"))
            page.screenshot(path=shot)
            browser.close()
        assert shot.stat().st_size > 10_000
