"""The commands search, analogy and calibrate: what is typed, printed, written and refused."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from asked_table import DIMENSION, make, row, texts
from typer.testing import CliRunner

from flows.cli import app
from retrieval.search import queries_file

WORDS = ["a red dog", "a red cat", "a blue dog", "a blue cat", "一只红色的猫", "the sea at night", "man", "king"]


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    rng = np.random.default_rng(0)
    pictures = [row(f"file:///b/p{k}.png", rng.standard_normal(DIMENSION)) for k in range(40)]
    more = texts((" ".join(rng.choice(["dog", "cat", "red", "blue", "sea", "night"], 4)) for _ in range(60)), "file:///b/more")
    return make(tmp_path_factory.mktemp("cli") / "lance", [*texts(WORDS), *more, *pictures])


def typed(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments):
    done = typed(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_sum_of_what_is_typed(database, tmp_path):
    below = ("--prefix", "file:///b/texts/", "--limit", "1")
    hits = answer("search", database, "a red dog", "--minus", "red", "--plus", "blue", *below)
    assert [hit["text"] for hit in hits] == ["a blue dog"]
    np.save(tmp_path / "v.npy", np.array(pl.Series([1.0] * DIMENSION)))
    assert answer("search", database, "--vector", tmp_path / "v.npy", "--like", "file:///b/p3.png", "--limit", "3")
    like = answer("search", database, "--like", "file:///b/texts/000.txt", *below)
    assert like[0]["text"] in ("a red cat", "a blue dog")


def test_a_condition_on_own_columns_and_words_that_must_appear(database, tmp_path):
    pl.DataFrame({"uri": [f"file:///b/texts/{k:03}.txt" for k in range(6)], "price": range(6)}).write_csv(tmp_path / "prices.csv")
    hits = answer("search", database, "a dog", "--metadata", tmp_path / "prices.csv", "--where", "price >= 2")
    assert {hit["uri"] for hit in hits} == {f"file:///b/texts/{k:03}.txt" for k in range(2, 6)}
    assert [hit["text"] for hit in answer("search", database, "a dog", "--must", "红色 猫")] == ["一只红色的猫"]
    assert answer("search", database, "night", "--hybrid", "--limit", "1", "--prefix", "file:///b/texts/")[0]["text"] == "the sea at night"


def test_many_questions_are_written_and_one_that_cannot_be_asked_is_exit_code_1(database, tmp_path):
    (tmp_path / "q.txt").write_text("a red dog\n一只红色的猫\n", encoding="utf-8")
    done = typed("search", database, "--queries", tmp_path / "q.txt", "--limit", "1")
    assert done.exit_code == 0
    assert [json.loads(line)["hits"][0]["text"] for line in done.stdout.splitlines()] == ["a red dog", "一只红色的猫"]
    (tmp_path / "q.txt").write_text("a red dog\nuri:file:///none\n")
    done = typed("search", database, "--queries", tmp_path / "q.txt", "--output", tmp_path / "a.jsonl")
    assert (done.exit_code, "1 could not be asked" in done.stdout) == (1, True)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2


def test_answers_that_cannot_be_written_are_refused_before_they_are_searched_for(database, tmp_path, monkeypatch):
    (tmp_path / "q.txt").write_text("a red dog\n")
    monkeypatch.setattr(queries_file, "_together", None)  # whoever answers fails
    for output in (tmp_path / "none" / "a.jsonl", tmp_path / "a.csv"):
        done = typed("search", database, "--queries", tmp_path / "q.txt", "--output", output)
        assert (done.exit_code, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)


def test_what_was_written_is_told_as_json(database, tmp_path):
    (tmp_path / "q.txt").write_text("a red dog\nuri:file:///none\n")
    done = typed("search", database, "--queries", tmp_path / "q.txt", "--output", tmp_path / "a.jsonl", "--json")
    assert json.loads(done.stdout) == {"questions": 2, "problems": 1, "output": str(tmp_path / "a.jsonl")}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "q.txt"]


def test_a_condition_that_leaves_objects_of_another_table_is_told(database, tmp_path):
    pl.DataFrame({"uri": ["file:///b/texts/000.txt", "/elsewhere/1.txt", "/elsewhere/2.txt"], "price": [9, 1, 2]}).write_csv(
        tmp_path / "p.csv"
    )
    none = typed("search", database, "a dog", "--metadata", tmp_path / "p.csv", "--where", "price < 3", "--json")
    assert (none.exit_code, json.loads(none.stdout)) == (0, [])
    assert "leaves 2 objects, of which table 'media' holds 0" in none.stderr
    one = ("--metadata", tmp_path / "p.csv", "--where", "price > 1")
    assert "leaves 2 objects, of which table 'media' holds 1" in typed("search", database, "a dog", *one, "--min-score", "2").stderr
    assert typed("search", database, "a dog", *one).stderr == ""


def test_calibrate_tells_how_well_it_works_and_then_nonsense_gets_an_empty_answer(database):
    assert typed("search", database, "a dog", "--fits").exit_code == 2
    lines = answer("calibrate", database)
    assert {(line["asked"], line["found"]) for line in lines} == {("text", "image"), ("text", "text")}
    assert "area under the curve" in typed("calibrate", database).stdout
    assert answer("search", database, "a red dog", "--fits", "--modality", "text")
    done = typed("search", database, "xqzv wkjh", "--fits", "--modality", "text")
    assert (done.exit_code, done.stdout) == (0, "nothing found\n")


def test_an_analogy_leaves_out_what_it_is_made_of(database):
    hits = answer("analogy", database, "a red dog", "a blue dog", "a red cat", "--prefix", "file:///b/texts/", "--limit", "1")
    assert [hit["text"] for hit in hits] == ["a blue cat"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing is asked"),
        (["--where", "price < 3"], "--metadata"),
        (["a dog", "--queries", "q.txt"], "whole questions"),
        (["--like", "file:///none", "--hybrid"], "--hybrid needs QUERY"),
        (["--like", "file:///none"], "holds no 'file:///none'"),
        (["a dog", "--plus", "none.png"], "no file 'none.png'"),
        (["a dog", "--moments", "--per-object"], "moments"),
        (["a dog", "--moments", "--medium", "image"], "no moments"),
        (["a dog", "--medium", "smell"], "no medium 'smell'"),
        ([__file__, "--hybrid"], "--hybrid needs QUERY"),
        (["./none/dog", "--hybrid"], "no file './none/dog'"),
        (["a dog", "--output", "a.jsonl"], "--queries FILE"),
        (["caf\udce9"], "not UTF-8"),
        (["a dog", "--min-score", "nan"], "finite"),
        (["a dog", "--min-score", "inf"], "finite"),
    ],
)
def test_a_refusal_is_one_clear_line_and_exit_code_2(database, arguments, words):
    done = typed("search", database, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr and len(done.stderr.splitlines()) == 1
