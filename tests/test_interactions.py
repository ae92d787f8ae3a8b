"""Interactions: read in every form they come in, refused with the row's number, matched by content, added up with recency; all counted."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from flows.interactions_file import open_interactions
from retrieval.errors import QueryError
from retrieval.recommend.interactions import match, opinions, popularity, read
from storage.row_files import RowFileError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_rows_without_a_user_or_an_item_are_counted_and_the_others_kept_in_order():
    found = read(pl.DataFrame({"user": ["a", None, "b", " ", "a"], "item": ["x", "y", "", "z", "w"], "colour": ["", "", "", "", ""]}))
    assert found.frame.rows() == [("a", "x", 1.0, None), ("a", "w", 1.0, None)]
    assert (found.rows, found.empty, found.untimed, found.timed, found.ignored) == (5, 3, 2, False, ("colour",))


@pytest.mark.parametrize(
    "weights", [[-1, None, 2.5], ["-1", "", "2.5"], pl.Series([-1, None, 2.5], dtype=pl.Float32)], ids=["floats", "texts", "float32"]
)
def test_a_missing_weight_is_1_and_texts_are_read_as_numbers(weights):
    found = read(pl.DataFrame({"user": [1, 1, 2], "item": ["x", "y", "z"], "weight": weights}, strict=False))
    assert found.frame.get_column("weight").to_list() == [-1, 1, 2.5] and found.users == ["1", "2"]


def test_stars_become_likes_and_dislikes_about_the_neutral_one():
    found = read(pl.DataFrame({"user": ["a"] * 4, "item": list("wxyz"), "weight": [5, 3, 1, None]}), neutral=3)
    assert found.frame.get_column("weight").to_list() == [2, 0, -2, 1]


@pytest.mark.parametrize(
    "times",
    [
        ["2026-03-01T12:00:00Z", "2026-03-01 13:00:00+01:00", "2026-03-01T12:00:00"],
        [NOON.timestamp()] * 3,
        [str(NOON.timestamp())] * 3,
        [int(NOON.timestamp())] * 3,
        [NOON] * 3,
        pl.Series([NOON.replace(tzinfo=None)] * 3, dtype=pl.Datetime("ns")),
        pl.Series([NOON] * 3, dtype=pl.Datetime("ms", "UTC")).dt.convert_time_zone("Asia/Shanghai"),
    ],
    ids=["texts", "seconds", "seconds as texts", "whole seconds", "times", "times without a zone", "times of another zone"],
)
def test_times_of_every_kind_are_seconds_of_utc(times):
    found = read(pl.DataFrame({"user": ["a"] * 3, "item": list("xyz"), "time": times}))
    assert found.frame.get_column("time").to_list() == [NOON.timestamp()] * 3 and found.timed


def test_a_date_is_its_first_second_and_a_missing_time_is_counted():
    for day in (["2026-03-01", ""], ["20260301", ""], [date(2026, 3, 1), None]):
        found = read(pl.DataFrame({"user": ["a"] * 2, "item": list("xy"), "time": day}))
        assert found.frame.get_column("time").to_list() == [NOON.timestamp() - 12 * 3600, None]
        assert (found.untimed, found.timed) == (1, True)


@pytest.mark.parametrize(
    ("column", "values", "words"),
    [
        ("weight", ["1", "much", "2"], "weight of row 2 .* 'much'"),
        ("weight", [1.0, 2.0, float("inf")], "weight of row 3 .* inf"),
        ("weight", [float("nan"), 2.0, 1.0], "weight of row 1 .* nan"),
        ("time", ["2026-03-01", "2026-03-01", "yesterday"], "time of row 3 .* 'yesterday'"),
        ("time", [1.7e12, 1.0, 1.0], "not milliseconds"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_row(column, values, words):
    with pytest.raises(QueryError, match=words):
        read(pl.DataFrame({"user": ["a"] * 3, "item": list("xyz"), column: values}))


@pytest.mark.parametrize(
    ("column", "cell"),
    [("user", ["a", "b"]), ("item", ["x"]), ("item", b"x"), ("weight", [1.0]), ("time", {"day": 1}), ("time", timedelta(days=1))],
)
def test_a_column_of_lists_objects_or_bytes_is_refused_by_its_name(column, cell):
    with pytest.raises(QueryError, match=f"column '{column}' of the interactions holds "):
        read(pl.DataFrame({"user": ["a"], "item": ["x"]} | {column: [cell]}))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_neutral_weight_and_a_half_life_that_are_not_finite_are_refused(number):
    table = pl.DataFrame({"user": ["a"], "item": ["x"], "weight": [5.0]})
    with pytest.raises(QueryError, match=f"neutral is {number}; it must be a finite number"):
        read(table, neutral=number)
    with pytest.raises(QueryError, match=f"half-life is {number} days; it must be more than 0 and finite"):
        opinions(read(table).frame, number)


@pytest.mark.parametrize(("columns", "words"), [(["item"], "no column user; they have item"), (["who", "what"], "user and no column item")])
def test_without_its_columns_a_table_is_refused(columns, words):
    with pytest.raises(QueryError, match=words):
        read(pl.DataFrame({name: ["a"] for name in columns}))


def test_a_user_who_is_not_there_is_refused():
    with pytest.raises(QueryError, match="no row is of user 'c'; the table has 2 users, such as 'a', 'b'"):
        read(pl.DataFrame({"user": ["b", "a"], "item": ["x", "y"]})).of("c")


def test_every_row_is_used_unknown_or_empty_and_copies_are_one_content():
    table = pl.DataFrame({"user": ["a", "a", "b", "b", "c", None], "item": ["x", "copy of x", "gone", "gone", "lost", "x"]})
    interactions = read(table)
    found = match(interactions, pl.DataFrame({"item": ["x", "copy of x", "y"], "content": [7, 7, 8]}))
    assert found.frame.select("user", "content").rows() == [("a", 7), ("a", 7)]
    assert (found.unknown_rows, found.unknown_items, found.examples, found.users) == (3, 2, ("gone", "lost"), ["a", "b", "c"])
    assert interactions.rows == found.frame.height + found.unknown_rows + interactions.empty


def test_weights_of_a_pair_add_up_each_halved_by_the_half_lives_before_the_users_latest():
    rng = np.random.default_rng(1)
    rows = [
        (
            f"u{rng.integers(5)}",
            f"i{rng.integers(6)}",
            float(rng.normal()),
            float(rng.uniform(0, 40 * 86_400)) if rng.random() < 0.9 else None,
        )
        for _ in range(120)
    ]
    frame = pl.DataFrame(rows, schema=["user", "item", "weight", "time"], orient="row")
    for half_life in (None, 10.0):
        expected: dict[tuple[str, str], float] = {}
        for user, item, weight, time in rows:
            times = [t for u, _, _, t in rows if u == user and t is not None]
            age = (max(times) - (min(times) if time is None else time)) / 86_400
            expected[user, item] = expected.get((user, item), 0) + weight * (0.5 ** (age / half_life) if half_life else 1)
        found = opinions(frame, half_life)
        assert {(user, item): pytest.approx(weight) for user, item, weight in found.iter_rows()} == expected
        assert found.columns == ["user", "item", "weight"]


def test_without_any_time_a_half_life_changes_nothing():
    frame = read(pl.DataFrame({"user": ["a", "a"], "item": ["x", "y"], "weight": [1, -2]})).frame
    assert opinions(frame, 3).rows() == opinions(frame).rows() == [("a", "x", 1.0), ("a", "y", -2.0)]


def test_popular_is_what_most_users_like_however_often_each_one_does():
    rows = [("a", "x")] * 9 + [("a", "y"), ("b", "y"), ("c", "y"), ("b", "z"), ("c", "z")]
    frame = pl.DataFrame(rows, schema=["user", "item"], orient="row").with_columns(weight=pl.lit(1.0), time=None)
    disliked = pl.DataFrame({"user": list("def"), "item": ["z"] * 3, "weight": [-1.0] * 3, "time": [None] * 3})
    assert popularity(opinions(pl.concat([frame, disliked], how="vertical_relaxed"))).rows() == [("y", 3), ("z", 2), ("x", 1)]


def test_files_of_all_kinds_are_read_alike_relative_to_their_folder_or_to_a_source(tmp_path):
    frame = pl.DataFrame({"user": ["a", "b"], "item": ["pictures/x 1%.png", "s3://bucket/y.png"], "weight": [1, -1]})
    for name, write in {"a.csv": frame.write_csv, "a.jsonl": frame.write_ndjson, "a.parquet": frame.write_parquet}.items():
        write(tmp_path / name)
        assert open_interactions(tmp_path / name).frame.rows() == [
            ("a", f"file://{tmp_path.resolve()}/pictures/x 1%.png", 1.0, None),
            ("b", "s3://bucket/y.png", -1.0, None),
        ]
    found = open_interactions(tmp_path / "a.csv", "s3://other/there")
    assert found.frame.get_column("item").to_list() == ["s3://other/there/pictures/x 1%.png", "s3://bucket/y.png"]
    with pytest.raises(RowFileError, match="table of interactions"):
        open_interactions(tmp_path / "a.txt")
