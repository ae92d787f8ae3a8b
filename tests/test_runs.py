"""Each run leaves its account; one that was killed is told apart."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest

from storage import runs, schema, table


@pytest.fixture
def db(tmp_path: Path) -> lancedb.DBConnection:
    return table.connect(str(tmp_path))


def account(run: str, **figures: object) -> dict[str, object]:
    return (
        {"run": run, "source": "s3://bucket", "space": "test", "generation": "g1", "listed": 10, "embedded": 4, "unchanged": 1}
        | {
            "quarantined": 2,
            "skipped": {".mp4": 2, ".zip": 1},
            "deleted": 0,
            "segments": 9,
            "encoded": 8,
            "reused": 1,
            "version": 3,
            "balanced": True,
            "seconds": {"total": 1.5},
            "failures": [{"uri": "it's", "stage": "decode", "reason": "截断"}],
        }
        | figures
    )


def test_there_are_no_runs_before_the_first(db: lancedb.DBConnection) -> None:
    assert runs.latest(db, "media").columns == [*schema.RUNS.names, "state"]
    assert runs.latest(db, "media").is_empty()


def test_a_finished_run_shows_its_figures_and_its_whole_account(db: lancedb.DBConnection) -> None:
    runs.start(db, "media", "r1", "s3://bucket", space="test", generation="g1")
    runs.finish(db, "media", account("r1"))
    run = runs.latest(db, "media").row(0, named=True)
    assert run["state"] == "finished" and run["started"] <= run["finished"]
    assert {
        name: run[name] for name in ("listed", "embedded", "unchanged", "quarantined", "skipped", "segments", "version", "balanced")
    } == {
        "listed": 10,
        "embedded": 4,
        "unchanged": 1,
        "quarantined": 2,
        "skipped": 3,
        "segments": 9,
        "version": 3,
        "balanced": True,
    }
    assert json.loads(run["account"]) == account("r1")


def test_a_run_that_was_killed_is_unfinished_and_interrupted_once_another_starts(db: lancedb.DBConnection) -> None:
    for run in ("r1", "r2", "r3"):
        runs.start(db, "media", run, "s3://bucket")
        if run == "r2":
            runs.finish(db, "media", account("r2"))
    assert runs.latest(db, "media").select("run", "state").rows() == [("r3", "unfinished"), ("r2", "finished"), ("r1", "interrupted")]


def test_the_newest_runs_come_first_and_no_more_than_asked(db: lancedb.DBConnection) -> None:
    for k in range(5):
        runs.start(db, "media", f"run '{k}'", "s3://bucket")
        runs.finish(db, "media", account(f"run '{k}'"))
    assert runs.latest(db, "media", 2)["run"].to_list() == ["run '4'", "run '3'"]


def test_a_run_is_two_versions_and_one_row(db: lancedb.DBConnection) -> None:
    runs.start(db, "media", "r1", "s3://bucket")
    held = table.open_table(db, runs.table_name("media"))
    assert held is not None
    before = held.version
    runs.finish(db, "media", account("r1"))
    held.checkout_latest()
    assert (held.version, held.count_rows()) == (before + 1, 1)


def test_an_account_without_a_start_or_with_figures_missing_is_kept_all_the_same(db: lancedb.DBConnection) -> None:
    runs.finish(db, "media", {"run": "r1", "source": "s3://bucket", "skipped": {}, "balanced": False})
    run = runs.latest(db, "media").row(0, named=True)
    assert (run["state"], run["listed"], run["skipped"], run["balanced"]) == ("finished", None, 0, False)


def test_a_run_starts_where_another_was_killed_before_it_wrote_its_first_row(db: lancedb.DBConnection) -> None:
    db.create_table("media_runs", schema=schema.RUNS)
    runs.start(db, "media", "r1", "s3://bucket")
    assert runs.latest(db, "media")["run"].to_list() == ["r1"]


def test_runs_of_another_kind_stand_beside_those_that_embed_and_are_asked_for_by_kind(db: lancedb.DBConnection) -> None:
    runs.start(db, "media", "r1", "s3://bucket")
    runs.start(db, "media", "s1", "pairs.csv", kind="score")
    runs.finish(db, "media", {"run": "s1", "source": "pairs.csv", "version": 3, "met": True}, kind="score")
    runs.start(db, "media", "s2", "pairs.csv", kind="score")
    assert runs.latest(db, "media").select("run", "state", "kind").rows() == [("r1", "unfinished", "embed")]
    scores = runs.latest(db, "media", kind="score")
    assert scores.select("run", "state", "version", "listed", "skipped").rows() == [
        ("s2", "unfinished", None, None, None),
        ("s1", "finished", 3, None, None),
    ]
    assert json.loads(scores.row(1, named=True)["account"])["met"] is True


def test_a_table_of_runs_from_before_there_were_kinds_is_read_and_goes_on(db: lancedb.DBConnection) -> None:
    before = pa.schema([field for field in schema.RUNS if field.name != "kind"])
    held = db.create_table("media_runs", schema=before)
    held.add(pa.Table.from_pylist([{"run": "r0", "source": "s", "started": datetime.now(UTC), "finished": datetime.now(UTC)}], before))
    assert runs.latest(db, "media").select("run", "state", "kind").rows() == [("r0", "finished", "embed")]
    runs.start(db, "media", "s1", "pairs.csv", kind="score")
    runs.start(db, "media", "r1", "s3://bucket")
    assert runs.latest(db, "media")["run"].to_list() == ["r1", "r0"]
    assert runs.latest(db, "media", kind="score")["run"].to_list() == ["s1"]
