"""Tables as files: what is written is read again, whole; what is none is refused with what would be one."""

from __future__ import annotations

import polars as pl
import pytest

from storage import row_files
from storage.row_files import RowFileError

FRAME = pl.DataFrame({"user": ["a", "王"], "rank": [1, 2]})


@pytest.mark.parametrize(("name", "reader"), [("o.csv", pl.read_csv), ("o.jsonl", pl.read_ndjson), ("o.parquet", pl.read_parquet)])
def test_a_file_appears_when_it_is_whole_and_any_program_reads_it(tmp_path, name, reader):
    row_files.writer(tmp_path / name, "ranks")(FRAME)
    assert reader(tmp_path / name).equals(FRAME)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_file_that_was_there_stays_if_the_new_one_cannot_be_written(tmp_path):
    (tmp_path / "o.csv").write_text("before")
    with pytest.raises(pl.exceptions.ComputeError):
        row_files.writer(tmp_path / "o.csv", "ranks")(pl.DataFrame({"nested": [[1]]}))
    assert (tmp_path / "o.csv").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["o.xlsx", "o", "no folder/o.csv"])
def test_a_file_that_cannot_be_written_is_refused_before_there_is_work_to_lose(tmp_path, name):
    with pytest.raises(RowFileError, match=r"ranks cannot be written to .* ending in \.parquet, \.csv, \.jsonl"):
        row_files.writer(tmp_path / name, "ranks")


@pytest.mark.parametrize(("name", "text"), [("a.csv", "x,y\n01,b\n"), ("a.tsv", "x\ty\n01\tb\n"), ("a.jsonl", '{"x": "01", "y": "b"}\n')])
def test_cells_are_texts_where_they_are_read_and_typed_where_they_are_scanned(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert row_files.read(tmp_path / name, "list").rows() == [("01", "b")]
    kind = row_files.scan(tmp_path / name, "list").collect_schema()["x"]
    assert kind == (pl.String if name == "a.jsonl" else pl.Int64)


@pytest.mark.parametrize("way", [row_files.read, row_files.scan])
def test_what_is_no_list_is_refused(tmp_path, way):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "broken.parquet").write_text("x")
    for name, told in (
        ("a.txt", "no list by its name; allowed are .parquet"),
        ("none.csv", "no file"),
        ("broken.parquet", "cannot be read"),
    ):
        with pytest.raises(RowFileError, match=told):
            way(tmp_path / name, "list")
