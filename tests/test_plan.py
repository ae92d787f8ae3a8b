"""One diff: new, changed, vanished, unchanged, quarantined and skipped objects add up to what was listed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.plan import RefusedError, diff, refuse_mass_deletion, shards

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ROOT = "s3://b"
MODALITIES = ["image", "audio", "text"]


def frame(*rows, extra=()):
    names = ["uri", "size", "etag", "modified", *extra]
    types = {"uri": pl.String, "size": pl.Int64, "etag": pl.String, "modified": pl.Datetime("us", "UTC")} | dict.fromkeys(extra, pl.String)
    return pl.DataFrame([dict(zip(names, row, strict=True)) for row in rows], schema=types)


def obj(name, size=10, etag="e", modified=NOON):
    return (f"{ROOT}/{name}", size, etag, modified)


def plan(listed, present=(), quarantine=(), modalities=MODALITIES):
    held = frame(*[(*o, "g") for o in quarantine], extra=["generation"])
    return diff(frame(*listed), frame(*present), held, modalities, "g")


def todo(result):
    return {uri.removeprefix(ROOT + "/"): known for uri, known in result.todo.select("uri", "known").iter_rows()}


def test_a_new_object_is_to_do_and_unknown():
    assert todo(plan([obj("a.png")])) == {"a.png": False}


def test_an_object_that_is_as_it_was_is_unchanged():
    result = plan([obj("a.png")], [obj("a.png")])
    assert (result.unchanged, result.todo.height, result.idle) == (1, 0, True)


@pytest.mark.parametrize(
    "now",
    [
        obj("a.png", etag="other"),
        obj("a.png", size=11),
        obj("a.png", etag=None, modified=NOON + timedelta(seconds=1)),
        obj("a.png", size=11, etag=None),
    ],
    ids=["etag", "size", "time where there is no etag", "size where there is no etag"],
)
def test_an_object_has_changed_by_etag_size_or_time(now):
    assert todo(plan([now], [obj("a.png")])) == {"a.png": True}


def test_time_alone_changes_nothing_where_there_is_an_etag():
    assert plan([obj("a.png", modified=NOON + timedelta(days=1))], [obj("a.png")]).unchanged == 1


def test_what_is_no_longer_listed_has_vanished():
    assert plan([obj("a.png")], [obj("a.png"), obj("b.png")]).vanished.to_list() == [f"{ROOT}/b.png"]


def test_what_no_medium_reads_is_skipped_by_type():
    result = plan([obj("a.pdf"), obj("b.PDF"), obj("c.mp4"), obj("README"), obj("d.png")])
    assert dict(result.skipped) == {"(none)": 1, "mp4": 1, "pdf": 2}
    assert todo(result) == {"d.png": False}


def test_a_medium_that_the_space_lacks_is_skipped_by_type():
    assert dict(plan([obj("a.wav"), obj("b.png")], modalities=["image"]).skipped) == {"wav": 1}


def test_a_quarantined_object_waits_until_it_changes():
    assert plan([obj("a.png")], quarantine=[obj("a.png")]).waiting.height == 1
    assert todo(plan([obj("a.png", etag="new")], quarantine=[obj("a.png")])) == {"a.png": False}


def test_a_quarantined_object_that_was_marked_is_tried_again():
    assert todo(plan([obj("a.png")], quarantine=[obj("a.png", size=-1, etag=None)])) == {"a.png": False}


def test_a_quarantined_object_without_etag_waits_too():
    assert plan([obj("a.png", etag=None)], quarantine=[obj("a.png", etag=None)]).waiting.height == 1


def test_a_quarantined_object_that_left_the_source_is_released():
    assert plan([], quarantine=[obj("a.png")]).released.to_list() == [f"{ROOT}/a.png"]


def test_an_embedded_object_that_a_killed_run_left_in_quarantine_is_released():
    result = plan([obj("a.png")], [obj("a.png")], [obj("a.png", etag="old")])
    assert (result.unchanged, result.released.to_list()) == (1, [f"{ROOT}/a.png"])


names = st.lists(st.sampled_from(["a.png", "b.png", "c.wav", "d.txt", "e.pdf", "f", "g.mp4"]), unique=True)
sizes = st.integers(1, 2)


@given(
    st.dictionaries(st.sampled_from(["a.png", "b.png", "c.wav", "d.txt", "e.pdf", "f"]), sizes),
    st.dictionaries(st.sampled_from(["a.png", "b.png", "c.wav", "d.txt"]), sizes),
    st.dictionaries(st.sampled_from(["a.png", "c.wav"]), sizes),
)
def test_every_listed_object_is_counted_exactly_once(listed, present, quarantine):
    result = plan(
        [obj(n, s) for n, s in listed.items()], [obj(n, s) for n, s in present.items()], [obj(n, s) for n, s in quarantine.items()]
    )
    assert result.listed == result.todo.height + result.unchanged + result.waiting.height + sum(result.skipped.values())
    expected_unchanged = sum(listed.get(n) == s for n, s in present.items())
    assert result.unchanged == expected_unchanged
    assert set(result.vanished) == {f"{ROOT}/{n}" for n in present if n not in listed}


def test_an_emptied_listing_deletes_nothing():
    result = plan([], [obj("a.png")])
    with pytest.raises(RefusedError, match="--allow-deletions"):
        refuse_mass_deletion(result, 1, ROOT, 1.0)


def test_a_listing_that_lacks_a_large_share_deletes_nothing():
    present = [obj(f"{i}.png") for i in range(100)]
    refuse_mass_deletion(plan(present[50:], present), 100, ROOT, 0.5)
    with pytest.raises(RefusedError, match="lacks 51 of the 100"):
        refuse_mass_deletion(plan(present[51:], present), 100, ROOT, 0.5)


def test_a_few_deletions_in_a_small_bucket_are_ordinary():
    present = [obj(f"{i}.png") for i in range(4)]
    wanted = plan(present[3:], present)
    refuse_mass_deletion(wanted, 4, ROOT, 0.5)
    assert len(wanted.vanished) == 3


def cut(sizes, most_objects, most_bytes):
    rows = [(f"{i:03}.png", size, "image") for i, size in enumerate(sizes)]
    todo = pl.DataFrame(rows, schema=["uri", "size", "medium"], orient="row")
    return [s.objects.get_column("size").to_list() for s in shards(todo, most_objects, most_bytes)]


def test_shards_are_cut_by_count_and_by_bytes():
    assert cut([1] * 5, 2, 100) == [[1, 1], [1, 1], [1]]
    assert cut([40, 40, 40, 90, 10], 9, 100) == [[40, 40], [40], [90, 10]]


def test_an_object_larger_than_a_shard_gets_its_own():
    assert cut([1, 500, 1], 9, 100) == [[1], [500], [1]]


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 7), st.integers(1, 100))
def test_shards_hold_everything_once_and_in_order(sizes, most_objects, most_bytes):
    parts = cut(sizes, most_objects, most_bytes)
    assert [size for part in parts for size in part] == sizes
    assert all(len(part) <= most_objects and (len(part) == 1 or sum(part) <= most_bytes) for part in parts)


def test_shards_hold_one_medium_and_are_named_by_it():
    table = pl.DataFrame({"uri": ["a", "b", "c"], "size": [1, 1, 1], "medium": ["audio", "image", "image"]})
    assert [(s.name, len(s)) for s in shards(table, 2, 10)] == [("audio-0000", 1), ("image-0000", 2)]
