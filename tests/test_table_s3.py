"""A table on S3 behaves as one in a folder, and what is wrong with the store is told in words, against a real server process."""

from __future__ import annotations

from datetime import timedelta

import boto3
import pytest
from table_rows import DIMENSION, Objects, contents, stream

from storage import quarantine, runs, table, upkeep
from storage.errors import TableError

NAMELESS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def database(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    settings = {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "hush-hush",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=s3_server).create_bucket(Bucket="vectors")
    return "s3://vectors/a prefix/database"


def test_a_table_on_s3_is_made_changed_published_and_tidied_like_one_in_a_folder(database: str) -> None:
    db = table.connect(database)
    assert table.open_table(db, "media") is None
    media = table.create(db, "media", "{}", "g1", DIMENSION)
    model: dict[str, tuple[str, int]] = {}
    cat = "s3://source/猫"
    steps: list[Objects] = [{"s3://source/a'": ("v1", 3), "s3://source/b%\n": ("v1", 1), cat: ("v1", 2)}, {"s3://source/a'": ("v2", 1)}]
    steps += [{f"s3://source/{k}": ("v1", 2)} for k in range(9)]
    for step in steps:
        before = media.version
        assert table.commit(media, list(step), lambda step=step: stream(step)) == before + 1  # type: ignore[misc]
        model |= step
    table.publish(media, table.commit(media, [cat], None))
    del model[cat]
    tidied = upkeep.tidy_all(db, "media", keep=timedelta(0))["media"]
    assert tidied.merged > 0 and tidied.freed > 0
    assert contents(table.published(db, "media")) == model
    again = table.published(db, "media")
    assert sorted(table.present(again, "s3://source")["uri"]) == sorted(model)
    assert table.count(again).rows() == [("image", "image", len(model), sum(n for _, n in model.values()))]


def test_quarantine_and_runs_live_on_s3_too(database: str) -> None:
    db = table.connect(database)
    runs.start(db, "other", "r1", "s3://bucket")
    runs.finish(db, "other", {"run": "r1", "source": "s3://bucket"})
    assert runs.latest(db, "other")["state"].to_list() == ["finished"]
    assert quarantine.load(db, "other").is_empty()


@pytest.mark.parametrize(
    ("change", "place", "reason"),
    [
        ({}, "s3://no-such-bucket/database", "missing bucket"),
        (
            {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"},
            "s3://vectors/x",
            "missing credentials",
        ),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://vectors/x", "unreachable"),
    ],
)
def test_what_is_wrong_with_the_store_is_told_in_words(
    database: str, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], place: str, reason: str
) -> None:
    for name, value in change.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    with pytest.raises(TableError) as told:
        table.connect(place)
    assert told.value.reason == reason
    assert "hush-hush" not in str(told.value) and "\n" not in str(told.value)
