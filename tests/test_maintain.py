"""Maintenance: readers get an index only if it finds what was asked for; what is there and good is left alone; nothing is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.index import IvfRq
from lancedb.table import Table
from table_rows import NOW
from typer.testing import CliRunner

from encoders.spaces import load_space
from flows.cli import app
from flows.maintain_run import MaintainRun, maintain_table, open_maintain
from flows.settings import MaintainSettings, SettingsError
from retrieval.status import status
from storage import batches, index, recall, runs, schema, table, upkeep
from storage.index import IndexRules, SearchSettings
from storage.lock import sole_writer
from storage.recall import Recall
from tasks import maintain
from tasks.maintain import Wanted, why_build

ROOT = Path(__file__).parent.parent
ROWS, DIMENSION = 2000, 16
RULES = IndexRules(values=1000 * DIMENSION, partition=100)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def put(database: Path, count: int, name: str = "u") -> None:
    """Pictures, and texts apart from them, one of five."""
    media = opened(database)
    random = np.random.default_rng(len(name) + count)
    centres = np.random.default_rng(0).standard_normal((100, DIMENSION))
    texts = np.arange(count) % 5 == 0
    vectors = unit(centres[random.integers(0, 100, count)] + 0.8 * random.standard_normal((count, DIMENSION)) + 3 * texts[:, None])
    medium = np.where(texts, "text", "image")
    columns = {"uri": [f"{name}{k:05d}" for k in range(count)], "segment": 0, "source": "s3://bucket", "size": 1, "content_hash": "h"}
    columns |= {"medium": medium, "modality": medium, "embedded_at": NOW, "run": "r1"}
    made = batches.rows(schema.rows(DIMENSION), columns, vectors)
    table.commit(media, made["uri"].to_pylist(), lambda: pa.RecordBatchReader.from_batches(made.schema, [made]))


def opened(database: Path) -> Table:
    held = table.open_table(table.connect(str(database)), "media")
    assert held is not None
    return held


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("original") / "lance"
    table.create(table.connect(str(place)), "media", load_space("miniature").to_json(), "g1", DIMENSION)
    put(place, ROWS)
    table.publish(opened(place), opened(place).version)
    return place


@pytest.fixture
def database(original: Path, tmp_path: Path) -> Path:
    """A published table of 2,000 rows."""
    return Path(shutil.copytree(original, tmp_path / "lance"))


def run_of(database: Path, **wanted: object) -> MaintainRun:
    run = open_maintain(MaintainSettings(database=str(database)))
    run.wanted = replace(Wanted(0.9, rules=RULES, questions=60), **wanted)
    return run


def reader(database: Path) -> Table:
    return table.published(table.connect(str(database)), "media")


def rows_of(media: Table) -> set[str]:
    return set(media.search().select(["uri"]).limit(None).to_arrow()["uri"].to_pylist())


# -- an index is made --------------------------------------------------------------------------------------------------------------------


def test_a_table_that_is_large_enough_gets_an_index_that_reaches_the_target(database: Path) -> None:
    before = reader(database)
    report = maintain_table(run_of(database))
    after = reader(database)
    assert report["met"] and report["reason"] == "there was none"
    assert (report["before"]["kind"], report["after"]["kind"], index.state(after).kind) == ("none", "IVF_RQ", "IVF_RQ")
    assert report["published"] == after.version > before.version == report["published_before"]
    last = report["attempts"][-1]["measured"][-1]
    assert last["least"] >= 0.9 and set(last["recall"]) == {"all", "image>text", "text>image"}
    assert index.search_settings(after) == SearchSettings(last["nprobes"], last["refine"])
    assert index.state(after).kept["recall"] == {name: round(value, 4) for name, value in last["recall"].items()}
    assert rows_of(after) == rows_of(before)


def test_what_the_report_claims_is_what_readers_get(database: Path) -> None:
    report = maintain_table(run_of(database))
    published = reader(database)
    drawn = recall.draw(published, 60, seed=99)
    found = recall.measure(published, drawn, recall.exact(published, drawn), index.search_settings(published))
    assert found.least > 0.9  # other questions than those that chose the settings
    assert [each["columns"] for each in _indices(published)] == [["medium"], ["modality"], ["text"], ["vector"]]
    assert report["flat_milliseconds"] > 0


def _indices(media: Table) -> list[dict[str, list[str]]]:
    return sorted(({"columns": each.columns} for each in media.list_indices()), key=lambda each: each["columns"])


def test_a_small_table_gets_none_and_is_tidied_once(database: Path) -> None:
    first, second = (maintain_table(run_of(database, rules=IndexRules())) for _ in range(2))
    assert second["met"] and second["attempts"] == [] and "No index" in second["verdict"]
    assert first["indexed"] == ROWS, "the text index follows up"
    assert second["version"] == second["published"] == first["version"] == first["published"]


def test_a_second_maintenance_keeps_the_index_and_makes_no_version(database: Path) -> None:
    first = maintain_table(run_of(database))
    second = maintain_table(run_of(database))
    assert second["met"] and second["reason"] == "" and [each["built"] for each in second["attempts"]] == [False]
    assert (second["version"], second["published"]) == (first["version"], first["published"])
    assert len(second["attempts"][0]["measured"]) == 1


def test_settings_of_an_index_that_is_there_are_raised_where_they_no_longer_suffice(database: Path) -> None:
    maintain_table(run_of(database))
    index.keep(opened(database), SearchSettings(1, 1), rows=ROWS)
    table.publish(opened(database), opened(database).version)
    report = maintain_table(run_of(database))
    assert report["met"] and [each["built"] for each in report["attempts"]] == [False]
    assert index.search_settings(reader(database)).nprobes > 1


# -- an index that misses ----------------------------------------------------------------------------------------------------------------


def test_an_index_that_misses_leaves_readers_at_the_version_before(database: Path) -> None:
    before = reader(database).version
    report = maintain_table(run_of(database, target=1.0, widest=SearchSettings(2, 1)))
    assert not report["met"] and report["verdict"].startswith("Recall 1 missed (IVF_RQ 0.")
    assert [each["kind"] for each in report["attempts"]] == ["IVF_RQ", "IVF_SQ"]
    assert (report["published"], reader(database).version) == (before, before)
    assert index.state(reader(database)).kind == index.state(opened(database)).kind == index.NONE
    assert index.search_settings(opened(database)) == SearchSettings()
    assert rows_of(opened(database)) == rows_of(reader(database))


def test_another_kind_is_tried_where_the_first_misses(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = index.build

    def bad(media: Table, kind: str, rules: IndexRules) -> None:
        """An IVF_RQ of one bit, whose candidates are nearly random as long as they are not refined."""
        real(media, kind, replace(rules, bits=1) if kind == index.RQ else rules)

    monkeypatch.setattr(index, "build", bad)
    report = maintain_table(run_of(database, target=0.9, widest=SearchSettings(1 << 16, 1)))
    assert [(each["kind"], each["reached"]) for each in report["attempts"]] == [("IVF_RQ", False), ("IVF_SQ", True)]
    assert report["met"] and index.state(reader(database)).kind == "IVF_SQ"


def test_a_rebuild_that_misses_leaves_readers_the_old_index_and_its_settings(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maintain_table(run_of(database))
    settings, version = index.search_settings(reader(database)), reader(database).version
    monkeypatch.setattr(maintain, "why_build", lambda *_: "for a test")
    report = maintain_table(run_of(database, target=1.0, widest=SearchSettings(1, 1)))
    assert not report["met"] and report["published"] == version
    assert (index.state(reader(database)).kind, index.search_settings(reader(database))) == ("IVF_RQ", settings)


def test_a_build_that_is_cut_off_is_done_again(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> Recall:
        raise KeyboardInterrupt

    before = reader(database).version
    with monkeypatch.context() as patch:
        patch.setattr(recall, "measure", killed)
        with pytest.raises(KeyboardInterrupt):
            maintain_table(run_of(database))
    assert reader(database).version == before
    assert index.search_settings(opened(database)) == index.WIDEST  # if somebody publishes it as it is, it answers well
    report = maintain_table(run_of(database))
    assert report["met"] and "cut off" in report["reason"] and index.search_settings(opened(database)) != index.WIDEST
    assert report["published"] == reader(database).version == report["version"] > before, "its rows are those that readers saw"
    assert index.state(reader(database)).kind == "IVF_RQ" and rows_of(reader(database)) == rows_of(opened(database))


@pytest.mark.parametrize("fragments", [1, 9])
def test_after_one_that_missed_the_next_that_succeeds_moves_readers(database: Path, fragments: int) -> None:
    for k in range(fragments - 1):
        put(database, 10, f"new{k}")
    table.publish(opened(database), opened(database).version)
    before, there = reader(database).version, rows_of(reader(database))
    missed = maintain_table(run_of(database, target=1.0, widest=SearchSettings(1, 1)))
    assert not missed["met"] and missed["published"] == before < missed["version"]
    assert bool(missed["merged"]) == (fragments > 1)
    report = maintain_table(run_of(database))
    assert report["met"] and report["published"] == reader(database).version == report["version"] > before
    assert index.state(reader(database)).kind == "IVF_RQ" and rows_of(reader(database)) == there
    assert "readers stay" not in report["verdict"]


def test_a_version_that_no_run_published_is_not_published(database: Path) -> None:
    before = reader(database).version
    put(database, 50, "below-the-floor")
    report = maintain_table(run_of(database))
    assert report["published"] == before < report["version"]
    assert len(rows_of(reader(database))) == ROWS
    assert not report["met"], "readers have no index"
    assert report["verdict"].endswith(f"readers stay at version {before}: the latest holds other rows, which no embed has published")


def test_readers_who_stay_at_a_version_that_has_what_was_asked_for_are_served(database: Path) -> None:
    before = maintain_table(run_of(database))["published"]
    put(database, 50, "below-the-floor")
    assert maintain_table(run_of(database))["met"] and reader(database).version == before
    asked_more = maintain_table(run_of(database, target=0.95, questions=100))
    assert asked_more["attempts"][-1]["reached"] and not asked_more["met"], "readers have an index for 0.9"
    small = maintain_table(run_of(database, rules=IndexRules()))
    assert small["met"] and "readers stay" in small["verdict"]


def test_a_table_of_which_nothing_is_published_serves_no_readers(database: Path) -> None:
    opened(database).tags.delete(table.LIVE)
    report = maintain_table(run_of(database))
    assert not report["met"] and report["published"] is None and "nothing is published" in report["verdict"]


def _append(media: Table) -> None:
    media.add(media.search().limit(5).to_arrow())


def _merge(media: Table) -> None:
    media.delete("uri < 'u00500'")  # more than a tenth: the fragment is rewritten
    upkeep.settle(media)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda media: None, True),
        (lambda media: index.build(media, index.RQ, RULES), True),
        (lambda media: (index.build(media, index.SQ, RULES), index.drop(media)), True),
        (upkeep.settle, True),
        (lambda media: (media.delete("uri = 'u00007'"), media.restore(3)), True),
        (_append, False),
        (lambda media: media.delete("uri = 'u00007'"), False),
        (lambda media: media.update(where="uri = 'u00007'", values={"medium": "audio"}), False),
        (lambda media: media.add_columns({"kind": "'a'"}), False),
        (lambda media: media.drop_columns(["text"]), False),
        (_merge, False),
    ],
)
def test_the_rows_are_the_same_as_long_as_only_indices_and_settings_change(
    database: Path, change: Callable[[Table], object], same: bool
) -> None:
    live = reader(database).version
    assert live == 3  # the one that is restored above
    change(opened(database))
    assert table.same_rows(opened(database), live) is same


def test_a_note_of_the_same_rows_holds_until_rows_change_and_of_one_version(database: Path) -> None:
    for k in range(8):
        put(database, 10, f"new{k}")
    media = opened(database)
    live = int(media.version)
    assert upkeep.settle(media)[1] == 9 and not table.same_rows(media, live), "no file tells it"
    table.note_same_rows(media, live)
    noted = opened(database).version
    table.note_same_rows(media, live)
    assert opened(database).version == noted and table.same_rows(media, live) and not table.same_rows(media, live - 1)
    index.build(media, index.RQ, RULES)
    assert table.same_rows(media, live)
    put(database, 1, "other")
    assert not table.same_rows(opened(database), live)


# -- when it is built anew ---------------------------------------------------------------------------------------------------------------


def test_new_rows_are_found_before_and_after_they_are_indexed(database: Path) -> None:
    maintain_table(run_of(database))
    put(database, 600, "new")
    published = opened(database)
    table.publish(published, published.version)
    for unindexed in (600, 0):
        held = reader(database)
        assert index.state(held).unindexed == unindexed
        row = held.search().where("uri = 'new00007'").to_list()[0]
        found = index.nearest(held, np.array(row["vector"], np.float32), index.search_settings(held)).limit(1).to_list()
        assert found[0]["uri"] == "new00007"
        report = maintain_table(run_of(database))
    assert report["met"] and not any(each["built"] for each in report["attempts"])


def test_an_index_is_built_anew_once_the_rows_have_doubled(database: Path) -> None:
    maintain_table(run_of(database))
    put(database, ROWS - 100, "more")
    table.publish(opened(database), opened(database).version)
    assert maintain_table(run_of(database))["reason"] == ""
    put(database, 200, "again")
    table.publish(opened(database), opened(database).version)
    report = maintain_table(run_of(database))
    assert report["reason"] == f"the table grew from {ROWS:,} to {2 * ROWS + 100:,} rows"
    assert report["met"] and report["after"]["kept"]["rows"] == 2 * ROWS + 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"kind": "none"}, "there was none"),
        ({"kind": "none", "rows": 999}, ""),
        ({"rows": 999}, ""),
        ({"parts": 8}, ""),
        ({"parts": 9}, "consists of 9 parts"),
        ({"rows": 3999}, ""),
        ({"rows": 4000}, "grew from 2,000 to 4,000"),
        ({"kept": {"pending": True}}, "cut off"),
        ({"kept": {}}, ""),
    ],
)
def test_an_index_is_built_for_a_reason(change: dict[str, object], words: str) -> None:
    held = replace(index.IndexState("IVF_RQ", ROWS, 0, 1, 1, {"rows": ROWS}), **change)
    assert words in why_build(held, DIMENSION, RULES) and bool(words) == bool(why_build(held, DIMENSION, RULES))


def test_an_index_that_somebody_else_made_is_measured_like_ours(database: Path) -> None:
    opened(database).create_index("vector", config=IvfRq(distance_type="cosine", num_partitions=30, num_bits=1))
    table.publish(opened(database), opened(database).version)
    report = maintain_table(run_of(database))
    assert report["met"] and report["attempts"][0]["built"] is False
    assert index.search_settings(reader(database)).nprobes >= 20


# -- beside it ---------------------------------------------------------------------------------------------------------------------------


def test_a_maintenance_stands_in_the_table_of_runs_and_in_status(database: Path) -> None:
    report = maintain_table(run_of(database))
    run = runs.latest(lancedb.connect(str(database)), "media", kind=runs.MAINTAIN).row(0, named=True)
    assert (run["run"], run["state"], run["version"]) == (report["run"], "finished", report["version"])
    assert json.loads(run["account"]) == json.loads(json.dumps(report))
    told = status(str(database))
    assert told["maintenance"]["verdict"] == report["verdict"] and told["runs"] == []
    held = told["vector_index"]
    best = report["attempts"][-1]["measured"][-1]
    assert (held["kind"], held["unindexed"], held["nprobes"], held["refine"]) == ("IVF_RQ", 0, best["nprobes"], best["refine"])
    assert held["recall"]["all"] >= 0.9


def test_old_versions_go_and_their_bytes_are_told(database: Path) -> None:
    run = open_maintain(MaintainSettings(database=str(database), keep_days=0))
    run.wanted = Wanted(0.9, rules=RULES, questions=60)
    there = rows_of(reader(database))
    assert maintain_table(run)["freed"] > 0
    assert len(opened(database).list_versions()) == 1 and rows_of(reader(database)) == there


def test_it_refuses_to_work_beside_another_writer(database: Path) -> None:
    with sole_writer(str(database), "media"):
        done = CliRunner().invoke(app, ["maintain", str(database), "--direct"])
    assert done.exit_code == 2 and "another run is writing" in done.stderr
    assert opened(database).version == reader(database).version


# -- the command -------------------------------------------------------------------------------------------------------------------------


def test_the_command_tells_what_it_did_and_json_tells_all(database: Path) -> None:
    asked = ["maintain", str(database), "--direct", "--index-from", "1000", "--recall", "0.9", "--questions", "60"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("IVF_RQ built: it surely finds ") and "readers moved from version" in done.stdout
    assert "text>image" in done.stdout
    report = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert report["met"] and report["verdict"].startswith("IVF_RQ kept")


def test_a_recall_that_is_missed_is_exit_code_1_and_the_report_is_whole(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["maintain", str(database), "--direct", "--index-from", "1000", "--questions", "150", "--json"]
    monkeypatch.setattr("flows.maintain_run.Wanted", lambda *a, **k: Wanted(*a, **k, widest=SearchSettings(1, 1), kinds=("IVF_RQ",)))
    monkeypatch.setattr("flows.maintain_run.IndexRules", lambda: RULES)
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1
    assert json.loads(done.stdout)["met"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{home}/nowhere"], "there is no folder"),
        (["{database}", "--table", "other"], "no table 'other'"),
        (["{database}", "--recall", "1.5"], "recall"),
        (["{database}", "--questions", "132"], "ask at least 133, or all 2,000 rows"),
        (["{database}", "--recall", "1"], "no draw shows that a recall of 1"),
        ([], "database is missing"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(database: Path, arguments: list[str], words: str) -> None:
    given = [each.format(home=database.parent, database=database) for each in arguments]
    done = CliRunner().invoke(app, ["maintain", *given, "--direct"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("asked", [{"questions": 133}, {"questions": 25, "recall": 0.9}, {"questions": 2000, "recall": 1.0}])
def test_questions_that_can_show_the_recall_are_enough(database: Path, asked: dict[str, float]) -> None:
    open_maintain(MaintainSettings(database=str(database), **asked))
    if asked["questions"] < ROWS:
        with pytest.raises(SettingsError, match="ask at least"):
            open_maintain(MaintainSettings(database=str(database), **asked | {"questions": asked["questions"] - 1}))


@pytest.mark.slow
def test_as_a_flow_its_steps_are_tasks_and_its_report_an_artifact(
    database: Path, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "flows.cli", "maintain", str(database), "--index-from", "1000", "--questions", "300", "--json"]
    environment = os.environ | {"PREFECT_API_URL": prefect_server}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    [run] = _post(prefect_server, "/flow_runs/filter", {"flows": {"name": {"any_": ["maintain"]}}})
    assert (run["name"], run["state"]["type"]) == (f"maintain media of {database}", "COMPLETED")
    assert run["state"]["message"] == report["verdict"]
    [artifact] = _post(prefect_server, "/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    assert artifact["key"] == "maintain-report" and "data:image/png;base64," in artifact["data"]
    assert "| before | none | 2,000 |" in artifact["data"] and "| after | IVF_RQ | 2,000 | 0 | 1 |" in artifact["data"]
    assert "| text>image |" in artifact["data"]
    tasks = _post(prefect_server, "/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert {each["name"] for each in tasks} == {
        "look", "merge", "search exactly", "build IVF_RQ", "measure IVF_RQ", "publish", "clean", "report",
    }  # fmt: skip


def _post(api: str, path: str, body: object) -> list[dict[str, object]]:
    answer = httpx.post(api + path, json=body, timeout=30)
    answer.raise_for_status()
    found: list[dict[str, object]] = answer.json()
    return found
