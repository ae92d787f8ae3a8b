"""No bad vector becomes a row, and staged streams come back as they went in, one batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from table_rows import DIMENSION, NOW, batch

from storage import batches, schema
from storage.errors import StorageError

SCHEMA = schema.rows(DIMENSION)


def unit(n: int) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((n, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def columns(n: int) -> dict[str, object]:
    return {
        "uri": [f"s3://bucket/{k}" for k in range(n)],
        "segment": 0,
        "source": "s3://bucket",
        "size": pa.array(range(n)),
        "content_hash": "0" * 64,
        "medium": "image",
        "modality": "image",
        "embedded_at": NOW,
        "run": "r1",
    }


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (np.nan, "not finite"),
        (np.inf, "not finite"),
        (-np.inf, "not finite"),
        (0.0, "zero vector"),
        (1.01, "not unit length"),
        (0.99, "not unit length"),
        (1e30, "not unit length"),
        (1.0005, ""),
        (0.9995, ""),
    ],
)
def test_a_bad_vector_is_named_and_its_neighbours_are_not(fault: float, reason: str) -> None:
    vectors = unit(5)
    vectors[2] *= np.float32(fault)
    bad, reasons = batches.check_vectors(vectors, DIMENSION)
    assert bad.tolist() == [False, False, reason != "", False, False]
    assert reasons == ["", "", reason, "", ""]


def test_one_number_that_is_not_finite_spoils_its_vector_alone() -> None:
    vectors = unit(3)
    vectors[1, 4] = np.nan
    assert batches.check_vectors(vectors, DIMENSION)[1] == ["", "not finite", ""]


@pytest.mark.parametrize("shape", [(3, DIMENSION + 1), (3, DIMENSION - 1), (3, 0), (3,), (3, 2, DIMENSION)])
def test_vectors_of_another_dimension_are_all_bad(shape: tuple[int, ...]) -> None:
    bad, reasons = batches.check_vectors(np.ones(shape, np.float32), DIMENSION)
    assert bad.all() and reasons == ["wrong dimension"] * 3


def test_no_vectors_are_no_bad_vectors() -> None:
    bad, reasons = batches.check_vectors(np.empty((0, DIMENSION), np.float32), DIMENSION)
    assert bad.shape == (0,) and reasons == []


def test_vectors_that_are_all_the_same_are_noticed() -> None:
    vectors = unit(4)
    assert not batches.all_same(vectors)
    assert not batches.all_same(vectors[:1])
    assert not batches.all_same(vectors[:0])
    assert batches.all_same(np.repeat(vectors[:1], 4, axis=0))
    assert not batches.all_same(np.concatenate([np.repeat(vectors[:1], 4, axis=0), vectors[1:2]]))


def test_rows_carry_their_columns_and_the_vectors_rounded_to_half_precision() -> None:
    vectors = unit(3)
    made = batches.rows(SCHEMA, columns(3), vectors)
    assert made.schema.equals(SCHEMA)
    assert made["size"].to_pylist() == [0, 1, 2]
    assert made["run"].to_pylist() == ["r1"] * 3
    assert made["etag"].null_count == made["start"].null_count == 3
    assert np.array_equal(np.asarray(made["vector"].to_pylist(), np.float16), vectors.astype(np.float16))


def test_a_unit_vector_is_still_one_after_rounding() -> None:
    for dimension in (4, 64, 512, 4096):
        vectors = np.random.default_rng(dimension).standard_normal((200, dimension))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        assert not batches.check_vectors(vectors.astype(np.float16).astype(np.float32), dimension)[0].any()


@pytest.mark.parametrize(
    ("change", "vectors", "word"),
    [
        ({}, unit(3) * 2, "not unit length"),
        ({}, unit(3)[:, :-1], "wrong dimension"),
        ({"uri": ["a", "b"]}, unit(3), "2 values for 3"),
        ({"uri": ["a", None, "c"]}, unit(3), "lacks 1 of 3"),
        ({"run": None}, unit(3), "lacks 3 of 3"),
        ({"segment": ["x", "y", "z"]}, unit(3), "holds int32"),
        ({"segment": 2**40}, unit(3), "holds int32"),
        ({"colour": "red"}, unit(3), "no column colour"),
    ],
)
def test_rows_that_the_table_cannot_hold_are_refused(change: dict[str, object], vectors: np.ndarray, word: str) -> None:
    with pytest.raises(StorageError, match=word):
        batches.rows(SCHEMA, columns(3) | change, vectors)


# -- staged streams ----------------------------------------------------------------------------------------------------------------------


def test_a_staged_stream_comes_back_as_it_went_in(tmp_path: Path) -> None:
    sent = [batch({"a": ("v1", 3)}), batch({"it's\n猫": ("v1", 2)})]
    assert batches.write_stream(tmp_path / "staged.arrow", SCHEMA, sent) == 5
    with batches.read_stream(tmp_path / "staged.arrow") as reader:
        assert list(reader) == sent


def test_an_empty_stream_comes_back_empty(tmp_path: Path) -> None:
    assert batches.write_stream(tmp_path / "staged.arrow", SCHEMA, []) == 0
    assert batches.read_stream(tmp_path / "staged.arrow").read_all().num_rows == 0


def test_a_stream_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def broken() -> Iterator[pa.RecordBatch]:
        yield batch({"a": ("v1", 1)})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        batches.write_stream(tmp_path / "staged.arrow", SCHEMA, broken())
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_missing_or_foreign_is_told(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_bytes(b"not arrow at all")
    for name in ("missing", "foreign"):
        with pytest.raises(StorageError, match=name):
            batches.read_stream(tmp_path / name)


def test_rows_of_objects_that_failed_are_left_out_of_a_stream(tmp_path: Path) -> None:
    batches.write_stream(tmp_path / "staged.arrow", SCHEMA, [batch({"a": ("v1", 3), "b'": ("v1", 2)}), batch({"a": ("v2", 1)})])
    kept = batches.without(batches.read_stream(tmp_path / "staged.arrow"), ["a", "never seen"]).read_all()
    assert kept["uri"].to_pylist() == ["b'", "b'"]


def test_streams_are_chained_in_order(tmp_path: Path) -> None:
    for name in "ab":
        batches.write_stream(tmp_path / name, SCHEMA, [batch({name: ("v1", 2)})])
    chained = batches.chain(SCHEMA, (batches.read_stream(tmp_path / name) for name in "ab"))
    assert chained.read_all()["uri"].to_pylist() == ["a", "a", "b", "b"]


def test_reading_a_large_stream_holds_one_batch(tmp_path: Path) -> None:
    wide = pa.schema([pa.field("pixels", pa.list_(pa.uint8(), 1_000_000))])
    one = pa.record_batch([pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(4_000_000, np.uint8)), 1_000_000)], schema=wide)
    batches.write_stream(tmp_path / "staged.arrow", wide, (one for _ in range(60)))  # 240 MB
    process = psutil.Process()
    before = process.memory_info().rss
    peak = 0
    with batches.read_stream(tmp_path / "staged.arrow") as reader:
        for read in reader:
            assert read["pixels"].values.to_numpy().sum() == 0  # touches every page, also of a mapped file
            peak = max(peak, process.memory_info().rss)
    assert peak - before < 60e6
