"""Evidence of rows says what a plain counter of them says."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from storage.evidence import Evidence, same

SCHEMA = pa.schema([("uri", pa.string()), ("segment", pa.int32()), ("etag", pa.string()), ("unread", pa.string())])
KEYS = ["a", "b'", "猫 c"]

rows = st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 3), st.none() | st.sampled_from(["v1", "v2"])), max_size=12)


def evidence() -> Evidence:
    return Evidence(KEYS, SCHEMA, ["uri", "segment"], ["etag"])


def batches(of: list[tuple[str, int, str | None]]) -> list[pa.RecordBatch]:
    """Two batches, for rows come in several."""
    whole = pa.RecordBatch.from_pylist([{"uri": u, "segment": s, "etag": e, "unread": "x"} for u, s, e in of], SCHEMA)
    return [whole.slice(0, len(of) // 2), whole.slice(len(of) // 2)]


@given(rows, rows)
def test_two_sets_of_rows_are_the_same_exactly_when_each_row_stands_equally_often_in_both(one, other):
    reader = evidence()
    assert same(reader.of(batches(one)), reader.of(batches(other))) == (Counter(one) == Counter(other))


@given(rows)
def test_the_order_of_rows_and_batches_does_not_matter(some):
    reader = evidence()
    assert same(reader.of(batches(some)), reader.of(reversed(batches(some[::-1]))))


@given(rows)
def test_rows_that_share_their_identity_are_found(some):
    identities = [(uri, segment) for uri, segment, _ in some]
    repeated = Counter({key: n - 1 for key, n in Counter(identities).items() if n > 1})
    assert Counter(evidence().doubles(evidence().of(batches(some))).rows()) == repeated


def test_keys_that_were_not_named_are_kept_as_strangers():
    reader = evidence()
    frame = reader.of(batches([("a", 0, "v1"), ("z", 0, "v1"), ("y", 1, None)]))
    assert reader.strangers == {"z", "y"}
    assert frame["uri"].to_list() == ["a", None, None]


def test_rows_of_other_keys_are_told_apart():
    named = evidence().named(batches([("a", 0, None), ("z", 0, None), ("b'", 0, None), ("a'", 0, None)])[0])
    assert named.to_pylist() == [True, False]
