"""Which index a table gets, what of it travels with a version, and that a search through it finds what it must."""

from __future__ import annotations

from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from lancedb.table import Table
from table_rows import DIMENSION, batch, contents, vector

from storage import index, table, upkeep
from storage.errors import TableError
from storage.index import IndexRules, SearchSettings

SMALL = IndexRules(partition=100)
CHOSEN = SearchSettings(nprobes=7, refine=30)


@pytest.fixture
def db(tmp_path: Path) -> lancedb.DBConnection:
    return table.connect(str(tmp_path))


@pytest.fixture
def media(db: lancedb.DBConnection) -> Table:
    made = table.create(db, "media", "{}", "g1", DIMENSION)
    put(made, "u", 1000)
    return made


def put(media: Table, name: str, count: int, etag: str = "v1", modality: str = "image") -> dict[str, tuple[str, int]]:
    objects = {f"{name}{k:05d}": (etag, 1) for k in range(count)}
    made = batch(objects, modality=modality)
    table.commit(media, list(objects), lambda: pa.RecordBatchReader.from_batches(made.schema, [made]))
    return objects


def best(media: Table, query: np.ndarray, where: str = "", limit: int = 1) -> list[str]:
    found = index.nearest(media, query, index.search_settings(media), where).limit(limit).select(["uri", "_distance"]).to_arrow()
    return [str(uri) for uri in found["uri"].to_pylist()]


# -- deciding ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "dimension", "worth"),
    [(39_062, 256, False), (39_063, 256, True), (78_125, 128, True), (78_124, 128, False), (9_766, 1024, True), (720, 128, False)],
)
def test_an_index_is_worth_it_from_as_many_numbers_as_a_search_of_every_row_reads_in_25_ms(rows: int, dimension: int, worth: bool) -> None:
    assert IndexRules().worth_it(rows, dimension) is worth


def test_partitions_hold_about_as_many_rows_as_the_rules_say() -> None:
    assert [IndexRules(partition=100).partitions(rows) for rows in (0, 40, 100, 1000, 1049)] == [1, 1, 1, 10, 10]


# -- settings ----------------------------------------------------------------------------------------------------------------------------


def test_a_table_that_was_never_measured_has_the_default_settings(media: Table) -> None:
    assert index.search_settings(media) == SearchSettings(20, 10)


def test_settings_survive_whatever_is_done_to_the_table(media: Table) -> None:
    index.build(media, index.RQ, SMALL)
    index.keep(media, CHOSEN, rows=1000)
    put(media, "u", 50, "v2")
    assert index.search_settings(media) == CHOSEN
    for k in range(10):
        put(media, f"n{k}", 30)
    upkeep.tidy(media)
    assert index.search_settings(media) == CHOSEN
    table.commit(media, [f"u{k:05d}" for k in range(300)], None)
    upkeep.tidy(media)
    assert index.search_settings(media) == CHOSEN
    media.add(batch({"late": ("v1", 1)}))
    assert index.search_settings(media) == CHOSEN


def test_settings_travel_with_their_version(db: lancedb.DBConnection, media: Table) -> None:
    before = media.version
    first = index.keep(media, CHOSEN)
    index.keep(media, SearchSettings(80, 10))
    table.publish(media, first)
    assert index.search_settings(table.published(db, "media")) == CHOSEN
    reader = db.open_table("media")
    reader.checkout(before)
    assert index.search_settings(reader) == SearchSettings()
    media.restore(first)
    assert index.search_settings(media) == CHOSEN


def test_settings_that_stand_there_already_make_no_version(media: Table) -> None:
    version = index.keep(media, CHOSEN, rows=1000, recall={"all": 0.99})
    assert index.keep(media, CHOSEN, rows=1000, recall={"all": 0.99}) == version
    assert index.keep(media, CHOSEN, rows=1001, recall={"all": 0.99}) == version + 1


@pytest.mark.parametrize("written", ["{", "{}", '{"nprobes": "many", "refine": 10}', "[]"])
def test_settings_that_cannot_be_read_are_refused_in_words(media: Table, written: str) -> None:
    media.to_lance().update_config({index.SETTINGS: written})
    media.checkout_latest()
    with pytest.raises(TableError, match="sensorium maintain"):
        index.search_settings(media)


# -- the index ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [index.RQ, index.SQ])
def test_an_index_is_built_over_all_rows_and_its_scores_are_cosines(media: Table, kind: str) -> None:
    index.build(media, kind, SMALL)
    state = index.state(media)
    assert (state.kind, state.rows, state.unindexed, state.parts) == (kind, 1000, 0, 1) and state.bytes > 0
    query = vector("u00007", "v1", 0)
    rows = index.nearest(media, query, SearchSettings(10, 40)).limit(5).select(["uri", "vector", "_distance"]).to_list()
    assert rows[0]["uri"] == "u00007"
    for row in rows:
        assert 1 - row["_distance"] == pytest.approx(float(np.dot(np.array(row["vector"], np.float64), query)), abs=2e-3)


def test_an_index_that_was_not_measured_yet_is_asked_with_the_widest_settings(media: Table) -> None:
    index.keep(media, CHOSEN)
    index.build(media, index.RQ, SMALL)
    assert index.search_settings(media) == index.WIDEST
    assert index.state(media).kept["pending"] is True


def test_new_and_changed_rows_are_found_at_once(media: Table) -> None:
    index.build(media, index.RQ, SMALL)
    index.keep(media, SearchSettings(10, 10))
    put(media, "new", 20)
    put(media, "u", 20, "v2")
    assert index.state(media).unindexed == 40
    for name, etag in (("new", "v1"), ("u", "v2")):
        for k in range(20):
            uri = f"{name}{k:05d}"
            assert best(media, vector(uri, etag, 0)) == [uri]


def test_rows_that_are_gone_are_not_found(media: Table) -> None:
    index.build(media, index.RQ, SMALL)
    index.keep(media, SearchSettings(10, 40))
    assert best(media, vector("u00003", "v1", 0)) == ["u00003"]
    table.commit(media, ["u00003"], None)
    assert best(media, vector("u00003", "v1", 0)) != ["u00003"]


@pytest.mark.parametrize("filters", [False, True])
def test_a_narrow_filter_finds_all_that_it_leaves_though_they_lie_in_other_partitions(media: Table, filters: bool) -> None:
    put(media, "t", 6, modality="text")
    if filters:
        index.index_filters(media)
    index.build(media, index.RQ, SMALL)
    index.keep(media, SearchSettings(1, 1))
    for k in range(5):
        assert sorted(best(media, vector(f"u{k:05d}", "v1", 0), "modality = 'text'", 10)) == [f"t{k:05d}" for k in range(6)]


def test_filters_are_indexed_once_and_follow_new_and_changed_rows(media: Table) -> None:
    index.index_filters(media)
    version = media.version
    index.index_filters(media)
    assert media.version == version
    put(media, "t", 30, modality="text")
    put(media, "u", 5, "v2", modality="audio")
    assert media.count_rows("modality = 'audio'") == 5
    assert len(media.search().where("medium = 'text'").limit(None).to_list()) == 30
    upkeep.tidy(media)
    assert media.count_rows("modality = 'image'") == 995


def test_an_index_is_taken_away_with_its_settings_and_only_once(media: Table) -> None:
    there = contents(media)
    index.build(media, index.RQ, SMALL)
    index.keep(media, CHOSEN)
    index.drop(media)
    version = media.version
    state = index.state(media)
    assert (state.kind, state.unindexed, state.kept) == (index.NONE, 1000, {})
    assert index.search_settings(media) == SearchSettings()
    index.drop(media)
    assert media.version == version and contents(media) == there


def test_follow_ups_add_parts_and_a_build_makes_one_of_them(media: Table) -> None:
    index.build(media, index.RQ, SMALL)
    for k in range(4):
        put(media, f"n{k}", 300)
        upkeep.tidy(media)
        assert index.state(media).unindexed == 0
    assert 2 <= index.state(media).parts <= 5  # the engine merges some
    index.build(media, index.RQ, SMALL)
    assert index.state(media).parts == 1
