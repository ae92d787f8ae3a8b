"""A column beside the pipeline's own: made and updated in one version, never over somebody else's, and the table stays what it was."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import lancedb
import polars as pl
import pyarrow as pa
import pytest
from lancedb.index import Bitmap, IvfFlat
from lancedb.table import Table
from table_rows import DIMENSION, batch, content, contents, stream, vector

from storage import batches, columns, schema, table, upkeep
from storage.errors import TableError

OBJECTS = {f"s3://b/{k}'%_.jpg": ("v1", 1 + k % 3) for k in range(12)}
FIRST, SECOND, THIRD = list(OBJECTS)[:3]


@pytest.fixture
def db(tmp_path: Path) -> lancedb.DBConnection:
    return table.connect(str(tmp_path))


@pytest.fixture
def media(db: lancedb.DBConnection) -> Table:
    """Three fragments, one of which has lost rows, indexed and published."""
    media = table.create(db, "media", "{}", "g1", DIMENSION)
    for k in range(0, 12, 4):
        put(media, dict(list(OBJECTS.items())[k : k + 4]))
    put(media, {"s3://b/gone": ("v1", 2)})
    table.commit(media, ["s3://b/gone"], None)
    media.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=1))
    media.to_lance().optimize.optimize_indices()
    table.publish(media, upkeep.tidy(media).version)
    return media


def put(media: Table, objects: dict[str, tuple[str, int]]) -> int:
    return table.commit(media, list(objects), lambda: stream(objects, text="a red dog"))


def values(labels: dict[str, str | None], etag: str = "v1", probability: float | None = 0.25) -> pl.DataFrame:
    rows = [(uri, content(uri, etag), label, label and probability) for uri, label in labels.items()]
    return pl.DataFrame(rows, schema={"uri": pl.String, "content_hash": pl.String, "kind": pl.String, "sure": pl.Float32}, orient="row")


def write(media: Table, labels: dict[str, str | None], **how) -> columns.Written:
    return columns.write(media, values(labels, **how), "classify")


def held(media: Table) -> dict[str, tuple[str | None, float | None]]:
    """Label and probability by object; an object whose rows differ fails here."""
    found: dict[str, tuple[str | None, float | None]] = {}
    for row in media.search().select(["uri", "kind", "sure"]).limit(None).to_list():
        assert found.setdefault(row["uri"], (row["kind"], row["sure"])) == (row["kind"], row["sure"])
    return found


def test_a_new_column_is_one_version_in_which_every_row_of_an_object_has_its_value(media: Table) -> None:
    before = media.version
    written = write(media, {FIRST: "dog", SECOND: "cat", THIRD: None})
    assert written == (before + 1, True, 3, 0) and media.version == before + 1
    assert held(media) == dict.fromkeys(OBJECTS, (None, None)) | {FIRST: ("dog", 0.25), SECOND: ("cat", 0.25)}
    assert contents(media) == OBJECTS


def test_an_update_is_one_version_and_leaves_objects_alone_that_it_does_not_name(media: Table) -> None:
    version = write(media, {FIRST: "dog", SECOND: "cat"}).version
    assert write(media, {SECOND: None, THIRD: "bird"}, probability=0.5) == (version + 1, True, 2, 0)
    assert held(media) == dict.fromkeys(OBJECTS, (None, None)) | {FIRST: ("dog", 0.25), THIRD: ("bird", 0.5)}
    assert media.schema.names == [*schema.rows(DIMENSION).names, "kind", "sure"]


def test_indices_still_cover_every_row_and_find_them(media: Table) -> None:
    for label in ("dog", "cat"):
        write(media, dict.fromkeys(OBJECTS, label))
        assert {index.name: index.num_unindexed_rows for index in media.list_indices()} == {"text_idx": 0, "vector_idx": 0}
        assert media.search(vector(FIRST, "v1", 0)).limit(1).to_list()[0]["uri"] == FIRST
        assert len(media.search("dog", query_type="fts").limit(100).to_list()) == media.count_rows()


def test_an_index_on_the_column_itself_never_answers_with_old_values(media: Table) -> None:
    write(media, {FIRST: "dog", SECOND: "cat"})
    media.create_index("kind", config=Bitmap())
    write(media, {FIRST: "cat"})
    assert {row["uri"] for row in media.search().where("kind = 'cat'").limit(None).to_list()} == {FIRST, SECOND}
    assert media.count_rows("kind = 'dog'") == 0


def test_readers_are_moved_along_only_if_they_saw_the_latest_version(db: lancedb.DBConnection, media: Table) -> None:
    seen = write(media, {FIRST: "dog"}).version
    assert table.published(db, "media").version == seen
    put(media, {"s3://b/new": ("v1", 1)})
    written = write(media, {FIRST: "cat"})
    assert not written.published and table.published(db, "media").version == seen
    assert held(table.published(db, "media"))[FIRST] == ("dog", 0.25)


def test_an_object_that_changed_or_vanished_meanwhile_is_left_alone_and_counted(media: Table) -> None:
    put(media, {FIRST: ("v2", 1)})
    assert write(media, {FIRST: "dog", SECOND: "cat", "s3://b/gone": "bird"})[2:] == (1, 2)
    assert held(media)[FIRST] == (None, None) and held(media)[SECOND] == ("cat", 0.25)


def test_nothing_to_write_makes_no_version(media: Table) -> None:
    version = media.version
    assert (write(media, {}), write(media, {FIRST: "dog"}, etag="v9")) == ((version, True, 0, 0), (version, True, 0, 1))
    assert media.version == version and "kind" not in media.schema.names


def test_new_and_changed_objects_have_null_there_and_others_keep_theirs(media: Table) -> None:
    write(media, dict.fromkeys(OBJECTS, "dog"))
    put(media, {FIRST: ("v2", 2), "s3://b/new": ("v1", 3)})
    assert held(media) == dict.fromkeys(OBJECTS, ("dog", 0.25)) | {FIRST: (None, None), "s3://b/new": (None, None)}
    assert contents(media) == OBJECTS | {FIRST: ("v2", 2), "s3://b/new": ("v1", 3)}
    upkeep.tidy(media, timedelta(0))
    assert write(media, {FIRST: "cat"}, etag="v2").objects == 1
    assert held(media)[FIRST] == ("cat", 0.25) and held(media)[SECOND] == ("dog", 0.25)


def test_rows_that_were_staged_before_the_column_was_made_have_null_there(media: Table) -> None:
    staged = batch({"s3://b/new": ("v1", 2)})
    write(media, {FIRST: "dog"})
    chained = batches.chain(media.schema, [pa.RecordBatchReader.from_batches(staged.schema, [staged])])
    table.commit(media, ["s3://b/new"], lambda: chained)
    assert held(media)["s3://b/new"] == (None, None)


def test_a_copy_takes_its_donors_value_along_from_whatever_version(media: Table) -> None:
    before = media.version
    write(media, {FIRST: "dog"})
    new, old = (table.rows_with_content(media, v, [content(FIRST, "v1")]).read_all() for v in (media.version, before))
    assert new.schema.names == old.schema.names == media.schema.names
    assert set(new["kind"].to_pylist()) == {"dog"} and set(old["kind"].to_pylist()) == {None}


def test_a_column_that_the_table_needs_is_never_filled_with_null(media: Table) -> None:
    write(media, {FIRST: "dog"})
    short = batch({"a": ("v1", 1)}).drop_columns(["text"])
    with pytest.raises(TableError, match="columns"):
        table.commit(media, ["a"], lambda: pa.RecordBatchReader.from_batches(short.schema, [short]))


@pytest.mark.parametrize("name", [*schema.rows(1).names[1:6], "vector", "URI", "_distance", "a b", "", "1st", "a.b"])
def test_names_of_the_pipeline_and_of_no_column_are_refused(media: Table, name: str) -> None:
    version = media.version
    with pytest.raises(TableError) as refusal:
        columns.write(media, values({FIRST: "dog"}).rename({"kind": name}), "classify")
    assert refusal.value.reason == "refused" and media.version == version


def test_a_column_that_somebody_else_made_or_of_another_type_is_never_overwritten(media: Table) -> None:
    media.to_lance().add_columns({"kind": "'mine'"})
    version = columns.latest(media).version
    with pytest.raises(TableError, match="did not make"):
        write(media, {FIRST: "dog"})
    columns.write(media, values({FIRST: "dog"}).rename({"kind": "sort"}), "classify")
    for changed, maker in (
        (values({FIRST: "dog"}).select("uri", "content_hash", pl.lit("x").alias("sure")), "classify"),
        (values({}), "cluster"),
    ):
        with pytest.raises(TableError, match="choose another name"):
            columns.write(media, changed.rename({"kind": "sort"}, strict=False), maker)
    assert media.version == version + 1
    assert {row["kind"] for row in media.search().select(["kind"]).limit(None).to_list()} == {"mine"}


def test_what_cannot_be_read_back_is_told(media: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    added = columns._added
    monkeypatch.setattr(columns, "_added", lambda dataset, rows: added(dataset, rows.slice(1)))
    with pytest.raises(TableError, match="read back"):
        write(media, {FIRST: "dog", SECOND: "cat"})
