"""The command as a person and a machine use it: JSON on stdout, one clear message on stderr, exit codes 0, 1 and 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from buckets import captions, picture, small_bucket

ROOT = Path(__file__).parent.parent
ACCOUNT = {
    *("run", "source", "database", "table", "space", "generation", "listed", "embedded", "unchanged", "quarantined", "skipped"),
    *("deleted", "segments", "encoded", "reused", "version", "balanced", "seconds", "bottleneck", "failures"),
}


def sensorium(*arguments, **environment):
    command = [sys.executable, "-m", "flows.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=os.environ | environment)


def answer(*arguments):
    done = sensorium(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    small_bucket(folder / "bucket")
    (folder / "bucket/broken.png").write_bytes(picture(1)[:200])
    (folder / "bucket/report.pdf").write_bytes(b"%PDF-1.7")
    return folder


@pytest.fixture(scope="module")
def account(home):
    return answer("embed", home / "bucket", home / "lance", "--direct")


def test_embed_prints_one_account_with_exactly_the_documented_fields(account):
    assert set(account) == ACCOUNT
    assert set(account["seconds"]) == {"listing", "prepare", "encode", "commit", "total"}
    assert account["listed"] == account["embedded"] + account["unchanged"] + account["quarantined"] + sum(account["skipped"].values())
    assert (account["listed"], account["embedded"], account["quarantined"], account["skipped"]) == (38, 36, 1, {"pdf": 1})
    assert [set(failure) for failure in account["failures"]] == [{"uri", "stage", "reason"}]


@pytest.mark.slow
def test_embed_without_prefect_settings_brings_its_own_server(home, account):
    done = sensorium("embed", home / "bucket", home / "lance", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["unchanged"] == 36
    assert "http://127.0.0.1:" in done.stderr
    assert not any(word in done.stderr for word in ("Traceback", "Error", "ERROR", "WARNING"))


@pytest.mark.parametrize("modality", ["image", "audio"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_search_by_words_finds_pictures_and_sounds(home, account, modality, language):
    name, caption = next((n, c) for n, c in captions().items() if n.endswith("png" if modality == "image" else "wav"))
    hits = answer("search", home / "lance", caption[language], "--modality", modality, "--limit", "3")
    assert [set(hit) for hit in hits] == [{"uri", "medium", "modality", "segment", "start", "end", "text", "score"}] * 3
    assert hits[0]["uri"].endswith(name)
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


def test_search_by_a_picture_finds_itself_and_by_a_prefix_only_what_lies_below(home, account):
    query = home / "bucket/pictures/picture_2.png"
    hits = answer("search", home / "lance", query)
    assert hits[0]["uri"] == f"file://{query}"
    assert hits[0]["score"] == pytest.approx(1, abs=5e-3)
    below = answer("search", home / "lance", query, "--prefix", f"file://{home}/bucket/sounds/")
    assert {hit["modality"] for hit in below} == {"audio"}


def test_search_by_a_sound_finds_itself(home, account):
    hits = answer("search", home / "lance", home / "bucket/sounds/sound_3.wav")
    assert hits[0]["uri"].endswith("sound_3.wav")


def test_status_tells_rows_generation_quarantine_and_runs(home, account):
    told = answer("status", home / "lance")
    assert {"rows", "objects", "generation", "space", "index", "quarantine", "runs"} <= set(told)
    assert (told["objects"], told["space"], told["generation"]) == (36, "miniature", account["generation"])
    assert sum(told["quarantine"].values()) == 1
    assert account["run"] in {run["run"] for run in told["runs"]}


def test_plan_tells_what_would_be_done_and_writes_nothing(home, tmp_path):
    told = answer("embed", home / "bucket", tmp_path / "lance", "--plan")
    assert (told["listed"], told["to_embed"], told["skipped"]) == (38, 37, {"pdf": 1})
    assert not (tmp_path / "lance").exists()


@pytest.mark.slow
def test_quarantine_is_listed_retried_and_forgotten(home, account):
    [entry] = answer("quarantine", "list", home / "lance")
    assert {"uri", "etag", "stage", "reason", "error", "attempts", "first_failed", "last_failed", "generation"} <= set(entry)
    assert entry["attempts"] == 1
    retried = answer("quarantine", "retry", home / "lance", "--direct", "--uri", entry["uri"])
    assert (retried["marked"], retried["runs"][0]["quarantined"]) == (1, 1)
    [again] = answer("quarantine", "list", home / "lance")
    assert (again["attempts"], again["first_failed"]) == (2, entry["first_failed"])
    assert answer("quarantine", "forget", home / "lance", "--reason", entry["reason"]) == {"forgotten": 1}
    assert answer("quarantine", "list", home / "lance") == []


def test_encoders_lists_every_encoder_and_space():
    names = {entry["name"] for entry in answer("encoders")}
    assert {"miniature", "clip-text", "clip-image", "vit", "bert", "ast"} <= names


def test_below_the_floor_the_account_is_printed_and_the_exit_code_is_1(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/broken.png").write_bytes(picture(1)[:200])
    done = sensorium("embed", tmp_path / "bucket", tmp_path / "lance", "--direct", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["quarantined"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["embed", "no/such/folder", "{tmp}/lance"], "no/such/folder"),
        (["embed", "{bucket}"], "database"),
        (["embed", "{bucket}", "{tmp}/lance", "--space", "minature"], "miniature"),
        (["embed", "{bucket}", "{tmp}/lance", "--floor", "1.5"], "floor"),
        (["embed", "{bucket}", "{tmp}/lance", "--table", "a/b"], "table"),
        (["embed", "{bucket}", "{tmp}/lance", "--config", "{tmp}/missing.toml"], "missing.toml"),
        (["embed", "ftp://host/x", "{tmp}/lance"], "ftp"),
        (["embed", "{bucket}", "/proc/nowhere"], "/proc/nowhere"),
        (["search", "{tmp}/nowhere", "a dog"], "nowhere"),
        (["search", "{lance}", "a dog", "--table", "other"], "other"),
        (["search", "{lance}", "a dog", "--modality", "smell"], "smell"),
        (["search", "{lance}", ""], "empty"),
        (["search", "{lance}", "pictures/none.png"], "pictures/none.png"),
        (["status", "{tmp}/nowhere"], "nowhere"),
        (["quarantine", "retry", "{lance}", "--uri", "file:///x"], "file:///x"),
    ],
)
def test_a_refusal_is_one_clear_line_and_exit_code_2(home, account, tmp_path, arguments, words):
    places = {"bucket": home / "bucket", "lance": home / "lance", "tmp": tmp_path}
    done = sensorium(*(a.format(**places) for a in arguments), *(["--direct"] if arguments[0] == "embed" else []))
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.startswith("sensorium: ")
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_setting_in_a_file_is_refused_with_the_allowed_ones(home, tmp_path):
    (tmp_path / "run.toml").write_text(f'source = "{home}/bucket"\ndatabase = "{tmp_path}/lance"\nflor = 0.5\n')
    done = sensorium("embed", "--config", tmp_path / "run.toml", "--direct")
    assert done.returncode == 2
    assert "flor" in done.stderr
    assert "floor" in done.stderr


def test_settings_may_stand_in_a_file_and_flags_win(home, tmp_path):
    (tmp_path / "run.toml").write_text(
        f'source = "{home}/bucket"\ndatabase = "{tmp_path}/lance"\ntable = "one"\n[limits]\ncharacters = 1000\n'
    )
    told = answer("embed", "--config", tmp_path / "run.toml", "--direct", "--table", "two")
    assert told["table"] == "two"


def test_a_table_of_another_generation_is_refused(home, account, tmp_path):
    space = tmp_path / "other.toml"
    space.write_text('name = "other"\n[image]\nencoder = "clip-image"\nweights = "package:miniature/clip"\n')
    done = sensorium("embed", home / "bucket", home / "lance", "--space", space, "--direct")
    assert done.returncode == 2
    assert "generation" in done.stderr
    assert "--table" in done.stderr
    done = sensorium("search", home / "lance", "a dog", "--space", space)
    assert done.returncode == 2
    assert "generation" in done.stderr
