"""Many questions from a file get the answers that each gets alone, and one that cannot be asked harms only itself."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from asked_table import DIMENSION, opened, row, texts
from buckets import embed, picture

from retrieval.filters import Filter
from retrieval.query import QueryError, Searcher
from retrieval.search import nothing_fits, queries_file
from retrieval.search.question import parse
from retrieval.search.search import Manner, search
from storage.row_files import RowFileError

WORDS = ["dog", "cat", "bird", "red", "blue", "green", "night", "sea", "rain", "一只", "火车"]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    rng = np.random.default_rng(4)
    said = [" ".join(rng.choice(WORDS, 4)) for _ in range(80)]
    pictures = [row(f"file:///b/p{k}.png", rng.standard_normal(DIMENSION)) for k in range(40)]
    return opened(tmp_path_factory.mktemp("many") / "lance", [*texts(said), *pictures])


ASKED = [f"{a} {b}" for a in WORDS for b in WORDS[:3]] + ["uri:file:///b/p3.png", "blue " * 900]


@pytest.mark.parametrize(
    ("keep", "manner"),
    [
        (Filter(), Manner(limit=5)),
        (Filter(media=("text",)), Manner(limit=4, per_object=True)),
        (Filter(), Manner(limit=7, least=0.3)),
        (Filter(), Manner(limit=5, must="dog")),
        (Filter(media=("image",)), Manner(limit=3, diversity=0.5)),
    ],
)
def test_questions_of_a_file_get_the_answers_that_each_gets_alone(searcher, monkeypatch, keep, manner):
    monkeypatch.setattr(queries_file, "TOGETHER", 20)
    answered = list(queries_file.answer(searcher, ASKED, keep, manner))
    assert [(one.number, one.query, one.problem) for one in answered] == [(k, query, "") for k, query in enumerate(ASKED)]
    for one in answered:
        alone = search(searcher, [parse(one.query)], keep, manner)
        np.testing.assert_allclose([hit.score for hit in one.hits], [hit.score for hit in alone], atol=1e-3)
        # Of equal scores either may come first, or be the last that there is room for.
        clear = {hit.uri for hit in alone if hit.score > alone[-1].score + 1e-3}
        assert clear <= {hit.uri for hit in one.hits}
    assert any(one.hits for one in answered)


def test_a_question_that_cannot_be_asked_is_told_and_its_neighbours_are_answered(searcher):
    asked = ["a dog", "uri:file:///b/none.png", "nowhere/none.png", " ", *ASKED[:8]]
    answered = list(queries_file.answer(searcher, asked, Filter(), Manner(limit=2)))
    assert [bool(one.problem) for one in answered] == [False, True, True, True] + 8 * [False]
    for one, words in zip(answered[1:], ("none.png", "no file", "no vector: empty"), strict=False):
        assert words in one.problem
    for one in answered:
        expected = [] if one.problem else searcher.search(one.query, limit=2)
        np.testing.assert_allclose([hit.score for hit in one.hits], [hit.score for hit in expected], atol=1e-3)


def test_where_words_cannot_be_asked_other_questions_still_are(tmp_path):
    (tmp_path / "pictures").mkdir()
    for number in range(3):
        (tmp_path / "pictures" / f"{number}.png").write_bytes(picture(number))
    (tmp_path / "pics.toml").write_text('name = "pics"\n[image]\nencoder = "clip-image"\nweights = "package:miniature/clip"\n')
    embed(tmp_path / "pictures", tmp_path / "lance", space=str(tmp_path / "pics.toml"))
    asked = ["a big bird", str(tmp_path / "pictures" / "1.png")]
    words, shown = queries_file.answer(Searcher(str(tmp_path / "lance")), asked, Filter(), Manner(limit=1))
    assert "cannot embed words" in words.problem and not words.hits
    assert not shown.problem and shown.hits[0].uri.endswith("/1.png")


def test_only_what_fits_is_answered_in_a_file_as_it_is_alone(searcher, tmp_path):
    nothing_fits.calibrate(searcher)
    answered = list(queries_file.answer(searcher, ASKED[:12], Filter(), Manner(limit=5, fits=True)))
    for one in answered:
        assert list(one.hits) == search(searcher, [parse(one.query)], Filter(), Manner(limit=5, fits=True))


def test_answers_are_written_as_lines_of_questions_or_rows_of_hits(searcher, tmp_path):
    asked = ["a dog", "uri:file:///b/none.png", "zzz*1"]
    answered = list(queries_file.answer(searcher, asked, Filter(), Manner(limit=3)))
    assert queries_file.write(tmp_path / "a.jsonl", answered) == (3, 1)
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["query"] for line in lines] == asked and lines[0]["hits"][0]["uri"] == answered[0].hits[0].uri and "problem" in lines[1]
    queries_file.write(tmp_path / "a.parquet", answered)
    rows = pl.read_parquet(tmp_path / "a.parquet")
    assert rows.filter(number=0).get_column("uri").to_list() == [hit.uri for hit in answered[0].hits]
    assert rows.filter(number=1).select("uri", pl.col("problem").is_not_null()).rows() == [(None, True)]
    with pytest.raises(QueryError, match=r"none of \.jsonl, \.parquet"):
        queries_file.write(tmp_path / "a.csv", answered)


@pytest.mark.parametrize("kind", ["txt", "csv", "jsonl", "parquet"])
def test_questions_are_read_as_they_stand(tmp_path, kind):
    asked, path = ["a dog, red", "夜晚的猫", "007"], tmp_path / f"q.{kind}"
    frame = pl.DataFrame({"id": [1, 2, 3], "query": asked})
    {
        "txt": lambda: path.write_text("\n".join(["a dog, red", "", *asked[1:], ""]), encoding="utf-8"),
        "csv": lambda: frame.write_csv(path),
        "jsonl": lambda: frame.write_ndjson(path),
        "parquet": lambda: frame.write_parquet(path),
    }[kind]()
    assert queries_file.read(path) == asked


def test_a_file_that_holds_no_questions_is_refused(tmp_path):
    pl.DataFrame({"question": ["a"]}).write_csv(tmp_path / "other.csv")
    pl.DataFrame({"query": [["a"], ["b", "c"]]}).write_ndjson(tmp_path / "lists.jsonl")
    pl.DataFrame({"query": [{"q": "a"}]}).write_parquet(tmp_path / "objects.parquet")
    pl.DataFrame({"query": ["a", " ", None]}).write_ndjson(tmp_path / "empty.jsonl")
    (tmp_path / "q.xml").touch()
    for name, words in {
        "other.csv": "column 'query'",
        "empty.jsonl": "question 2 .* is empty",
        "lists.jsonl": "questions are texts",
        "objects.parquet": "questions are texts",
        "q.xml": "no list of questions",
        "none.txt": "No such file",
    }.items():
        with pytest.raises((QueryError, RowFileError), match=words):
            queries_file.read(tmp_path / name)
