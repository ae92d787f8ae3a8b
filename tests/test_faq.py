"""Known questions: read from a file, compared as questions with questions, and every row of the file accounted for."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from encoders import registry
from encoders.spaces import load_space
from retrieval.answers.faq import KnownQuestions, read_faq
from retrieval.errors import QueryError
from retrieval.query_encoder import QueryEncoder
from storage.row_files import RowFileError

ROWS = [
    {"question": "a big red dog barking", "answer": "It is Rex, on the left."},
    {"question": "a blue train", "answer": "Platform 2.\nDaily, except Sundays."},
    {"question": "rain, in the night", "answer": 'She said "no".'},
]


@pytest.fixture(scope="module")
def space():
    return load_space("miniature")


@pytest.fixture(scope="module")
def encoder(space):
    return registry.build(space.encoders["text"], "cpu", "float32")


@pytest.fixture(scope="module")
def queries(space):
    return QueryEncoder(space)


def written(folder: Path, ending: str, rows: list[dict[str, object]]) -> Path:
    path = folder / f"faq{ending}"
    frame = pl.DataFrame(rows)
    if ending == ".parquet":
        frame.write_parquet(path)
    elif ending in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if ending == ".tsv" else ",")
            table.writeheader()
            table.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
def test_every_format_gives_the_same_questions_and_answers(tmp_path: Path, ending: str):
    faq = read_faq(written(tmp_path, ending, [{"id": "7", **row} for row in ROWS]))
    assert faq.frame.select("question", "answer").to_dicts() == ROWS
    assert (faq.rows, faq.incomplete, faq.repeated) == (3, 0, 0)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_rows_without_question_or_answer_and_repeated_questions_are_counted(tmp_path: Path, ending: str):
    more = [{"question": None, "answer": "x"}, {"question": "  ", "answer": "x"}, {"question": "y", "answer": None}]
    again = {"question": " a blue train ", "answer": "Platform 3."}
    faq = read_faq(written(tmp_path, ending, [*ROWS, *more, again]))
    assert (faq.rows, faq.incomplete, faq.repeated) == (7, 3, 1)
    assert faq.frame.get_column("answer").to_list()[1] == ROWS[1]["answer"]
    assert faq.frame.get_column("row").to_list() == [0, 1, 2]


def test_numbers_are_words(tmp_path: Path):
    assert read_faq(written(tmp_path, ".jsonl", [{"question": 42, "answer": 7}])).frame.row(0) == (0, "42", "7")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("faq.xlsx", "", "is no FAQ by its name"),
        ("faq.csv", "frage,answer\na,b\n", "has no column question; it has frage, answer"),
        ("faq.csv", "question,answer\n,\n", "not one of the 1 rows"),
        ("faq.jsonl", "{", "cannot be read"),
        ("faq.parquet", "PAR1", "cannot be read"),
        ("faq.csv", "", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused_with_what_is_wrong(tmp_path: Path, name: str, content: str, told: str):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises((QueryError, RowFileError), match=told):
        read_faq(tmp_path / name)


@pytest.mark.parametrize("column", ["question", "answer"])
@pytest.mark.parametrize("cell", [["a blue train"], {"en": "a blue train"}, b"a blue train"])
def test_a_column_of_anything_but_texts_is_refused(tmp_path: Path, column: str, cell: object):
    with pytest.raises(QueryError, match=f"column '{column}' of the FAQ .* a question and an answer are texts"):
        read_faq(written(tmp_path, ".parquet", [{"question": "a", "answer": "b", column: cell}]))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(RowFileError, match="there is no file"):
        read_faq(tmp_path / "none.csv")


def test_the_nearest_question_is_that_of_a_comparison_one_by_one(tmp_path: Path, encoder, queries):
    asked = [f"a {size} {colour} {thing}" for size in ("big", "small") for colour in ("red", "blue", "green") for thing in ("dog", "train")]
    rows = [{"question": question, "answer": f"answer {n}"} for n, question in enumerate(asked)]
    known = KnownQuestions.of(read_faq(written(tmp_path, ".jsonl", rows)), encoder)
    for question in ("a tiny green train", "a huge blue dog", "a red dog"):
        vector = queries.embed(question)
        scores = [float((vector @ queries.embed(other).T).max()) for other in asked]
        match = known.nearest(vector)
        assert match is not None and match.row == int(np.argmax(scores)) and match.answer == f"answer {match.row}"
        assert match.score == pytest.approx(max(scores), abs=1e-5)


def test_the_very_same_question_scores_one(tmp_path: Path, encoder, queries):
    known = KnownQuestions.of(read_faq(written(tmp_path, ".csv", ROWS)), encoder)
    match = known.nearest(queries.embed("a blue train"))
    assert match is not None and (match.row, match.answer) == (1, ROWS[1]["answer"])
    assert match.score == pytest.approx(1, abs=1e-5)


def test_many_questions_go_through_the_encoder_in_batches(tmp_path: Path, encoder):
    calls: list[int] = []

    class Counting:
        spec, tokenizer, prepare, prepare_query = encoder.spec, encoder.tokenizer, encoder.prepare, encoder.prepare_query

        def encode(self, inputs):
            calls.append(len(inputs["input_ids"]))
            return encoder.encode(inputs)

    rows = [{"question": f"a red dog and {n} trains", "answer": "yes"} for n in range(300)]
    known = KnownQuestions.of(read_faq(written(tmp_path, ".jsonl", rows)), Counting())
    assert sum(calls) == 300 and len(calls) <= 5 and len(known.vectors) == 300


def test_a_long_question_is_compared_by_its_nearest_part(tmp_path: Path, encoder, queries):
    long = "a green train in the rain. " * 12 + "A big red dog barking."
    known = KnownQuestions.of(read_faq(written(tmp_path, ".jsonl", [{"question": long, "answer": "x"}])), encoder)
    assert len(known.vectors) > 1
    vector = queries.embed("a big red dog barking")
    assert known.nearest(vector).score == pytest.approx(float((known.vectors @ vector.T).max()), abs=1e-5)
    assert known.nearest(vector).row == 0


def test_what_is_left_out_is_told_by_reason(tmp_path: Path, encoder):
    rows = [*ROWS, {"question": "a blue train", "answer": "again"}, {"question": "", "answer": "x"}]
    known = KnownQuestions.of(read_faq(written(tmp_path, ".jsonl", rows)), encoder)
    assert known.left_out == {"without question or answer": 1, "asked by an earlier row": 1}
