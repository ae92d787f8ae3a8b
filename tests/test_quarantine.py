"""Objects that failed are kept with reason and attempts, released when embedded or gone, and tried again when a person asks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

import lancedb
import polars as pl
import pytest

from storage import quarantine, schema, table

AWKWARD = ["s3://bucket/it's 100%_.jpg", 's3://bucket/"\n\\.wav', "s3://bucket/猫😀.txt"]


@pytest.fixture
def db(tmp_path: Path) -> lancedb.DBConnection:
    return table.connect(str(tmp_path))


def failures(*uris: str, reason: str = "truncated", etag: str | None = "e1") -> pl.DataFrame:
    rows = [{"uri": uri, "etag": etag, "size": 7, "stage": "decode", "reason": reason, "error": f"{reason}: {uri}"} for uri in uris]
    return pl.DataFrame(rows, schema={"uri": pl.String, "etag": pl.String, "size": pl.Int64, "stage": str, "reason": str, "error": str})


def version(db: lancedb.DBConnection) -> int:
    held = table.open_table(db, quarantine.table_name("media"))
    return 0 if held is None else held.version


def test_nothing_is_held_back_before_anything_failed(db: lancedb.DBConnection) -> None:
    empty = quarantine.load(db, "media", "s3://bucket")
    assert empty.is_empty() and empty.columns == schema.QUARANTINE.names
    quarantine.record(db, "media", failures(), "g1")
    quarantine.release(db, "media", ["s3://bucket/a"])
    assert quarantine.mark_for_retry(db, "media") == quarantine.forget(db, "media") == 0
    assert table.open_table(db, quarantine.table_name("media")) is None


def test_a_failure_is_kept_with_all_that_is_known_of_it(db: lancedb.DBConnection) -> None:
    before = datetime.now(UTC)
    quarantine.record(db, "media", failures(*AWKWARD), "g1")
    held = quarantine.load(db, "media").sort("uri")
    assert held["uri"].to_list() == sorted(AWKWARD)
    assert held.select("etag", "size", "stage", "reason", "attempts", "generation").unique().rows() == [
        ("e1", 7, "decode", "truncated", 1, "g1")
    ]
    assert (held["first_failed"] == held["last_failed"]).all() and (held["first_failed"] >= before).all()


def test_failing_again_counts_an_attempt_and_keeps_the_first_time(db: lancedb.DBConnection) -> None:
    quarantine.record(db, "media", failures(*AWKWARD), "g1")
    first = quarantine.load(db, "media")["first_failed"][0]
    for _ in range(2):
        quarantine.record(db, "media", failures(AWKWARD[0], reason="too many pixels", etag="e2"), "g2")
    again = quarantine.load(db, "media").filter(uri=AWKWARD[0]).row(0, named=True)
    assert (again["attempts"], again["reason"], again["etag"], again["generation"]) == (3, "too many pixels", "e2", "g2")
    assert again["first_failed"] == first < again["last_failed"]
    assert quarantine.by_reason(quarantine.load(db, "media")) == {"truncated": 2, "too many pixels": 1}


def test_an_object_that_failed_twice_in_one_run_stands_there_once(db: lancedb.DBConnection) -> None:
    quarantine.record(db, "media", pl.concat([failures("a"), failures("a", reason="hung")]), "g1")
    assert quarantine.load(db, "media").select("uri", "reason", "attempts").rows() == [("a", "hung", 1)]


def test_each_change_is_one_version_and_no_change_is_none(db: lancedb.DBConnection) -> None:
    quarantine.record(db, "media", failures(*AWKWARD), "g1")
    start = version(db)
    quarantine.record(db, "media", failures(*AWKWARD[1:], "new"), "g1")
    assert version(db) == start + 1
    quarantine.record(db, "media", failures(), "g1")
    quarantine.release(db, "media", [])
    quarantine.release(db, "media", ["s3://bucket/never failed"])
    quarantine.mark_for_retry(db, "media", reason="never seen")
    quarantine.forget(db, "media", uris=["s3://bucket/never failed"])
    assert version(db) == start + 1


def test_released_objects_are_gone_and_others_stay(db: lancedb.DBConnection) -> None:
    quarantine.record(db, "media", failures(*AWKWARD), "g1")
    quarantine.release(db, "media", [*AWKWARD[:2], "s3://bucket/never failed"])
    assert quarantine.load(db, "media")["uri"].to_list() == AWKWARD[2:]


def test_a_quarantine_that_was_emptied_takes_objects_again(db: lancedb.DBConnection) -> None:
    quarantine.record(db, "media", failures("a"), "g1")
    quarantine.release(db, "media", ["a"])
    quarantine.record(db, "media", failures("b"), "g1")
    assert quarantine.load(db, "media")["uri"].to_list() == ["b"]


def test_a_source_sees_its_own_objects_alone(db: lancedb.DBConnection) -> None:
    quarantine.record(db, "media", failures("/a_b/x", "/aXb/x", "/a_b", "/a_bc"), "g1")
    assert sorted(quarantine.load(db, "media", "/a_b")["uri"]) == ["/a_b", "/a_b/x"]
    assert quarantine.load(db, "media").height == 4


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ({}, {"a", "b", "c'"}),
        ({"reason": "hung"}, {"b", "c'"}),
        ({"uris": ["c'", "never failed"]}, {"c'"}),
        ({"uris": ["a", "b"], "reason": "hung"}, {"b"}),
    ],
)
def test_objects_are_chosen_by_uri_by_reason_or_all(db: lancedb.DBConnection, choice: dict[str, object], chosen: set[str]) -> None:
    quarantine.record(db, "media", pl.concat([failures("a"), failures("b", "c'", reason="hung")]), "g1")
    assert quarantine.mark_for_retry(db, "media", **choice) == len(chosen)  # type: ignore[arg-type]
    assert quarantine.mark_for_retry(db, "media", **choice) == 0  # type: ignore[arg-type]
    held = quarantine.load(db, "media")
    assert set(held.filter(size=quarantine.RETRY_SIZE)["uri"]) == chosen
    assert set(held.filter(pl.col("etag").is_null())["uri"]) == chosen
    assert held["attempts"].to_list() == [1, 1, 1]
    assert quarantine.forget(db, "media", **choice) == len(chosen)  # type: ignore[arg-type]
    assert set(quarantine.load(db, "media")["uri"]) == {"a", "b", "c'"} - chosen


def test_an_object_marked_for_retry_that_fails_again_is_held_back_again(db: lancedb.DBConnection) -> None:
    quarantine.record(db, "media", failures("a"), "g1")
    quarantine.mark_for_retry(db, "media")
    quarantine.record(db, "media", failures("a"), "g1")
    assert quarantine.load(db, "media").select("etag", "size", "attempts").rows() == [("e1", 7, 2)]


def test_a_hundred_thousand_failures_are_quick(db: lancedb.DBConnection) -> None:
    uris = [f"s3://bucket/folder/{k:06}.jpg" for k in range(100_000)]
    many = failures("x").select(pl.exclude("uri")).join(pl.DataFrame({"uri": uris}), how="cross")
    began = perf_counter()
    quarantine.record(db, "media", many, "g1")
    quarantine.record(db, "media", failures(uris[3]), "g1")
    assert quarantine.load(db, "media", "s3://bucket").height == 100_000
    assert quarantine.mark_for_retry(db, "media") == 100_000
    quarantine.release(db, "media", uris[1:])
    assert quarantine.load(db, "media")["uri"].to_list() == uris[:1]
    assert perf_counter() - began < 10
