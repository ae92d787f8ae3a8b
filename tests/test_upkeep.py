"""Upkeep changes no row, moves readers only where it may, does nothing where nothing is worth it, and drops what is old."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import lancedb
import pytest
from lancedb.index import IvfRq
from lancedb.table import Table
from table_rows import DIMENSION, Objects, contents, stream, vector

from storage import quarantine, runs, table, upkeep

NOW = timedelta(0)


@pytest.fixture
def db(tmp_path: Path) -> lancedb.DBConnection:
    return table.connect(str(tmp_path))


@pytest.fixture
def media(db: lancedb.DBConnection) -> Table:
    return table.create(db, "media", "{}", "g1", DIMENSION)


def put(media: Table, objects: Objects) -> int:
    return table.commit(media, list(objects), lambda: stream(objects, text="a red dog"))


def many(media: Table, commits: int, first: int = 0) -> dict[str, tuple[str, int]]:
    put_there: dict[str, tuple[str, int]] = {}
    for k in range(first, first + commits):
        objects = {f"{k}-{n}": ("v1", 1 + n % 3) for n in range(10)}
        put(media, objects)
        put_there |= objects
    return put_there


def fragments(media: Table) -> int:
    return len(media.to_lance().get_fragments())


def test_many_small_fragments_become_one_and_the_rows_stay_the_same(media: Table) -> None:
    objects = many(media, 12)
    tidied = upkeep.tidy(media)
    assert fragments(media) == 1
    assert (tidied.version, tidied.merged) == (media.version, 12)
    assert contents(media) == objects


def test_tidying_twice_makes_no_version(media: Table) -> None:
    many(media, 12)
    put(media, {"0-0": ("v2", 1)})
    version = upkeep.tidy(media).version
    assert upkeep.tidy(media) == (version, 0, 0, 0)


def test_an_empty_table_and_one_small_change_are_not_worth_a_version(media: Table) -> None:
    assert upkeep.tidy(media).version == media.version == 2
    many(media, 12)
    upkeep.tidy(media)
    version = put(media, {"0-0": ("v2", 1)})
    assert upkeep.tidy(media) == (version, 0, 0, 0)


def test_a_few_small_fragments_are_left_alone(media: Table) -> None:
    many(media, upkeep.SMALL_FRAGMENTS - 1)
    assert upkeep.tidy(media).merged == 0
    assert fragments(media) == upkeep.SMALL_FRAGMENTS - 1


def test_fragments_that_lost_a_tenth_of_their_rows_are_rewritten(media: Table) -> None:
    put(media, {str(k): ("v1", 1) for k in range(100)})
    upkeep.tidy(media)
    table.commit(media, [str(k) for k in range(9)], None)
    assert upkeep.tidy(media).merged == 0
    table.commit(media, [str(k) for k in range(12)], None)
    assert upkeep.tidy(media).merged == 1
    assert contents(media) == {str(k): ("v1", 1) for k in range(12, 100)}


def test_indices_follow_once_a_tenth_of_the_rows_is_unindexed(media: Table) -> None:
    many(media, 12)
    rows = media.count_rows()
    assert upkeep.tidy(media).indexed == rows
    put(media, {f"few-{k}": ("v1", 1) for k in range(rows // 20)})
    assert upkeep.tidy(media).indexed == 0
    put(media, {f"more-{k}": ("v1", 1) for k in range(rows // 10)})
    assert upkeep.tidy(media).indexed == rows // 20 + rows // 10
    assert len(media.search("dog", query_type="fts", fts_columns="text").limit(10**6).to_list()) == media.count_rows()


def test_a_vector_index_is_followed_up_and_finds_replaced_objects_by_their_new_vectors(media: Table) -> None:
    objects = many(media, 30)
    media.create_index("vector", config=IvfRq(distance_type="cosine", num_partitions=2))
    for etag in ("v2", "v3"):
        changed = {uri: (etag, n) for uri, (_, n) in list(objects.items())[:60]}
        put(media, changed)
        upkeep.tidy(media)
        objects |= changed
        for uri in list(changed)[::10]:
            # eight bits a vector are coarse: every candidate is looked at again
            query = media.search(vector(uri, etag, 0), vector_column_name="vector").distance_type("cosine")
            best = query.nprobes(20).refine_factor(700).limit(1).to_list()[0]
            assert (best["uri"], best["segment"]) == (uri, 0) and best["_distance"] < 0.01
    stats = media.index_stats("vector_idx")
    assert stats is not None and stats.num_unindexed_rows == 0
    assert contents(media) == objects


# -- readers -----------------------------------------------------------------------------------------------------------------------------


def test_readers_move_along_where_the_latest_version_was_published(db: lancedb.DBConnection, media: Table) -> None:
    objects = many(media, 12)
    table.publish(media, media.version)
    upkeep.tidy(media)
    assert table.published_version(media) == media.version
    assert contents(table.published(db, "media")) == objects


def test_readers_stay_where_the_latest_version_was_not_published(db: lancedb.DBConnection, media: Table) -> None:
    objects = many(media, 12)
    table.publish(media, media.version)
    published = media.version
    many(media, 12, first=100)
    upkeep.tidy(media, keep=NOW)
    assert table.published_version(media) == published
    assert contents(table.published(db, "media")) == objects
    assert contents(media).keys() > objects.keys()


def test_a_reader_keeps_its_version_while_it_is_tidied(db: lancedb.DBConnection, media: Table) -> None:
    objects = many(media, 12)
    table.publish(media, media.version)
    reader = table.published(db, "media")
    put(media, {"0-0": ("v2", 3)})
    upkeep.tidy(media)
    assert contents(reader) == objects


# -- old versions and leftovers ----------------------------------------------------------------------------------------------------------


def test_versions_older_than_the_window_go_and_their_bytes_with_them(media: Table, tmp_path: Path) -> None:
    objects = many(media, 12)
    assert upkeep.tidy(media, keep=timedelta(hours=1)).freed == 0
    assert len(media.list_versions()) > 12
    assert upkeep.tidy(media, keep=NOW).freed > 0
    assert len(media.list_versions()) == 1
    assert len(list((tmp_path / "media.lance" / "data").iterdir())) == 1
    assert contents(media) == objects


def test_half_written_files_older_than_a_day_are_swept_and_younger_ones_left(media: Table, tmp_path: Path) -> None:
    objects = many(media, 1)
    data = tmp_path / "media.lance" / "data"
    for name, days in (("old", 2), ("young", 0.5)):
        file = data / f".tmp{name}"
        file.write_bytes(b"half" * 100)
        os.utime(file, (time.time() - days * 86_400,) * 2)
    assert upkeep.sweep(media) == 400
    assert [path.name for path in data.glob(".tmp*")] == [".tmpyoung"]
    assert contents(media) == objects


def test_the_tables_beside_are_tidied_too(db: lancedb.DBConnection, media: Table) -> None:
    assert list(upkeep.tidy_all(db, "media")) == ["media"]
    for k in range(10):
        runs.start(db, "media", f"r{k}", "s3://bucket")
        runs.finish(db, "media", {"run": f"r{k}", "source": "s3://bucket"})
    tidied = upkeep.tidy_all(db, "media", keep=NOW)
    assert list(tidied) == ["media", runs.table_name("media")]
    assert tidied[runs.table_name("media")].merged > 0
    assert runs.latest(db, "media", 99).height == 10
    assert quarantine.load(db, "media").is_empty()


def test_nothing_is_tidied_where_no_table_is(db: lancedb.DBConnection) -> None:
    assert upkeep.tidy_all(db, "media") == {}
