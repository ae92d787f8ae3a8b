"""Words as they are written, beside what they mean: full text as a condition, and as a second ranking."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import polars as pl
import pyarrow as pa
from lancedb.query import FullTextOperator, MatchQuery
from lancedb.rerankers import RRFReranker

from retrieval.filters import EVERYTHING, Filter
from retrieval.query import COLUMNS, Hit, Searcher
from storage.errors import TableError


def rows_with(searcher: Searcher, words: str, keep: Filter = EVERYTHING) -> np.ndarray:
    """Ids of the rows whose text has all of some words, in any order: int64 (n,).

    Words are cut, lowered and brought to their stem as the table's full-text index does it: "dogs" finds "dog", Chinese needs no blanks.
    What stands in double quotes must stand so in the text, but for capitals.
    """
    found = _full_text(searcher, words, keep, FullTextOperator.AND, searcher.table.count_rows())
    for phrase in words.split('"')[1::2]:
        found = found.filter(pl.col("text").str.to_lowercase().str.contains(phrase.lower(), literal=True))
    return found.get_column("_rowid").cast(pl.Int64).to_numpy()


def nearest_in_text(
    searcher: Searcher, words: str, vectors: np.ndarray, *, keep: Filter = EVERYTHING, limit: int = 10, only: np.ndarray | None = None
) -> list[Hit]:
    """The segments whose text has any of the words, best first by BM25; their score is the cosine similarity to `vectors` (windows, d).

    `only` are ids of rows, of which alone they are taken.
    """
    found = _full_text(searcher, words, keep, FullTextOperator.OR, limit if only is None else searcher.table.count_rows())
    if only is not None:
        found = found.filter(pl.col("_rowid").is_in(pl.Series(only, dtype=pl.UInt64).implode()))
    best = found.sort("_score", "uri", "segment", descending=[True, False, False]).head(limit)
    hits = [Hit(**row, score=0.0) for row in best.select(COLUMNS).iter_rows(named=True)]
    return searcher.rescored(hits, vectors)


def fused(lists: Sequence[Sequence[Hit]], *, per_object: bool = False) -> list[Hit]:
    """Several lists of hits as one by reciprocal rank fusion, best first; with `per_object` they rank objects, each by its first hit.

    Cormack, Clarke & Büttcher 2009, "Reciprocal rank fusion outperforms Condorcet and individual rank learning methods", by LanceDB's
    reranker. Equal ones are in the order of their scores.
    """
    key = _object if per_object else _segment
    hits = {key(hit): hit for each in reversed(lists) for hit in reversed(each)}
    number = {name: place for place, name in enumerate(hits)}
    ranked = [pa.table({"_rowid": pa.array(list(dict.fromkeys(number[key(hit)] for hit in each)), pa.uint64())}) for each in lists]
    told = RRFReranker().rerank_multivector(ranked)
    scores = dict(zip(told["_rowid"].to_pylist(), told["_relevance_score"].to_pylist(), strict=True))
    return sorted(hits.values(), key=lambda hit: (-scores[number[key(hit)]], -hit.score, hit.uri, hit.segment))


def _full_text(searcher: Searcher, words: str, keep: Filter, operator: FullTextOperator, limit: int) -> pl.DataFrame:
    condition = (keep.rest if keep.long else keep).sql()
    try:
        match = MatchQuery(words, "text", operator=operator)  # type: ignore[call-arg]  # its defaults are pydantic's
        query = searcher.table.search(match, query_type="fts")
        query = query.where(condition) if condition else query
        wanted = searcher.table.count_rows() if keep.long else limit  # what its lists leave out is taken away afterwards
        read = query.limit(max(wanted, 1)).select([*COLUMNS, "_score"]).with_row_id(True).to_arrow()
    except (OSError, RuntimeError, ValueError) as problem:
        raise TableError("unreadable", f"the full-text search for {words!r} failed: {problem}") from problem
    found = pl.DataFrame(read)
    return found.filter(keep.held(found.get_column("uri"))).head(limit) if keep.long else found


def _segment(hit: Hit) -> Hashable:
    return hit.uri, hit.segment


def _object(hit: Hit) -> Hashable:
    return hit.uri
