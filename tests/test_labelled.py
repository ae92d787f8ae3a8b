"""Examples are the table's objects, one for each content; every row that is of no use is counted; no content stands on two sides."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from flows import label_file
from retrieval.classify import labelled
from retrieval.errors import QueryError
from storage.row_files import RowFileError

OBJECTS = pl.DataFrame({"uri": [f"u{k}" for k in range(8)], "content_hash": ["a", "b", "c", "d", "a", "b", "e", "f"]})


def matched(rows: list[tuple[str | None, str | None]], everything: tuple[str, ...] = ()) -> labelled.Labelled:
    frame = pl.DataFrame(rows, schema={"uri": pl.String, "label": pl.String}, orient="row")
    return labelled.match(frame, OBJECTS, lambda: pl.Series([*OBJECTS["uri"], *everything]))


def test_every_row_is_counted_exactly_once():
    found = matched(
        [
            ("u0", "dog"),
            ("u0", "dog"),  # again
            ("u4", "dog"),  # a copy of u0
            ("u1", "cat"),
            ("u5", "dog"),  # a copy of u1, which is a cat
            ("u2", None),
            (None, "dog"),
            ("elsewhere", "dog"),
            ("gone", "dog"),
            ("gone", "dog"),
            ("u6", "cat"),
        ],
        everything=("elsewhere",),
    )
    assert found.counts == {
        **{"rows": 11, "used": 2, "unlabelled": 2, "unknown": 2, "outside": 1, "repeated": 2, "contradicting": 2, "learned": 0},
    }
    assert found.counts["rows"] == sum(number for why, number in found.counts.items() if why != "rows")
    assert (found.places.tolist(), found.contents, found.labels, found.unknown) == ([0, 6], ["a", "e"], ["dog", "cat"], ("gone",))


def test_places_ascend_whatever_the_order_of_the_rows():
    assert matched([("u7", "x"), ("u3", "y"), ("u4", "z")]).places.tolist() == [3, 4, 7]


def test_what_is_judged_by_is_never_learned_from_under_another_name_either():
    judges = matched([("u4", "dog"), ("u2", "cat"), ("u5", "cat")]).without(matched([("u0", "dog"), ("u1", "cat")]))
    assert (judges.places.tolist(), judges.labels, judges.counts["used"], judges.counts["learned"]) == ([2], ["cat"], 1, 2)


@pytest.mark.parametrize("share", [0, 0.2, 0.5, 0.9])
def test_a_share_of_each_class_is_kept_apart_and_two_are_left_to_learn_from(share):
    labels = np.repeat([0, 1, 2, 3], [50, 10, 2, 1])
    contents = [f"content {k}" for k in range(63)]
    out = labelled.held_out(contents, labels, share, seed=1)
    assert [int(out[labels == k].sum()) for k in range(4)] == [min(round(50 * share), 48), min(round(10 * share), 8), 0, 0]


def test_what_is_kept_apart_depends_on_content_and_seed_alone():
    labels, contents = np.zeros(40, int), [f"content {k}" for k in range(40)]
    out = labelled.held_out(contents, labels, 0.5, seed=1)
    shuffled = np.random.default_rng(0).permutation(40)
    assert (labelled.held_out([contents[k] for k in shuffled], labels, 0.5, seed=1) == out[shuffled]).all()
    assert (labelled.held_out(contents, labels, 0.5, seed=2) != out).any()


def test_every_format_reads_alike_and_relative_uris_begin_at_the_folder_or_the_source(tmp_path):
    rows = [{"uri": "pictures/a b.png", "label": "dog"}, {"uri": "s3://b/x", "label": " 2 "}, {"uri": "/abs/y.png", "label": ""}]
    frame = pl.DataFrame(rows)
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    frame.write_csv(tmp_path / "l.csv")
    frame.write_csv(tmp_path / "l.tsv", separator="\t")
    frame.write_parquet(tmp_path / "l.parquet")
    for name in ("l.jsonl", "l.csv", "l.tsv", "l.parquet"):
        found = label_file.read(tmp_path / name)
        assert found["uri"].to_list() == [f"file://{tmp_path.resolve()}/pictures/a b.png", "s3://b/x", "file:///abs/y.png"]
        assert found["label"].to_list() == ["dog", "2", None]
    assert label_file.read(tmp_path / "l.csv", "s3://bucket/prefix")["uri"][0] == "s3://bucket/prefix/pictures/a b.png"


def test_labels_may_be_numbers():
    assert labelled.read(pl.DataFrame({"uri": ["s3://a"], "label": [3]}))["label"].to_list() == ["3"]


@pytest.mark.parametrize(
    ("columns", "told"),
    [({"url": ["a"], "label": ["x"]}, "no column uri"), ({"uri": ["a"]}, "no column label"), ({"uri": ["a"], "label": [["x"]]}, "List")],
)
def test_lists_without_the_two_columns_are_refused(columns, told):
    with pytest.raises(QueryError, match=told):
        labelled.read(pl.DataFrame(columns))


def test_files_that_are_no_lists_are_refused(tmp_path):
    (tmp_path / "x.txt").write_text("a")
    for name, told in (("x.txt", "no list of labels by its name"), ("none.csv", "there is no file")):
        with pytest.raises(RowFileError, match=told):
            label_file.read(tmp_path / name)
