"""How well right answers are ranked: recall@k, MRR and nDCG@10 from positions, with bootstrap intervals; exact, in bounded memory.

Everything starts from `positions`: where each query's right answers stand in the list of all candidates. Ties count against the model:
of candidates that score the same the wrong ones come first, so that vectors which are all alike earn nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

DEPTH = 10  # positions kept of a query: nDCG@10 needs no more, and the j-th right answer never stands before position j
RECALLS = (1, 5, 10)
METRICS = (*(f"recall@{k}" for k in RECALLS), "mrr", "ndcg@10")
FAR = np.iinfo(np.int64).max
"""The position of a right answer that a cut-off list does not hold."""

TIE = 1e-6  # float32 sums of unit vectors differ by less, whatever the order of their terms
SCORES = 1 << 22  # scores held at once: 16 MB
SAMPLES = 2_000
LEVEL = 0.95


@dataclass(frozen=True)
class Figure:
    """A mean over queries and its bootstrap interval."""

    value: float
    low: float
    high: float


def positions(
    queries: np.ndarray,
    candidates: np.ndarray,
    right: np.ndarray,
    *,
    query_of: np.ndarray | None = None,
    candidate_of: np.ndarray | None = None,
) -> np.ndarray:
    """Where the right answers of each query stand among all candidates, by cosine similarity.

    Parameters
    ----------
    queries : (rows, d) unit vectors, of any float type.
    candidates : (rows, d) unit vectors; read a block at a time, so a memory map will do.
    right : (pairs, 2) integers, each a query and a candidate that answers it; every query needs one. Repeated pairs count once.
    query_of, candidate_of : the query or candidate each row belongs to, integers 0, 0, 0, 1, … that never fall and leave none out;
        `None`: each row is one. A query and a candidate of several rows score by their best two.

    Returns
    -------
    (queries, 10) int64: the positions, from 1, of each query's best ten right answers, ascending; 0 where it has fewer.

    Raises
    ------
    ValueError : shapes do not fit, `right` names what is not there, or a query has no right answer.
    """
    query_of, candidate_of = _owners(queries, query_of), _owners(candidates, candidate_of)
    n, m = int(query_of[-1]) + 1, int(candidate_of[-1]) + 1
    pairs = _checked(right, n, m)
    if queries.shape[1] != candidates.shape[1]:
        raise ValueError(f"queries have {queries.shape[1]} dimensions, candidates {candidates.shape[1]}; both must be of one space")
    firsts = np.searchsorted(candidate_of, np.arange(m + 1))
    found = np.zeros((n, DEPTH), np.int64)
    for q_low, q_high, rows in _query_blocks(queries, query_of):
        mine = _of_block(pairs, q_low, q_high)
        owners = query_of[rows] - q_low
        own = _own_scores(queries[rows], owners, candidates, firsts, mine)
        if not np.isfinite(own).all():
            raise ValueError("a right answer's score is not a finite number; vectors must be finite")
        best = _best(own, mine[:, 0], q_high - q_low)  # (queries, at most 10)
        ahead = np.zeros(best.shape, np.int64)
        for scores in _wrong_scores(queries[rows], owners, candidates, candidate_of, mine):
            for j in range(best.shape[1]):
                ahead[:, j] += np.count_nonzero(~(scores < best[:, j, None] - np.float32(TIE)), axis=1)  # so that NaN is ahead, too
        places = np.where(np.isfinite(best), ahead + np.arange(1, best.shape[1] + 1), 0)
        found[q_low:q_high, : best.shape[1]] = places
    return found


def nearest(
    queries: np.ndarray,
    candidates: np.ndarray,
    k: int = DEPTH,
    *,
    query_of: np.ndarray | None = None,
    candidate_of: np.ndarray | None = None,
) -> np.ndarray:
    """The `k` candidates (all, if there are fewer) nearest to each query, best first: int64 (queries, k); arguments as in `positions`."""
    query_of, candidate_of = _owners(queries, query_of), _owners(candidates, candidate_of)
    k = min(k, int(candidate_of[-1]) + 1)
    found = np.empty((int(query_of[-1]) + 1, k), np.int64)
    for q_low, q_high, rows in _query_blocks(queries, query_of):
        names, best = np.empty((q_high - q_low, 0), np.int64), np.empty((q_high - q_low, 0), np.float32)
        for low, scores in _scores(queries[rows], query_of[rows] - q_low, candidates, candidate_of):
            names, best = _better(names, best, low, scores, k)
        found[q_low:q_high] = np.take_along_axis(names, np.lexsort((names, -best), axis=1), 1)
    return found


def wrong_scores(
    queries: np.ndarray,
    candidates: np.ndarray,
    right: np.ndarray,
    *,
    query_of: np.ndarray | None = None,
    candidate_of: np.ndarray | None = None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Some queries and their scores with some candidates, float32 (queries, candidates), all in turn; -inf for right answers.

    Arguments as in `positions`.
    """
    query_of, candidate_of = _owners(queries, query_of), _owners(candidates, candidate_of)
    pairs = _checked(right, int(query_of[-1]) + 1, int(candidate_of[-1]) + 1)
    for q_low, q_high, rows in _query_blocks(queries, query_of):
        mine = _of_block(pairs, q_low, q_high)
        for scores in _wrong_scores(queries[rows], query_of[rows] - q_low, candidates, candidate_of, mine):
            yield slice(q_low, q_high), scores


def by_query(positions: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of every query: float64 (queries,) under each name in `METRICS`.

    recall@k : 1 where at least one right answer stands among the first k, else 0, as in image-text retrieval.
    mrr : 1 / position of the first right answer.
    ndcg@10 : discounted gain of the right answers among the first ten, over the best that is possible; gains are 0 or 1
        (Järvelin & Kekäläinen 2002).
    """
    first = positions[:, 0]
    values = {f"recall@{k}": (first <= k).astype(np.float64) for k in RECALLS}
    return values | {"mrr": 1.0 / first, "ndcg@10": _ndcg(positions)}


def figures(positions: np.ndarray, *, seed: int = 0, samples: int = SAMPLES, level: float = LEVEL) -> dict[str, Figure]:
    """Mean of every metric with its interval; arguments as in `intervals`."""
    return _told(by_query(positions), seed, samples, level)


def differences(before: np.ndarray, after: np.ndarray, *, seed: int = 0, samples: int = SAMPLES, level: float = LEVEL) -> dict[str, Figure]:
    """After minus before in every metric, for the very same queries: the interval is of the paired difference, narrower than either's."""
    if len(before) != len(after):
        raise ValueError(f"{len(before)} queries before and {len(after)} after; a paired difference needs the same queries")
    one, two = by_query(before), by_query(after)
    return _told({name: two[name] - one[name] for name in METRICS}, seed, samples, level)


def intervals(values: np.ndarray, *, seed: int = 0, samples: int = SAMPLES, level: float = LEVEL) -> np.ndarray:
    """Percentile bootstrap intervals of means over queries (Efron 1979).

    Parameters
    ----------
    values : (queries, columns); whole queries are drawn, so that columns keep together.
    seed : the same values and seed give the same interval.
    samples : how often as many queries as there are, are drawn with replacement.
    level : share of the drawn means between the two ends.

    Returns
    -------
    (columns, 2) float64: low and high.
    """
    n = len(values)
    if not n:
        raise ValueError("an interval needs at least one query")
    rng = np.random.default_rng(seed)
    means = np.empty((samples, values.shape[1]))
    at_once = max(1, SCORES // n)
    for low in range(0, samples, at_once):
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=min(at_once, samples - low))
        means[low : low + len(drawn)] = drawn @ values / n
    outside = (1 - level) / 2
    ends: np.ndarray = np.quantile(means, (outside, 1 - outside), axis=0).T
    return ends


def _told(values: Mapping[str, np.ndarray], seed: int, samples: int, level: float) -> dict[str, Figure]:
    columns = np.stack(list(values.values()), axis=1)
    ends = intervals(columns, seed=seed, samples=samples, level=level)
    means = columns.mean(axis=0)
    return {name: Figure(float(means[j]), float(ends[j, 0]), float(ends[j, 1])) for j, name in enumerate(values)}


def _ndcg(positions: np.ndarray) -> np.ndarray:
    there = positions > 0
    discounts = 1 / np.log2(np.arange(2, DEPTH + 2))
    ideal = np.cumsum(discounts)[there.sum(axis=1) - 1]
    near = there & (positions <= DEPTH)
    gains: np.ndarray = np.where(near, discounts[np.clip(positions, 1, DEPTH) - 1], 0.0).sum(axis=1) / ideal
    return gains


def _query_blocks(queries: np.ndarray, query_of: np.ndarray) -> Iterator[tuple[int, int, slice]]:
    """First query, the one after the last, and their rows: about a thousand rows, and never a part of a query."""
    firsts = np.searchsorted(query_of, np.arange(int(query_of[-1]) + 2))
    low = 0
    while low < len(firsts) - 1:
        high = max(low + 1, int(np.searchsorted(firsts, firsts[low] + 1024, side="right")) - 1)
        yield low, high, slice(int(firsts[low]), int(firsts[high]))
        low = high


def _scores(queries: np.ndarray, owners: np.ndarray, candidates: np.ndarray, candidate_of: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The scores (queries, some candidates) of a block of queries, and the first of these candidates; all candidates in turn.

    A candidate whose rows lie in two blocks of rows is held back until its last row has come.
    """
    queries = queries.astype(np.float32, copy=False)
    step = max(256, SCORES // len(queries))
    open_scores, open_name = None, -1
    for low in range(0, len(candidates), step):
        names = candidate_of[low : low + step]
        scores = queries @ candidates[low : low + step].astype(np.float32, copy=False).T  # (query rows, candidate rows)
        scores = _maxima(_maxima(scores, owners, 0), names, 1)
        first, last = int(names[0]), int(names[-1])
        if open_scores is not None and open_name == first:
            np.maximum(scores[:, 0], open_scores, out=scores[:, 0])
        elif open_scores is not None:
            yield open_name, open_scores[:, None]
        if last > first:
            yield first, scores[:, :-1]
        open_scores, open_name = scores[:, -1].copy(), last
    if open_scores is not None:
        yield open_name, open_scores[:, None]


def _wrong_scores(
    queries: np.ndarray, owners: np.ndarray, candidates: np.ndarray, candidate_of: np.ndarray, right: np.ndarray
) -> Iterator[np.ndarray]:
    """The same scores, with -inf for right answers, which are not ahead of each other."""
    for low, scores in _scores(queries, owners, candidates, candidate_of):
        here = right[(right[:, 1] >= low) & (right[:, 1] < low + scores.shape[1])]
        scores[here[:, 0], here[:, 1] - low] = -np.inf
        yield scores


def _of_block(pairs: np.ndarray, low: int, high: int) -> np.ndarray:
    """The pairs of a block of queries, which are counted from its first."""
    mine: np.ndarray = pairs[np.searchsorted(pairs[:, 0], low) : np.searchsorted(pairs[:, 0], high)] - (low, 0)
    return mine


def _maxima(scores: np.ndarray, owners: np.ndarray, axis: int) -> np.ndarray:
    starts = np.flatnonzero(np.diff(owners, prepend=owners[0] - 1))
    best: np.ndarray = scores if len(starts) == len(owners) else np.maximum.reduceat(scores, starts, axis=axis)
    return best


def _own_scores(queries: np.ndarray, owners: np.ndarray, candidates: np.ndarray, firsts: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Score of each pair of a query and its right answer: float32 (pairs,)."""
    starts = np.searchsorted(owners, np.arange(int(owners[-1]) + 2))
    single = len(owners) == len(starts) - 1 and len(candidates) == len(firsts) - 1
    queries = queries.astype(np.float32, copy=False)
    scores = np.empty(len(pairs), np.float32)
    if single:
        for low in range(0, len(pairs), 4096):
            some = pairs[low : low + 4096]
            scores[low : low + 4096] = np.einsum("nd,nd->n", queries[some[:, 0]], candidates[some[:, 1]].astype(np.float32, copy=False))
        return scores
    for j, (query, candidate) in enumerate(pairs.tolist()):
        rows = candidates[firsts[candidate] : firsts[candidate + 1]].astype(np.float32, copy=False)
        scores[j] = (queries[starts[query] : starts[query + 1]] @ rows.T).max()
    return scores


def _best(scores: np.ndarray, owners: np.ndarray, n: int) -> np.ndarray:
    """The best ten scores of each owner, descending: (n, at most 10), infinite where there are fewer."""
    order = np.lexsort((-scores, owners))
    starts = np.searchsorted(owners, np.arange(n))
    place = np.arange(len(order)) - starts[owners[order]]
    kept = place < DEPTH
    best = np.full((n, min(DEPTH, int(place.max()) + 1)), np.inf, np.float32)
    best[owners[order][kept], place[kept]] = scores[order][kept]
    return best


def _better(names: np.ndarray, best: np.ndarray, low: int, scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The best `k` of those so far and of a block whose first candidate is `low`: names and scores (queries, at most k), in no order."""
    if best.shape[1] < k:
        best = np.concatenate([best, scores], axis=1)
        names = np.concatenate([names, np.broadcast_to(np.arange(low, low + scores.shape[1]), scores.shape)], axis=1)
        kept = np.argpartition(-best, min(k, best.shape[1]) - 1, axis=1)[:, :k]
        return np.take_along_axis(names, kept, 1), np.take_along_axis(best, kept, 1)
    rows, columns = np.nonzero(scores > best.min(axis=1, keepdims=True))  # few, once the first blocks are through
    owners = np.concatenate([np.repeat(np.arange(len(best)), k), rows])
    all_names, all_scores = np.concatenate([names.ravel(), low + columns]), np.concatenate([best.ravel(), scores[rows, columns]])
    order = np.lexsort((all_names, -all_scores, owners))
    place = np.arange(len(order)) - np.searchsorted(owners[order], np.arange(len(best)))[owners[order]]
    kept = order[place < k]
    return all_names[kept].reshape(-1, k), all_scores[kept].reshape(-1, k)


def _owners(vectors: np.ndarray, owner_of: np.ndarray | None) -> np.ndarray:
    if vectors.ndim != 2 or not len(vectors):
        raise ValueError(f"vectors have shape {vectors.shape}; needed is (rows, dimension) with at least one row")
    if owner_of is None:
        return np.arange(len(vectors))
    steps = np.diff(owner_of)
    if len(owner_of) != len(vectors) or owner_of[0] != 0 or not np.isin(steps, (0, 1)).all():
        raise ValueError("owners of rows must be one for each row, begin with 0, never fall and leave no number out")
    return owner_of


def _checked(right: np.ndarray, n: int, m: int) -> np.ndarray:
    """The pairs, sorted, each once."""
    right = np.asarray(right, np.int64).reshape(-1, 2)
    if len(right) and (right.min() < 0 or right[:, 0].max() >= n or right[:, 1].max() >= m):
        raise ValueError(f"right answers name queries up to {right[:, 0].max()} of {n} and candidates up to {right[:, 1].max()} of {m}")
    lacking = np.flatnonzero(np.bincount(right[:, 0], minlength=n) == 0)
    if len(lacking):
        raise ValueError(f"{len(lacking)} queries have no right answer, the first is number {lacking[0]}; leave them out and count them")
    return np.unique(right, axis=0)
