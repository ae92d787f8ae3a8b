"""The table holds what a plain dict would after the same commits, whatever the URIs, and readers see published versions alone."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import lancedb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lance.fragment import write_fragments
from lancedb.index import Bitmap, BTree, IvfFlat
from lancedb.table import Table
from table_rows import DIMENSION, NOW, Objects, batch, content, contents, stream, vector

from storage import embedding, replace, table, upkeep
from storage.errors import TableError

ODD = [
    "s3://bucket/plain.jpg",
    "s3://bucket/it's.jpg",
    "s3://bucket/''.jpg",
    's3://bucket/"quoted".jpg',
    "s3://bucket/back\\slash\\'.jpg",
    "s3://bucket/new\nline\r.jpg",
    "s3://bucket/100%.jpg",
    "s3://bucket/100%25.jpg",
    "s3://bucket/a_b?c#d.jpg",
    "s3://bucket/ space .jpg",
    "s3://bucket/猫/照片.JPG",
    "s3://bucket/😀--;/*.jpg",
    "s3://bucket/e\u0301.jpg",
    "s3://bucket/é.jpg",
]


@pytest.fixture
def db(tmp_path: Path) -> lancedb.DBConnection:
    return table.connect(str(tmp_path / "database"))


@pytest.fixture
def media(db: lancedb.DBConnection) -> Table:
    return table.create(db, "media", '{"name": "test"}', "g1", DIMENSION)


def commit(media: Table, changes: dict[str, tuple[str, int] | None]) -> int:
    there: Objects = {uri: state for uri, state in changes.items() if state}
    return table.commit(media, list(changes), lambda: stream(there), properties={"sensorium.run": "r1"})


# -- commits -----------------------------------------------------------------------------------------------------------------------------

STATES = st.none() | st.tuples(st.sampled_from(["v1", "v2", "v3"]), st.integers(1, 4))
STEPS = st.lists(st.dictionaries(st.sampled_from(ODD), STATES, min_size=1, max_size=6) | st.just("tidy"), min_size=1, max_size=6)


@pytest.mark.parametrize("indexed", [False, True])
def test_any_sequence_of_commits_leaves_what_a_dict_would_hold_and_makes_one_version_each(indexed: bool) -> None:
    @settings(max_examples=20, deadline=None)
    @given(STEPS)
    def holds(steps: list[dict[str, tuple[str, int] | None] | str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            media = table.create(table.connect(folder), "media", "{}", "g1", DIMENSION)
            if indexed:
                index_everything(media)
            model: dict[str, tuple[str, int]] = {}
            for step in steps:
                before = media.version
                if isinstance(step, str):
                    media.optimize()
                    continue
                something = any(state is not None or uri in model for uri, state in step.items())
                assert commit(media, step) == media.version == before + something
                model = {uri: state for uri, state in (model | step).items() if state}
                assert contents(media) == model

    holds()


def index_everything(media: Table) -> None:
    media.create_index("uri", config=BTree())
    media.create_index("modality", config=Bitmap())
    media.create_index("vector", config=IvfFlat(distance_type="cosine", num_partitions=1))


def test_with_every_index_present_and_followed_up_a_changed_object_is_found_by_its_new_vector_alone(media: Table) -> None:
    index_everything(media)
    commit(media, dict.fromkeys(ODD, ("v1", 3)))
    media.optimize()
    commit(media, {ODD[1]: ("v2", 1)})
    for state in ("before", "after"):
        for etag, nearest in (("v1", False), ("v2", True)):
            query = vector(ODD[1], etag, 0)
            found = media.search(query, vector_column_name="vector").distance_type("cosine").limit(1).to_list()[0]
            assert (found["_distance"] < 0.01) is nearest, state
        assert media.count_rows(f"uri = {table.literal(ODD[1])}") == 1
        media.optimize()


def test_a_commit_that_changes_nothing_makes_no_version(media: Table) -> None:
    version = commit(media, {ODD[0]: ("v1", 2)})
    assert table.commit(media, ["s3://bucket/never seen"], None) == version
    assert table.commit(media, [], None) == media.version == version


def test_a_hundred_thousand_vanished_objects_leave_in_one_version(media: Table) -> None:
    uris = [f"s3://bucket/{k}'s.jpg" for k in range(100_000)]
    one = batch({"x": ("v1", 1)})
    many = pa.record_batch([pa.array(uris), *(column.take(pa.array([0] * len(uris))) for column in one.columns[1:])], schema=one.schema)
    version = table.commit(media, uris, lambda: pa.RecordBatchReader.from_batches(many.schema, [many]))
    commit(media, {ODD[0]: ("v1", 1)})
    assert table.commit(media, uris, None) == version + 2
    assert contents(media) == {ODD[0]: ("v1", 1)}


def test_a_version_names_the_run_that_made_it(media: Table) -> None:
    for change in ({ODD[0]: ("v1", 1)}, {ODD[0]: ("v2", 2)}, {ODD[0]: None}):
        version = commit(media, change)
        assert media.to_lance().read_transaction(version).transaction_properties["sensorium.run"] == "r1"


@pytest.mark.parametrize(
    ("uris", "rows", "word"),
    [
        (["a"], batch({"a": ("v1", 1), "b": ("v1", 1)}), "not named"),
        (["a"], batch({"a": ("v1", 3)}).slice(1), "from 0 on"),
        (["a"], batch({"a": ("v1", 3)}).take(pa.array([0, 2])), "from 0 on"),
        (["a"], batch({"a": ("v1", 2)}).take(pa.array([0, 1, 1])), "share"),
        (["a"], batch({"a": ("v1", 1)}).drop_columns(["etag"]), "columns"),
    ],
)
def test_rows_that_do_not_fit_are_refused_before_anything_is_committed(
    media: Table, uris: list[str], rows: pa.RecordBatch, word: str
) -> None:
    version = commit(media, {"a": ("v0", 1)})
    with pytest.raises(TableError, match=word) as refusal:
        table.commit(media, uris, lambda: pa.RecordBatchReader.from_batches(rows.schema, [rows]))
    assert refusal.value.reason == "refused"
    assert media.version == version
    assert contents(media) == {"a": ("v0", 1)}


def test_a_stream_that_breaks_off_changes_nothing(media: Table) -> None:
    version = commit(media, {"a": ("v0", 1)})

    def broken() -> Iterator[pa.RecordBatch]:
        yield batch({"a": ("v1", 1)})
        raise OSError("the staged file ends here")

    schema = batch({}).schema
    with pytest.raises(TableError, match="the staged file ends here"):
        table.commit(media, ["a", "b"], lambda: pa.RecordBatchReader.from_batches(schema, broken()))
    assert media.to_lance().latest_version == version


# -- other writers -----------------------------------------------------------------------------------------------------------------------


def interfere(monkeypatch: pytest.MonkeyPatch, times: int, other: object) -> None:
    """Let another writer commit after a commit has looked up its rows, `times` times."""
    look_up = replace._addresses
    left = iter(range(times))

    def then_the_other(*args: object) -> np.ndarray:
        found = look_up(*args)  # type: ignore[arg-type]
        if next(left, None) is not None:
            other()  # type: ignore[operator]
        return found

    monkeypatch.setattr(replace, "_addresses", then_the_other)


def test_a_commit_that_another_writer_overtakes_is_redone(db: lancedb.DBConnection, media: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    commit(media, {"a": ("v1", 3), "b": ("v1", 2), "c": ("v1", 1)})
    other = db.open_table("media")
    interfere(monkeypatch, 1, lambda: other.delete("uri = 'b'"))
    commit(media, {"a": ("v2", 1)})
    assert contents(media) == {"a": ("v2", 1), "c": ("v1", 1)}


def test_a_commit_that_is_overtaken_every_time_gives_up_and_says_so(
    db: lancedb.DBConnection, media: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: Objects = {str(k): ("v1", 1) for k in range(20)}
    commit(media, dict(before))
    other = db.open_table("media")
    victims = iter(range(1, 20))
    interfere(monkeypatch, 99, lambda: other.delete(f"uri = '{next(victims)}'"))
    with pytest.raises(TableError) as overtaken:
        commit(media, {"0": ("v2", 1)})
    assert overtaken.value.reason == "conflict"
    media.checkout_latest()
    assert contents(media)["0"] == ("v1", 1)


def test_rows_that_another_writer_doubles_are_found_on_reading_back(
    db: lancedb.DBConnection, media: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append() -> None:
        dataset = db.open_table("media").to_lance()
        fragments = write_fragments(stream({"a": ("v1", 2)}), dataset)
        lance_append(dataset, fragments)

    interfere(monkeypatch, 1, append)
    with pytest.raises(TableError, match="2 rows of 1 keys were sent, 4 of 1") as found:
        commit(media, {"a": ("v1", 2)})
    assert found.value.reason == "read back"


def lance_append(dataset: object, fragments: object) -> None:
    import lance

    lance.LanceDataset.commit(dataset, lance.LanceOperation.Append(fragments), read_version=dataset.version)  # type: ignore


def test_the_same_commit_sent_twice_leaves_one_copy(media: Table) -> None:
    for _ in range(2):
        commit(media, {"a": ("v1", 2), "b": ("v1", 1)})
    assert contents(media) == {"a": ("v1", 2), "b": ("v1", 1)}


# -- what is there -----------------------------------------------------------------------------------------------------------------------


def test_present_gives_one_row_for_each_object_whatever_its_name(media: Table) -> None:
    commit(media, {uri: ("v1", 1 + k % 3) for k, uri in enumerate(ODD)})
    frame = table.present(media, "s3://bucket")
    assert frame.columns == ["uri", "etag", "size", "modified", "content_hash", "medium"]
    assert sorted(frame["uri"]) == sorted(ODD)
    assert frame.row(0)[1:4] == ("v1", 1, NOW)
    assert set(frame["content_hash"]) == {content(uri, "v1") for uri in ODD}


@pytest.mark.parametrize("root", ["/a_b", "/a%b", "/a'b", "/a\\b", "/猫", "/a b", "memory://x", "s3://bucket/p", "/", "memory:/"])
def test_present_takes_the_root_literally(media: Table, root: str) -> None:
    slash = "" if root.endswith("/") else "/"
    inside = [f"{root}{slash}{name}" for name in ("x.jpg", "deep/y.jpg", "\U0010ffff", " ", "0")] + [root]
    outside = [
        "/aXb/x.jpg",
        "/axyzb/x.jpg",
        f"{root}x/z.jpg",
        f"{root}.jpg",
        f"{root}0",
        f"{root}-1/x",
        f"x{root}/x.jpg",
        "s3://bucket/q/x",
    ]
    outside = [uri for uri in outside if not uri.startswith(root + slash) and uri != root]
    commit(media, dict.fromkeys([*inside, *outside], ("v1", 1)))
    assert sorted(table.present(media, root)["uri"]) == sorted(inside)


def test_the_root_may_end_in_a_slash(media: Table) -> None:
    commit(media, dict.fromkeys(ODD, ("v1", 1)))
    assert table.present(media, "s3://bucket/").equals(table.present(media, "s3://bucket"))


def test_a_new_table_holds_nothing(media: Table) -> None:
    assert table.present(media, "s3://bucket").is_empty()
    assert table.count(media).is_empty()
    assert table.rows_with_content(media, media.version, ["0" * 64]).read_all().num_rows == 0


def test_count_tells_objects_and_rows_by_modality(media: Table) -> None:
    commit(media, {"a": ("v1", 3), "b": ("v1", 1)})
    table.commit(media, ["c", "d"], lambda: stream({"c": ("v1", 5), "d": ("v1", 1)}, modality="audio"))
    assert table.count(media).rows() == [("audio", "audio", 2, 6), ("image", "image", 2, 4)]


def test_rows_are_found_by_content_as_they_stood_in_a_version(media: Table) -> None:
    version = commit(media, {"a": ("v1", 3), "b": ("v1", 2)})
    commit(media, {"a": None})
    wanted = [content("a", "v1"), *("0" * 60 + f"{k:04}" for k in range(2500))]
    rows = table.rows_with_content(media, version, wanted).read_all()
    assert rows["uri"].to_pylist() == ["a"] * 3
    assert rows["segment"].to_pylist() == [0, 1, 2]
    np.testing.assert_allclose(np.asarray(rows["vector"].to_pylist())[2], vector("a", "v1", 2), atol=1e-3)
    assert table.rows_with_content(media, media.version, wanted).read_all().num_rows == 0


# -- creation ----------------------------------------------------------------------------------------------------------------------------


def test_a_table_says_its_space_and_generation_after_any_change(db: lancedb.DBConnection, media: Table) -> None:
    commit(media, {"a": ("v1", 1)})
    commit(media, {"a": ("v2", 2)})
    upkeep.tidy(media)
    again = table.open_table(db, "media")
    assert again is not None
    assert (table.space_json(again), table.generation(again)) == ('{"name": "test"}', "g1")


def test_a_table_of_another_generation_is_refused(db: lancedb.DBConnection, media: Table) -> None:
    with pytest.raises(TableError, match="holds generation g1, not g2") as refusal:
        table.create(db, "media", "{}", "g2", DIMENSION)
    assert refusal.value.reason == "another generation"


def test_a_table_that_is_not_ours_says_so(db: lancedb.DBConnection) -> None:
    foreign = db.create_table("foreign", [{"uri": "a"}])
    with pytest.raises(TableError, match="was not made by"):
        table.generation(foreign)


@pytest.mark.parametrize("left", ["", "_versions/.tmp_1.manifest_x", "_transactions/0-x.txn", "data/.tmpx", "_indices/x/.tmpx"])
def test_a_creation_that_was_cut_off_counts_as_no_table_and_can_be_done_again(db: lancedb.DBConnection, tmp_path: Path, left: str) -> None:
    file = tmp_path / "database" / "media.lance" / left
    file.parent.mkdir(parents=True, exist_ok=True)
    file.mkdir() if left == "" else file.write_bytes(b"half")
    assert table.open_table(db, "media") is None
    commit(table.create(db, "media", "{}", "g1", DIMENSION), {"a": ("v1", 1)})


def test_a_table_whose_creation_ended_before_its_index_gets_it_from_the_next_create(db: lancedb.DBConnection, media: Table) -> None:
    media.drop_index("text_idx")
    table.create(db, "media", "{}", "g1", DIMENSION)
    media.checkout_latest()
    assert [index.columns for index in media.list_indices()] == [["text"]]


def test_words_of_both_languages_are_found_and_short_ones_too(media: Table) -> None:
    table.commit(media, ["a"], lambda: stream({"a": ("v1", 1)}, text="the man with a hat and his dog"))
    table.commit(media, ["b"], lambda: stream({"b": ("v1", 1)}, text="一只熊猫在竹林里睡觉"))
    for state in ("before", "after"):
        for word, uri in (("man", "a"), ("hat", "a"), ("dogs", "a"), ("熊猫", "b"), ("竹林", "b")):
            assert [hit["uri"] for hit in media.search(word, query_type="fts", fts_columns="text").limit(9).to_list()] == [uri], state
        media.optimize()


def test_a_place_that_cannot_hold_a_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for place in (str(file), str(file / "below"), "nosuchscheme://x"):
        with pytest.raises(TableError):
            table.connect(place)
    with pytest.raises(TableError, match="there is no folder"):
        table.connect(str(tmp_path / "mistyped"), must_exist=True)
    assert not (tmp_path / "mistyped").exists()


# -- publishing --------------------------------------------------------------------------------------------------------------------------


def test_readers_see_the_published_version_until_the_next_is_published(db: lancedb.DBConnection, media: Table) -> None:
    table.publish(media, commit(media, {"a": ("v1", 3), "b": ("v1", 1)}))
    reader = table.published(db, "media")
    version = commit(media, {"a": ("v2", 1), "b": None, "c": ("v1", 1)})
    for early in (reader, table.published(db, "media")):
        assert contents(early) == {"a": ("v1", 3), "b": ("v1", 1)}
    table.publish(media, version)
    assert contents(reader) == {"a": ("v1", 3), "b": ("v1", 1)}
    assert contents(table.published(db, "media")) == {"a": ("v2", 1), "c": ("v1", 1)}
    assert table.published_version(media) == version


def test_publishing_an_older_version_rolls_readers_back(db: lancedb.DBConnection, media: Table) -> None:
    first = commit(media, {"a": ("v1", 1)})
    table.publish(media, commit(media, {"a": ("v2", 1)}))
    table.publish(media, first)
    assert contents(table.published(db, "media")) == {"a": ("v1", 1)}


def test_asking_for_what_is_not_published_says_what_to_do(db: lancedb.DBConnection, media: Table) -> None:
    assert table.published_version(media) is None
    with pytest.raises(TableError, match="sensorium embed"):
        table.published(db, "media")
    with pytest.raises(TableError, match="--table other"):
        table.published(db, "other")


# -- LanceDB's own searches --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def loaded() -> Iterator[list[tuple[str, str]]]:
    calls: list[tuple[str, str]] = []

    def load(space: str, generation: str) -> embedding.Query:
        calls.append((space, generation))
        return lambda query: vector(query, "v1", 0)

    before = embedding._loader
    embedding.set_loader(load)
    yield calls
    embedding.set_loader(before)


def test_plain_lancedb_encodes_a_query_by_the_tables_space(media: Table, loaded: list[tuple[str, str]]) -> None:
    commit(media, dict.fromkeys(ODD, ("v1", 1)))
    for uri in ODD[:3]:
        assert media.search(uri, vector_column_name="vector").distance_type("cosine").limit(1).to_list()[0]["uri"] == uri
    assert loaded == [('{"name": "test"}', "g1")]


def test_plain_lancedb_without_encoders_says_what_to_import(media: Table, loaded: list[tuple[str, str]]) -> None:
    embedding.set_loader(None)
    with pytest.raises(RuntimeError, match=r"`import retrieval\.lancedb_plugin` first"):
        media.search("a cat", vector_column_name="vector").limit(1).to_list()


def test_plain_lancedb_does_not_embed_rows_on_their_way_in(media: Table) -> None:
    with pytest.raises(Exception, match="retries") as refusal:
        media.add(batch({"a": ("v1", 1)}).drop_columns(["vector"]).to_pylist())
    assert "sensorium embed" in str(refusal.value)


# -- limits ------------------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "tiny"
    place.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(place)], check=False).returncode
    ):
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_told_and_leaves_the_table_as_it_was(tiny: Path) -> None:
    media = table.create(table.connect(str(tiny)), "media", "{}", "g1", DIMENSION)
    version = commit(media, {"a": ("v1", 1)})
    with pytest.raises(TableError) as full:
        commit(media, {f"{k}": ("v1", 40) for k in range(2000)} | {"a": ("v2", 1)})
    assert full.value.reason == "no space"
    again = table.open_table(table.connect(str(tiny)), "media")
    assert again is not None and again.version == version
    assert contents(again) == {"a": ("v1", 1)}
