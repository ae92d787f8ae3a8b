"""A bucket becomes a table: every object is accounted for, the cost of a run follows the change, and old and new never mix."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from buckets import assert_same_rows, embed, picture, rows, small_bucket, sound, words

from storage import quarantine, table
from tasks.plan import RefusedError


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """A bucket that was embedded once; tests copy it before they change it."""
    home = tmp_path_factory.mktemp("embedded")
    account = embed(small_bucket(home / "bucket"), home / "lance")
    return home, account


@pytest.fixture
def home(embedded, tmp_path):
    """A fresh copy of a bucket and a table made from it (etags change with the copy, so the copy is embedded once more)."""
    shutil.copytree(embedded[0] / "bucket", tmp_path / "bucket")
    embed(tmp_path / "bucket", tmp_path / "lance")
    return tmp_path


def balanced(account):
    return account.balanced and account.listed == account.embedded + account.unchanged + account.quarantined + sum(account.skipped.values())


def uri(home, name):
    return f"file://{home / 'bucket'}/{name}"


def test_every_object_of_a_bucket_gets_rows(embedded):
    home, account = embedded
    assert (account.listed, account.embedded, account.quarantined, account.deleted) == (36, 36, 0, 0)
    assert balanced(account)
    held = rows(home / "lance")
    assert {row["modality"] for row in held} == {"image", "audio", "text"}
    assert len({row["uri"] for row in held}) == 36
    assert account.segments == account.encoded == len(held)
    assert account.version == table.published_version(table.open_table(table.connect(str(home / "lance")), "media"))


def test_vectors_have_length_one(embedded):
    vectors = np.array([row["vector"] for row in rows(embedded[0] / "lance")], np.float32)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=2e-3)


def test_a_run_with_nothing_to_do_encodes_nothing_and_makes_no_version(home):
    before = table.open_table(table.connect(str(home / "lance")), "media").version
    account = embed(home / "bucket", home / "lance")
    assert (account.unchanged, account.embedded, account.encoded, account.segments) == (36, 0, 0, 0)
    assert balanced(account)
    assert table.open_table(table.connect(str(home / "lance")), "media").version == before


def test_new_changed_and_vanished_objects_are_the_whole_work(home):
    (home / "bucket/pictures/new.png").write_bytes(picture(1))
    (home / "bucket/pictures/picture_1.png").write_bytes(picture(2))
    (home / "bucket/sounds/sound_1.wav").unlink()
    account = embed(home / "bucket", home / "lance")
    assert (account.embedded, account.unchanged, account.deleted, account.encoded) == (2, 34, 1, 2)
    assert balanced(account)
    held = [row["uri"] for row in rows(home / "lance")]
    assert uri(home, "sounds/sound_1.wav") not in held
    assert held.count(uri(home, "pictures/picture_1.png")) == 1


def test_a_changed_object_with_fewer_segments_keeps_no_old_one(home):
    path = home / "bucket/sounds/long.wav"
    path.write_bytes(sound(1, seconds=10.0))
    embed(home / "bucket", home / "lance")
    assert [row["segment"] for row in rows(home / "lance") if row["uri"].endswith("long.wav")] == [0, 1, 2, 3]
    path.write_bytes(sound(2, seconds=2.0))
    embed(home / "bucket", home / "lance")
    assert [row["segment"] for row in rows(home / "lance") if row["uri"].endswith("long.wav")] == [0]


def test_renamed_and_copied_content_takes_its_vectors_along(home):
    before = {row["uri"]: row["vector"] for row in rows(home / "lance")}
    (home / "bucket/pictures/picture_1.png").rename(home / "bucket/pictures/renamed.png")
    shutil.copy(home / "bucket/sounds/sound_2.wav", home / "bucket/sounds/copy.wav")
    account = embed(home / "bucket", home / "lance")
    assert (account.embedded, account.reused, account.encoded, account.deleted) == (2, 2, 0, 1)
    assert balanced(account)
    after = {row["uri"]: row["vector"] for row in rows(home / "lance")}
    assert after[uri(home, "pictures/renamed.png")] == before[uri(home, "pictures/picture_1.png")]
    assert after[uri(home, "sounds/copy.wav")] == before[uri(home, "sounds/sound_2.wav")]


def test_a_touched_object_is_hashed_and_not_encoded(home):
    os.utime(home / "bucket/pictures/picture_1.png", (1, 1))
    account = embed(home / "bucket", home / "lance")
    assert (account.embedded, account.reused, account.encoded) == (1, 1, 0)
    assert embed(home / "bucket", home / "lance").unchanged == 36


def test_the_same_content_twice_in_one_run_is_encoded_once(tmp_path):
    (tmp_path / "bucket").mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / "bucket" / name).write_bytes(picture(3))
    account = embed(tmp_path / "bucket", tmp_path / "lance", workers=2, shard_objects=1)
    assert (account.embedded, account.encoded, account.reused) == (3, 1, 2)
    assert balanced(account)


def test_the_same_bytes_as_text_and_as_html_are_two_texts(tmp_path):
    (tmp_path / "bucket").mkdir()
    for name in ("a.txt", "a.html"):
        (tmp_path / "bucket" / name).write_text("<b>a red dog</b>")
    embed(tmp_path / "bucket", tmp_path / "lance")
    assert {row["uri"][-5:]: row["text"].strip() for row in rows(tmp_path / "lance")} == {"a.txt": "<b>a red dog</b>", ".html": "a red dog"}


def test_a_twin_of_a_broken_object_ends_in_quarantine_too(tmp_path):
    (tmp_path / "bucket").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "bucket" / name).write_bytes(picture(3)[:200])
    account = embed(tmp_path / "bucket", tmp_path / "lance")
    assert (account.embedded, account.quarantined) == (0, 2)
    assert balanced(account)


def test_bad_objects_are_quarantined_with_a_reason_and_neighbours_embedded(home):
    (home / "bucket/pictures/broken.png").write_bytes(picture(4)[:300])
    (home / "bucket/texts/empty.txt").write_text("")
    (home / "bucket/report.pdf").write_bytes(b"%PDF-1.7")
    (home / "bucket/pictures/good.png").write_bytes(picture(5))
    account = embed(home / "bucket", home / "lance")
    assert (account.embedded, account.quarantined, dict(account.skipped)) == (1, 2, {"pdf": 1})
    assert balanced(account)
    assert {(f["uri"].rpartition("/")[2], f["stage"]) for f in account.failures} == {("broken.png", "decode"), ("empty.txt", "decode")}
    again = embed(home / "bucket", home / "lance")
    assert (again.embedded, again.quarantined, again.unchanged) == (0, 2, 37)
    assert balanced(again)


def test_an_object_that_can_no_longer_be_embedded_loses_its_rows(home):
    (home / "bucket/pictures/picture_1.png").write_bytes(picture(6)[:300])
    account = embed(home / "bucket", home / "lance")
    assert (account.quarantined, account.embedded) == (1, 0)
    assert balanced(account)
    assert uri(home, "pictures/picture_1.png") not in {row["uri"] for row in rows(home / "lance")}


def test_a_repaired_object_is_tried_again_by_itself_and_leaves_quarantine(home):
    path = home / "bucket/pictures/picture_1.png"
    path.write_bytes(picture(7)[:300])
    embed(home / "bucket", home / "lance")
    path.write_bytes(picture(7))
    account = embed(home / "bucket", home / "lance")
    assert (account.embedded, account.quarantined) == (1, 0)
    assert quarantine.load(table.connect(str(home / "lance")), "media").is_empty()


def test_content_decides_where_it_contradicts_the_extension(home):
    (home / "bucket/texts/really-a-picture.txt").write_bytes(picture(8))
    account = embed(home / "bucket", home / "lance")
    assert account.quarantined == 0
    [row] = [row for row in rows(home / "lance") if row["uri"].endswith("really-a-picture.txt")]
    assert row["modality"] == "image"


def test_below_the_floor_nothing_is_published_and_the_account_is_whole(home):
    before = table.published_version(table.open_table(table.connect(str(home / "lance")), "media"))
    for number in range(20):
        (home / "bucket" / f"broken-{number}.png").write_bytes(picture(number)[:200])
    (home / "bucket/good.png").write_bytes(picture(99))
    account = embed(home / "bucket", home / "lance", floor=0.9)
    assert balanced(account)
    assert account.version == before
    assert uri(home, "good.png") not in {row["uri"] for row in rows(home / "lance")}


def test_what_stayed_below_the_floor_is_published_by_a_run_that_accepts_it(tmp_path):
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket/good.png").write_bytes(picture(1))
    (tmp_path / "bucket/broken.png").write_bytes(picture(2)[:200])
    assert embed(tmp_path / "bucket", tmp_path / "lance", floor=0.9).version == 0
    account = embed(tmp_path / "bucket", tmp_path / "lance", floor=0.4)
    assert (account.embedded, account.unchanged, account.version > 0) == (0, 1, True)
    assert len(rows(tmp_path / "lance")) == 1


def test_an_emptied_bucket_deletes_nothing_until_it_is_meant(home):
    shutil.rmtree(home / "bucket")
    (home / "bucket").mkdir()
    with pytest.raises(RefusedError, match="--allow-deletions"):
        embed(home / "bucket", home / "lance")
    assert len({row["uri"] for row in rows(home / "lance")}) == 36
    account = embed(home / "bucket", home / "lance", allow_deletions=True)
    assert account.deleted == 36
    assert rows(home / "lance") == []


def test_two_sources_share_a_table_without_touching_each_other(home):
    (home / "other").mkdir()
    (home / "other/x.png").write_bytes(picture(10))
    account = embed(home / "other", home / "lance")
    assert (account.listed, account.embedded, account.deleted) == (1, 1, 0)
    assert len({row["uri"] for row in rows(home / "lance")}) == 37
    assert embed(home / "bucket", home / "lance").deleted == 0


ODD = [
    "with space.png",
    "100%.png",
    "%20.png",
    "a#b?c.png",
    'it\'s "quoted".png',
    "狗在叫.png",
    "line\nbreak.png",
    "UPPER.PNG",
    "ünïcode é.png",
]


def test_odd_names_survive(tmp_path):
    (tmp_path / "bucket").mkdir()
    for number, name in enumerate(ODD):
        (tmp_path / "bucket" / name).write_bytes(picture(number))
    account = embed(tmp_path / "bucket", tmp_path / "lance")
    assert (account.listed, account.embedded) == (len(ODD), len(ODD))
    assert {row["uri"] for row in rows(tmp_path / "lance")} == {uri(tmp_path, name) for name in ODD}
    for name in ODD[:5]:
        (tmp_path / "bucket" / name).unlink()
    account = embed(tmp_path / "bucket", tmp_path / "lance")
    assert (account.deleted, account.unchanged) == (5, 4)


@pytest.mark.slow
def test_the_rows_do_not_depend_on_workers_shards_or_batches(tmp_path):
    bucket = small_bucket(tmp_path / "bucket")
    (bucket / "sounds/long.wav").write_bytes(sound(3, seconds=20))
    (bucket / "texts/long.txt").write_text("\n".join(words(i) for i in range(50)))
    embed(bucket, tmp_path / "one", workers=1, shard_objects=1000, batch=1, dtype="float32")
    embed(bucket, tmp_path / "two", workers=2, shard_objects=3, batch=64, dtype="float32")
    assert_same_rows(rows(tmp_path / "one"), rows(tmp_path / "two"))


def test_an_empty_folder_is_a_balanced_run(tmp_path):
    (tmp_path / "bucket").mkdir()
    account = embed(tmp_path / "bucket", tmp_path / "lance")
    assert (account.listed, account.embedded, account.balanced) == (0, 0, True)
