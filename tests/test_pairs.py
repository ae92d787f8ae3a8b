"""Lists of pairs: what is read, what is refused, what is counted; and sides on which no content stands twice."""

from __future__ import annotations

import hashlib
import json
import random

import polars as pl
import pytest

from tasks.pairs import PairsError, read_pairs
from tasks.split import Shares, split

ROWS = [
    {"text": "a dog", "image": "p/dog.png"},
    {"text": "狗在叫", "image": "p/dog.png"},
    {"text": "a dog", "image": "p/other.png"},
    {"text": "a dog", "image": "p/dog.png"},
    {"text": "  ", "image": "p/cat.png"},
    {"text": None, "image": None},
]


def written(folder, kind, rows=ROWS):
    path = folder / f"pairs.{kind}"
    frame = pl.DataFrame(rows)
    if kind == "parquet":
        frame.write_parquet(path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        frame.write_csv(path, separator="\t" if kind == "tsv" else ",")
    return path


def content(name):
    return hashlib.sha256(name.encode()).hexdigest()


def contents(pairs):
    """Every URI has a content of its own."""
    return {uri: content(uri) for m in pairs.media for uri in pairs.uris(m)}


@pytest.mark.parametrize("kind", ["parquet", "csv", "tsv", "jsonl"])
def test_every_format_gives_the_same_pairs_and_counts(tmp_path, kind):
    pairs = read_pairs(written(tmp_path, kind))
    assert pairs.modalities == ("text", "image")
    assert pairs.frame.get_column("row").to_list() == [0, 1, 2]
    assert pairs.frame.get_column("text").to_list() == ["a dog", "狗在叫", "a dog"]
    assert pairs.frame.get_column("image").to_list() == [f"file://{tmp_path}/p/{n}.png" for n in ("dog", "dog", "other")]
    assert (pairs.rows, pairs.too_few, pairs.duplicates) == (6, 2, 1)
    assert pairs.one_to_many == {"text>image": 1, "image>text": 1}


def test_uris_may_be_absolute_or_relative_to_the_source(tmp_path):
    cells = ["a.png", "./b/../c.png", f"{tmp_path}/d.png", f"file://{tmp_path}/e.png", "s3://shop/f.png", "odd #%20?.png"]
    path = written(tmp_path, "jsonl", [{"text": "x", "image": cell} for cell in cells])
    assert read_pairs(path, "s3://shop/pre").frame.get_column("image").to_list() == [
        "s3://shop/pre/a.png",
        "s3://shop/pre/c.png",
        f"file://{tmp_path}/d.png",
        f"file://{tmp_path}/e.png",
        "s3://shop/f.png",
        "s3://shop/pre/odd #%20?.png",
    ]


def test_an_absolute_path_through_a_link_to_a_folder_is_the_uri_that_a_listing_gives(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    path = written(tmp_path, "csv", [{"text": "x", "image": f"{tmp_path}/link/a.png"}])
    assert read_pairs(path).frame.item(0, "image") == f"file://{tmp_path}/real/a.png"


def test_columns_that_mean_nothing_are_named(tmp_path):
    assert read_pairs(written(tmp_path, "csv", [{"id": 1, "text": "x", "audio": "a.wav"}])).ignored == ("id",)


@pytest.mark.parametrize("name", ["images", "Image", "caption", "sounds", "image_url", " text"])
def test_a_column_called_nearly_as_one_of_ours_is_refused(tmp_path, name):
    rows = [{"text": "x", "image": "a.png", name: "y"}]
    with pytest.raises(PairsError, match=r"is not read; call it '(text|image|audio|video)', or remove it"):
        read_pairs(written(tmp_path, "jsonl", rows))


def test_a_column_that_stands_there_twice_is_refused(tmp_path):
    (tmp_path / "pairs.csv").write_text("text,image,text\na,b.png,c\n")
    with pytest.raises(PairsError, match="stands there twice"):
        read_pairs(tmp_path / "pairs.csv")


@pytest.mark.parametrize(
    ("name", "bytes_", "message"),
    [
        ("pairs.csv", b"text,image\n", "none of its 0 rows"),
        ("pairs.csv", b"text,image\na,\n", "none of its 1 rows has two filled cells"),
        ("pairs.csv", b"text,image\na,b,c\n", "cannot be read as csv"),
        ("pairs.csv", b"text,image\n\xff\xfe,b\n", "cannot be read as csv"),
        ("pairs.csv", b"", "cannot be read as csv"),
        ("pairs.jsonl", b"{", "cannot be read as jsonl"),
        ("pairs.jsonl", b'{"text": 3, "image": "a.png"}\n', "column 'text' holds Int64"),
        ("pairs.jsonl", b'{"text": ["a", "b"], "image": "a.png"}\n', "one row for each"),
        ("pairs.parquet", b"PAR1", "cannot be read as parquet"),
        ("pairs.csv", b"id,image\n1,a.png\n", "has the columns id, image; pairs need at least two of"),
        ("pairs.txt", b"a", "no list of pairs by its name"),
    ],
)
def test_what_cannot_be_read_is_one_clear_error(tmp_path, name, bytes_, message):
    (tmp_path / name).write_bytes(bytes_)
    with pytest.raises(PairsError, match=message) as raised:
        read_pairs(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(PairsError, match="there is no file"):
        read_pairs(tmp_path / "pairs.csv")


def many(n, seed=0):
    """Pictures with two captions of a few and one or two sounds each, the sounds shared by some."""
    draw = random.Random(seed)
    return [
        {"text": f"caption {draw.randrange(20)}", "image": f"{i}.png", "audio": f"{draw.randrange(3 * n)}.wav"}
        for i in range(n)
        for _ in range(2)
    ]


def side_of(frame, modality):
    return {(content, side) for content, side in frame.select(f"{modality}_content", "side").drop_nulls().iter_rows()}


def test_no_medium_stands_on_two_sides_and_linked_rows_stay_together(tmp_path):
    pairs = read_pairs(written(tmp_path, "parquet", many(400)))
    divided = split(pairs, contents(pairs))
    for modality in ("image", "audio"):
        sides = side_of(divided.frame, modality)
        assert len(sides) == len({content for content, _ in sides})
    assert divided.shared_texts > 0
    assert sum(divided.counts.values()) == divided.frame.height == pairs.frame.height
    assert divided.counts["train"] > divided.counts["validation"] > 0
    assert divided.counts["test"] > 0


def test_components_are_those_of_a_plain_search(tmp_path):
    pairs = read_pairs(written(tmp_path, "parquet", many(60)))
    frame = split(pairs, contents(pairs)).frame
    rows = frame.select("image_content", "audio_content").rows()
    groups = [set(row) for row in rows]
    merged = True
    while merged:
        merged = False
        for a in groups:
            for b in groups:
                if a & b and a != b:
                    a.update(b)
                    b.update(a)
                    merged = True
    expected = [frozenset(group) for group in groups]
    found = frame.get_column("component").to_list()
    assert all((expected[i] == expected[j]) == (found[i] == found[j]) for i in range(len(rows)) for j in range(i))


def test_a_copied_file_under_another_name_is_the_same_medium(tmp_path):
    rows = [{"text": f"t{i}", "image": f"{i}.png"} for i in range(300)]
    rows += [{"text": f"other {i}", "image": f"copy of {i}.png"} for i in range(300)] + [{"text": "t7", "image": "copy of 7.png"}]
    pairs = read_pairs(written(tmp_path, "parquet", rows))
    divided = split(pairs, {uri: content(uri.replace("copy of ", "")) for uri in pairs.uris("image")})
    assert divided.copies == 1
    sides = side_of(divided.frame, "image")
    assert len(sides) == 300


def test_the_same_seed_divides_alike_another_otherwise_and_more_pairs_move_no_old_one(tmp_path):
    few, more = many(300), many(300) + [{"text": "new", "image": f"n{i}.png", "audio": f"n{i}.wav"} for i in range(100)]
    more += [{"text": f"another caption {i}", "image": f"{i}.png", "audio": None} for i in range(0, 300, 7)]
    first, second = (read_pairs(written(tmp_path, "parquet", rows)) for rows in (few, more))
    old = side_of(split(first, contents(first), seed=3).frame, "image")
    assert old == side_of(split(first, contents(first), seed=3).frame, "image")
    assert old <= side_of(split(second, contents(second), seed=3).frame, "image")
    assert old != side_of(split(first, contents(first), seed=4).frame, "image")


def test_the_test_side_stays_when_more_is_used_for_training(tmp_path):
    pairs = read_pairs(written(tmp_path, "parquet", many(300)))
    sides = [split(pairs, contents(pairs), Shares(*shares)).side("test") for shares in [(0.8, 0.1, 0.1), (0.85, 0.05, 0.1)]]
    assert sides[0].equals(sides[1])


def test_shares_come_out_about_as_asked_and_must_add_up(tmp_path):
    pairs = read_pairs(written(tmp_path, "parquet", [{"text": "t", "image": f"{i}.png"} for i in range(5000)]))
    counts = split(pairs, contents(pairs), Shares(0.7, 0.2, 0.1)).counts
    assert [counts[side] / 5000 for side in ("train", "validation", "test")] == pytest.approx([0.7, 0.2, 0.1], abs=0.02)
    with pytest.raises(PairsError, match="must add up to 1"):
        split(pairs, {}, Shares(0.9, 0.2, 0.1))


def test_media_of_unknown_content_are_counted_and_their_rows_go_if_too_little_is_left(tmp_path):
    rows = [{"text": "a", "image": "a.png", "audio": "gone.wav"}, {"text": "b", "image": "gone.png", "audio": None}]
    pairs = read_pairs(written(tmp_path, "parquet", rows))
    divided = split(pairs, {uri: content(uri) for uri in pairs.uris("image") if "gone" not in uri})
    assert divided.unknown == {"text": 0, "image": 1, "audio": 1}
    assert divided.too_few == 1
    [row] = divided.frame.iter_rows(named=True)
    assert (row["text"], row["audio"], row["audio_content"]) == ("a", None, None)
    assert row["text_content"] == content("a")


def test_some_columns_alone_can_be_used_and_the_account_still_balances(tmp_path):
    rows = [
        {"text": "a", "image": "1.png", "audio": "1.wav"},
        {"text": "a", "image": "1.png", "audio": "2.wav"},
        {"image": "2.png", "audio": "3.wav"},
    ]
    pairs = read_pairs(written(tmp_path, "parquet", rows)).only(("text", "image"))
    assert pairs.modalities == ("text", "image")
    assert (pairs.rows, pairs.frame.height, pairs.too_few, pairs.duplicates, pairs.ignored) == (3, 1, 1, 1, ("audio",))
    with pytest.raises(PairsError, match="at least two are needed"):
        read_pairs(written(tmp_path, "parquet", rows)).only(("text", "video"))
