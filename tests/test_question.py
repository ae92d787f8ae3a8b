"""A question is a sum of words, files, objects of the table and vectors; what it is asked with is no answer; diverse answers; metadata."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from asked_table import DIMENSION, opened, row, texts, unit
from tiny_words import TINY

from encoders import registry
from encoders.spec import Space
from retrieval.filters import Filter
from retrieval.query import QueryError
from retrieval.query_encoder import QueryEncoder
from retrieval.search.metadata import objects_where
from retrieval.search.question import Item, Term, parse, read_vector, vectors, words_or_path
from retrieval.search.search import Manner, moments, search
from storage.row_files import RowFileError

WORDS = ["a red dog", "a red cat", "a blue dog", "a blue cat", "green birds sing", "the sea at night", "a dog at night"]
RNG = np.random.default_rng(3)
FRAMES = RNG.standard_normal((6, DIMENSION))
NEAR = RNG.standard_normal(DIMENSION)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    video = [row("file:///b/v.mp4", v, s, "video", "image", start=2.0 * s, end=2.0 * s + 2) for s, v in enumerate(FRAMES)]
    near = [row(f"file:///b/near{k}.png", NEAR + 0.2 * RNG.standard_normal(DIMENSION)) for k in range(8)]
    other = [row("file:///b/other.png", NEAR + 1.2 * RNG.standard_normal(DIMENSION))]
    return opened(tmp_path_factory.mktemp("question") / "lance", [*texts(WORDS), *video, *near, *other])


def whole(windows):
    return unit(np.asarray(windows).mean(axis=0))


def test_one_thing_alone_keeps_its_windows_and_in_a_sum_each_thing_is_one_vector(searcher):
    held = searcher.vectors_of("file:///b/v.mp4")
    np.testing.assert_allclose(vectors(searcher, [Term(Item("file:///b/v.mp4"))]), unit(held), atol=1e-6)
    np.testing.assert_allclose(vectors(searcher, [Term(Item("file:///b/v.mp4", 4))]), unit(held[4:5]), atol=1e-6)
    extra = RNG.standard_normal((2, DIMENSION))
    question = [Term(Item("file:///b/v.mp4")), Term("a red dog", 0.5), Term(extra, -2.0)]
    expected = whole(unit(held)) + 0.5 * searcher.embed("a red dog")[0] - 2 * whole(unit(extra))
    np.testing.assert_allclose(vectors(searcher, question), unit(expected)[None], atol=1e-5)
    np.testing.assert_allclose(vectors(searcher, [Term("a red dog", -1.0)]), -searcher.embed("a red dog"), atol=1e-6)


def test_a_sum_finds_what_has_the_one_and_not_the_other(searcher):
    hits = search(searcher, [Term("a red dog"), Term("red", -1.0), Term("blue")], Filter(media=("text",)), Manner(limit=1))
    assert hits[0].text == "a blue dog"


def test_objects_that_are_asked_with_are_no_answers(searcher):
    like = search(searcher, [Term(Item("file:///b/near0.png"))], manner=Manner(limit=3))
    assert "file:///b/near0.png" not in {hit.uri for hit in like} and all("near" in hit.uri for hit in like)
    both = search(searcher, [Term(Item("file:///b/near0.png")), Term(Item("file:///b/near1.png"), -0.5)], manner=Manner(limit=1000))
    assert {"file:///b/near0.png", "file:///b/near1.png"}.isdisjoint(hit.uri for hit in both)


def test_what_is_typed_is_words_a_path_or_an_object_with_a_weight(tmp_path):
    (tmp_path / "a*2.txt").write_text("x")
    assert parse("at night*0.5", sign=-1) == Term("at night", -0.5)
    assert parse("2 * 3 stars") == Term("2 * 3 stars", 1.0)
    assert parse("uri:file:///b/x#3*2") == Term(Item("file:///b/x#3"), 2.0)
    (tmp_path / "note.txt").write_text("x")
    assert parse(f"{tmp_path}/note.txt*3") == Term(tmp_path / "note.txt", 3.0)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        parse("none.png*2")


def test_a_vector_is_read_from_a_file_and_nothing_else_is(tmp_path):
    np.save(tmp_path / "one.npy", np.arange(DIMENSION))
    np.testing.assert_array_equal(read_vector(tmp_path / "one.npy", DIMENSION).what, np.arange(DIMENSION))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object))
    np.save(tmp_path / "short.npy", np.zeros(3))
    np.save(tmp_path / "empty.npy", np.zeros((0, DIMENSION)))
    (tmp_path / "text.npy").write_text("no array")
    np.savez(tmp_path / "several.npz", a=np.zeros(DIMENSION))
    for name, words in {
        "objects.npy": "no array",
        "short.npy": r"float64 \(3,\)",
        "empty.npy": "one window at least",
        "text.npy": "no array",
        "several.npz": "several",
    }.items():
        with pytest.raises((QueryError, RowFileError), match=words):
            read_vector(tmp_path / name, DIMENSION)
    with pytest.raises(QueryError, match="no array"):
        read_vector(tmp_path / "none.npy", DIMENSION)


@pytest.mark.parametrize(
    "missing",
    [
        "some/pictures/big white cat 999.jpg",
        "/home/nobody here/missing folder/dog.png",
        "./missing",
        "../missing",
        "~/nothere/dog",
        "file:///nowhere/nope.xyz",
        "none.png",
    ],
)
def test_the_path_of_a_missing_file_is_never_searched_for_as_words(missing):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        words_or_path(missing)


def test_a_folder_is_refused_and_words_with_a_slash_stay_words(tmp_path, monkeypatch):
    (tmp_path / "cats" / "black").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for folder in (str(tmp_path), tmp_path.as_uri(), "cats/black", "cats/", ".", "~"):
        with pytest.raises(IsADirectoryError, match="is a folder"):
            words_or_path(folder)
    for words in ("cats", "and/or", "24/7 open", "~nobody at home", "...", "what is in a.txt", "", "a/" * 5000):
        assert words_or_path(words) == words


def test_a_query_that_has_no_vector_says_whether_it_is_empty_unknown_or_no_utf_8(searcher, tmp_path):
    known = QueryEncoder(Space("words", {"text": registry.describe("word-vectors", **TINY["word-vectors"](tmp_path / "words"))}))
    assert known.embed("a red dog").shape == (1, 24)
    with pytest.raises(QueryError, match="none of the query's words has a vector"):
        known.embed("xyzzy")
    with pytest.raises(QueryError, match="the query is empty"):
        known.embed(" \n ")
    with pytest.raises(QueryError, match="not UTF-8"):
        searcher.embed("caf\udce9")
    with pytest.raises(QueryError, match=r"text 2 of 2 .* has no vector: not UTF-8"):
        searcher.embed_texts(["a", "caf\udce9"])


def test_a_number_that_leaves_no_answer_is_refused(searcher):
    with pytest.raises(QueryError, match="limit of 1"):
        searcher.search("dog", limit=0)
    for wrong in ({"limit": 0}, {"least": float("nan")}, {"least": float("-inf")}, {"diversity": float("nan")}):
        with pytest.raises(QueryError, match="give a"):
            Manner(**wrong)


def test_what_cancels_out_and_what_has_no_direction_is_refused(searcher):
    with pytest.raises(QueryError, match="cancel each other out"):
        vectors(searcher, [Term("a red dog"), Term("a red dog", -1.0)])
    for bad in (np.zeros(DIMENSION), np.full(DIMENSION, np.nan)):
        with pytest.raises(QueryError, match="no direction"):
            vectors(searcher, [Term(bad)])
    with pytest.raises(QueryError, match="has no windows"):
        vectors(searcher, [Term(np.zeros((0, DIMENSION)))])
    with pytest.raises(QueryError, match="nothing is asked"):
        search(searcher, [])


def test_diverse_answers_are_chosen_from_five_times_as_many_by_maximal_marginal_relevance(searcher):
    question = [Term(NEAR)]
    pool = search(searcher, question, manner=Manner(limit=15))
    held, taken = unit(searcher.vectors_at(pool)), [0]
    for _ in range(2):  # as Carbonell and Goldstein write it
        rest = [k for k in range(len(pool)) if k not in taken]
        taken.append(max(rest, key=lambda k: 0.4 * pool[k].score - 0.6 * max(float(held[k] @ held[t]) for t in taken)))
    diverse = search(searcher, question, manner=Manner(limit=3, diversity=0.6))
    assert diverse == [pool[k] for k in taken]
    assert diverse != pool[:3]
    assert search(searcher, question, manner=Manner(limit=3, diversity=0.0)) == pool[:3]


def test_what_scores_less_than_the_least_is_no_answer(searcher):
    scores = [hit.score for hit in search(searcher, [Term(NEAR)], manner=Manner(limit=20))]
    assert [hit.score for hit in search(searcher, [Term(NEAR)], manner=Manner(limit=20, least=scores[5]))] == scores[:6]
    assert search(searcher, [Term(NEAR)], manner=Manner(least=1.1)) == []


def test_moments_of_a_sum_are_merged_and_of_one_segment_each_there_are_none(searcher):
    question = [Term(FRAMES[2]), Term(FRAMES[3])]
    best = moments(searcher, question, Filter(), Manner(limit=2))[0]
    assert (best.uri, best.start, best.end, best.hits) == ("file:///b/v.mp4", 4.0, 8.0, 2)
    with pytest.raises(QueryError, match="moments"):
        moments(searcher, question, Filter(), Manner(per_object=True))
    with pytest.raises(QueryError, match="image have no moments"):
        moments(searcher, question, Filter(media=("image",)), Manner())


PRICES = pl.DataFrame({"uri": ["a", "b", "c", "c", None], "price": [5, 30, None, 7, 1], "colour": ["red", "blue", "red", "red", "red"]})
WRITERS = {"csv": "write_csv", "parquet": "write_parquet", "jsonl": "write_ndjson", "tsv": "write_csv"}


@pytest.mark.parametrize("kind", WRITERS)
def test_a_condition_on_own_columns_leaves_the_objects_for_which_it_is_true(tmp_path, kind):
    path = tmp_path / f"prices.{kind}"
    getattr(PRICES, WRITERS[kind])(path, **({"separator": "\t"} if kind == "tsv" else {}))
    assert objects_where(path, "price < 10 AND colour = 'red'") == {"a", "c"}
    assert objects_where(path, "NOT price < 10") == {"b"}
    assert objects_where(path, "colour LIKE 'gr%'") == frozenset()


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("prize < 3", "no column prize; it has uri, price, colour"),
        ("price", "not true or false"),
        ("price <", "no condition"),
        ("price < 3; DROP TABLE x", "no condition"),
        ("price < 'x'", "cannot be asked"),
    ],
)
def test_a_condition_that_is_none_is_refused(tmp_path, condition, words):
    PRICES.write_parquet(tmp_path / "prices.parquet")
    with pytest.raises((QueryError, RowFileError), match=words):
        objects_where(tmp_path / "prices.parquet", condition)


def test_metadata_that_cannot_be_joined_are_refused(tmp_path):
    PRICES.drop("uri").write_csv(tmp_path / "prices.csv")
    (tmp_path / "broken.parquet").write_text("no parquet")
    (tmp_path / "prices.xlsx").touch()
    for name, words in {
        "prices.csv": "must say whose",
        "broken.parquet": "cannot be read",
        "prices.xlsx": "no metadata file by its name",
        "none.csv": "no file",
    }.items():
        with pytest.raises((QueryError, RowFileError), match=words):
            objects_where(Path(tmp_path / name), "price < 3")


def test_many_texts_have_one_vector_each_and_one_without_is_named(searcher):
    said = ["a red dog", "the sea " * 900, "一只 猫"]
    windows = [searcher.embed(text) for text in said]
    assert len(windows[1]) > 1
    np.testing.assert_allclose(searcher.embed_texts(said), [whole(each) for each in windows], atol=1e-5)
    assert searcher.embed_texts([]).shape == (0, DIMENSION)
    with pytest.raises(QueryError, match=r"text 2 of 3 \(' '\) has no vector: empty"):
        searcher.embed_texts(["a", " ", "b"])
