"""The rows of a table file: each one good, or with its reason; a file of which nobody can say where rows begin is refused as a whole."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoders.media.kinds import medium_by_name
from storage.errors import ObjectError
from storage.text_tables import Columns, RowLimits, text_table_rows
from tasks.row_names import TO_FILE, is_row, kind_of, row_uri

BODY = Columns("body")
WITH_ID = Columns("body", "sku")
KINDS = ["jsonl", "csv", "tsv", "parquet"]


def written(kind, records):
    """The bytes of a table file, made by somebody else's writer."""
    if kind == "jsonl":
        return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
    if kind == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(records), buffer)
        return buffer.getvalue()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(records[0]), delimiter="\t" if kind == "tsv" else ",")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue().encode()


@pytest.fixture
def read(tmp_path):
    """Rows of some bytes."""

    def rows(content, kind="jsonl", columns=BODY, **limits):
        path = tmp_path / "table"
        path.write_bytes(content)
        return list(text_table_rows(path, kind, columns, RowLimits(**limits)))

    return rows


def good(rows):
    return [(row.key, row.content.decode()) for row in rows if not row.reason]


def bad(rows):
    return [(row.key, row.reason) for row in rows if row.reason]


RECORDS = [
    {"sku": "7", "title": "A dog", "body": 'It says "woof", twice.\nThen it sleeps.'},
    {"sku": "B/8", "title": "", "body": "狗在叫, très fort\ttabs too"},
    {"sku": "c", "title": "Rain", "body": " rain "},
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_rows(read, kind):
    rows = read(written(kind, RECORDS), kind)
    assert good(rows) == [(str(number), record["body"]) for number, record in enumerate(RECORDS)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_caption_stands_in_front_of_the_text_and_an_id_names_the_row(read, kind):
    rows = read(written(kind, RECORDS), kind, Columns("body", "sku", "title"))
    bodies = [record["body"] for record in RECORDS]
    assert good(rows) == [("7", f"A dog\n{bodies[0]}"), ("B%2F8", bodies[1]), ("c", f"Rain\n{bodies[2]}")]


@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_table(read, kind):
    simple = [{"body": "a red dog"}, {"body": "a cat"}]
    content = b"\xef\xbb\xbf" + written(kind, simple).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    assert good(read(content, kind)) == [("0", "a red dog"), ("1", "a cat")]


def test_blank_lines_are_no_rows(read):
    assert good(read(b'\n{"body": "a"}\n\n  \n{"body": "b"}', "jsonl")) == [("0", "a"), ("1", "b")]
    assert good(read(b"x,body\n\n1,a\n\n2,b", "csv")) == [("0", "a"), ("1", "b")]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("null", "empty"),
        ('""', "empty"),
        ('" \\n\\t"', "empty"),
        ("12.5", "not a string"),
        ("true", "not a string"),
        ('{"en": "a dog"}', "not a string"),
        ('["a", "dog"]', "not a string"),
        ('"%s"' % ("x" * 101), "too many characters"),
    ],
)
def test_a_row_whose_text_cannot_be_embedded_says_why_and_harms_no_other(read, value, reason):
    rows = read(f'{{"body": "before"}}\n{{"body": {value}}}\n{{"body": "after"}}\n'.encode(), characters=100)
    assert good(rows) == [("0", "before"), ("2", "after")]
    assert bad(rows) == [("1", reason)]


def test_a_row_without_the_column_is_empty(read):
    assert bad(read(b'{"body": "a"}\n{"text": "b"}\n')) == [("1", "empty")]


@pytest.mark.parametrize("line", [b'{"body": "cut', b"[1, 2]", b'"words"', b"nonsense", b"[" * 100_000, b'{"body": ' + b"9" * 5000 + b"}"])
def test_a_line_that_is_no_json_object_harms_no_other(read, line):
    rows = read(b'{"body": "before"}\n' + line + b'\n{"body": "after"}')
    assert good(rows) == [("0", "before"), ("2", "after")]
    assert bad(rows) == [("1", "not JSON")]


def parquet_of_bytes(values):
    """A string column whose bytes nobody checked."""
    column = pa.array(values, pa.binary()).view(pa.string())
    buffer = io.BytesIO()
    pq.write_table(pa.table({"body": column}), buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("jsonl", b'{"body": "good"}\n{"body": "caf\xe9"}\n'),
        ("csv", b"body,x\ngood,1\ncaf\xe9,2\n"),
        ("parquet", parquet_of_bytes([b"good", b"caf\xe9"])),
    ],
)
def test_a_row_that_is_not_utf8_harms_no_other(read, kind, content):
    rows = read(content, kind)
    assert (good(rows), bad(rows)) == ([("0", "good")], [("1", "not UTF-8")])


def test_half_a_character_written_by_json_becomes_a_replacement_character(read):
    assert good(read(b'{"body": "a dog \\ud83d!"}')) == [("0", "a dog \ufffd!")]


def test_a_csv_row_with_too_many_or_too_few_fields_is_refused_since_its_columns_may_have_moved(read):
    rows = read(b"sku,body,x\n1,good,a\n2,a, comma,b\n3\n4,good too,c\n", "csv")
    assert (good(rows), bad(rows)) == ([("0", "good"), ("3", "good too")], [("1", "ragged row"), ("2", "ragged row")])


def test_parquet_strings_may_be_dictionaries_large_or_plain_bytes(read):
    for type_ in (pa.dictionary(pa.int32(), pa.string()), pa.large_string(), pa.binary(), pa.string_view()):
        buffer = io.BytesIO()
        pq.write_table(pa.table({"body": pa.array(["a dog", "a cat", None]).cast(type_)}), buffer)
        rows = read(buffer.getvalue(), "parquet")
        assert (good(rows), bad(rows)) == ([("0", "a dog"), ("1", "a cat")], [("2", "empty")]), type_


def test_an_id_is_a_string_or_an_integer(read):
    lines = [f'{{"sku": {sku}, "body": "b"}}' for sku in ('"x"', "12", "null", '""', "1.5", "true", "[1]", '"%s"' % ("y" * 513))]
    rows = read("\n".join([*lines, '{"body": "b"}']).encode(), columns=WITH_ID)
    assert [key for key, _ in good(rows)] == ["x", "12"]
    assert bad(rows) == [(f"@{number}", "bad id") for number in range(2, 9)]


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_every_id_has_a_name_of_its_own_that_no_reader_takes_for_a_file(tmp_path_factory, one, two):
    path = tmp_path_factory.mktemp("ids") / "t.jsonl"
    path.write_text("".join(json.dumps({"sku": sku, "body": "b"}) + "\n" for sku in (one, two)))
    uris = [row_uri("s3://b/shop.v2/t.JSONL", row.key) for row in text_table_rows(path, "jsonl", WITH_ID, RowLimits())]
    assert (uris[0] == uris[1]) == (one == two)
    for uri in uris:
        assert is_row(uri)
        assert re.sub(*TO_FILE, uri) == "s3://b/shop.v2/t.JSONL"
        assert medium_by_name(uri) is None


def test_tables_are_known_by_their_names():
    names = {"a.jsonl": "jsonl", "a.NDJSON": "jsonl", "b/c.csv": "csv", "x.tsv": "tsv", "y.parquet": "parquet", "a.csv.gz": "compressed"}
    assert {name: kind_of(f"s3://b/{name}") for name in names} == names
    for name in ("a.json", "a.txt", "a.gz", "csv", ".csv", "a.csv/b", "a.xlsx"):
        assert kind_of(f"s3://b/{name}") is None
        assert not is_row(f"s3://b/{name}")


def utf16(text):
    return text.encode("utf-16")


FEW = written("parquet", [{"body": f"a dog {number}"} for number in range(5)])
WHOLE = written("parquet", [{"body": "a dog"}] * 1000)


@pytest.mark.parametrize(
    ("kind", "content", "reason", "told"),
    [
        ("parquet", WHOLE[: len(WHOLE) // 2], "corrupt", "it cannot be read"),
        ("parquet", FEW[:4] + b"\xff" * 60 + FEW[64:], "corrupt", "it cannot be read"),
        ("parquet", b"", "empty", "no bytes"),
        ("parquet", written("parquet", [{"text": "a"}]), "no column", "no column 'body' (tables.text): it has text"),
        ("csv", b"sku;body\n1;a dog\n", "no column", "it has sku;body"),
        ("csv", b'sku,body\n1,"a dog\n2,a cat\n', "corrupt", "near line 3"),
        ("csv", b'sku,body\n1,"a "dog"\n', "corrupt", "near line 2"),
        ("csv", utf16("sku,body\n1,a dog\n"), "not UTF-8", "UTF-16"),
        ("csv", b"sku,body\n", "empty", "no row"),
        ("jsonl", b"\n\n", "empty", "no row"),
        ("jsonl", b"", "empty", "no bytes"),
        ("jsonl", b'{"text": "a"}\n{"text": "b"}\n', "no column", "no column 'body' (tables.text): no row has it"),
        ("jsonl", b"a,b\nc,d\n", "not JSON", "not one of its 2 rows"),
        ("jsonl", b'{"body": 1}\n{"body": 2}\n', "not a string", "not one of its 2 rows"),
        ("jsonl", gzip.compress(b'{"body": "a"}', mtime=0), "compressed", "gzip"),
        ("parquet", gzip.compress(WHOLE, mtime=0), "compressed", "gzip"),
        ("jsonl", b'{"body": "a"}\n' * 11, "too many rows", "allowed are 10"),
        ("parquet", WHOLE, "too many rows", "it has 1,000 rows"),
        ("jsonl", b'{"body": "' + b"a" * 990 + b'"}\n' + b'{"body": "' + b"a" * 990 + b'"}\n', "too many bytes", "limits.bytes"),
    ],
)
def test_a_file_that_is_no_table_of_texts_is_refused_as_a_whole(read, kind, content, reason, told):
    with pytest.raises(ObjectError) as refused:
        read(content, kind, rows=10, bytes=1500)
    assert refused.value.reason == reason
    assert told in refused.value.message


def test_a_misspelled_caption_is_no_silent_loss(read):
    with pytest.raises(ObjectError, match=r"tables\.caption"):
        read(b'{"body": "a", "title": "t"}\n', columns=Columns("body", caption="titel"))


def test_an_object_nested_deeper_than_python_prints_is_a_row_like_any_other(read):
    deep = '{"body": ' + "[" * 700 + "]" * 700 + '}\n{"body": "a dog"}\n'
    assert bad(read(deep.encode())) == [("0", "not a string")]
