"""Positions, recall, MRR and nDCG against double loops and scikit-learn; bootstrap intervals against scipy and a closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from retrieval import ranking
from retrieval.ranking import FAR, METRICS, by_query, differences, figures, intervals, nearest, positions, wrong_scores


def unit(rows: int, dimension: int = 12, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def owners(things: int, seed: int, most: int = 4) -> np.ndarray:
    return np.repeat(np.arange(things), np.random.default_rng(seed).integers(1, most + 1, things))


def answers(queries: int, candidates: int, seed: int, most: int = 15) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([(q, c) for q in range(queries) for c in rng.choice(candidates, rng.integers(1, most + 1), replace=False)])


def slowly(queries, candidates, right, query_of=None, candidate_of=None) -> list[list[int]]:
    """All positions of each query's right answers: one query, one candidate, one pair of rows at a time; wrong before right in ties."""
    query_of = range(len(queries)) if query_of is None else query_of
    candidate_of = range(len(candidates)) if candidate_of is None else candidate_of
    found = []
    for q in range(max(query_of) + 1):
        good = {int(c) for query, c in right if query == q}
        listed = []
        for c in range(max(candidate_of) + 1):
            own = [queries[i].astype(float) for i, owner in enumerate(query_of) if owner == q]
            others = [candidates[i].astype(float) for i, owner in enumerate(candidate_of) if owner == c]
            listed.append((max(float(a @ b) for a in own for b in others), c in good))
        found.append([])
        for score in sorted((score for score, is_right in listed if is_right), reverse=True):
            wrong_ahead = sum(other > score - 1e-6 for other, is_right in listed if not is_right)
            found[-1].append(len(found[-1]) + 1 + wrong_ahead)
    return found


def padded(found: list[list[int]]) -> np.ndarray:
    return np.array([(each + [0] * 10)[:10] for each in found])


@pytest.fixture(params=[1 << 22, 600], ids=["one block", "many blocks"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(ranking, "SCORES", request.param)


def test_positions_are_those_of_a_double_loop(blocks):
    queries, candidates, right = unit(40, seed=1), unit(700, seed=2), answers(40, 700, 3)
    assert (positions(queries, candidates, right) == padded(slowly(queries, candidates, right))).all()


def test_a_thing_of_several_rows_scores_by_its_best_row_on_either_side(blocks):
    query_of, candidate_of = owners(20, 4), owners(250, 5)
    queries, candidates, right = unit(len(query_of), seed=6), unit(len(candidate_of), seed=7), answers(20, 250, 8)
    found = positions(queries, candidates, right, query_of=query_of, candidate_of=candidate_of)
    assert (found == padded(slowly(queries, candidates, right, query_of, candidate_of))).all()


def test_a_candidate_longer_than_a_block_is_one_candidate(monkeypatch):
    monkeypatch.setattr(ranking, "SCORES", 600)
    candidate_of = np.repeat([0, 1, 2, 3], [5, 1500, 1, 300])
    queries, candidates, right = unit(6, seed=1), unit(len(candidate_of), seed=2), answers(6, 4, 3, most=2)
    found = positions(queries, candidates, right, candidate_of=candidate_of)
    assert (found == padded(slowly(queries, candidates, right, None, candidate_of))).all()


def test_ties_count_against_the_model(blocks):
    candidates = unit(5, seed=1)[np.random.default_rng(2).integers(0, 5, 700)]  # each vector some 140 times, in all columns of a block
    queries, right = unit(30, seed=3), answers(30, 700, 4)
    assert (positions(queries, candidates, right) == padded(slowly(queries, candidates, right))).all()
    alike = np.repeat(unit(1), 900, axis=0)
    assert positions(alike[:50], alike, np.stack([np.arange(50)] * 2, axis=1))[:, 0].tolist() == [900] * 50


def test_half_precision_is_ranked_as_it_stands():
    queries, candidates, right = unit(20, seed=1), unit(300, seed=2).astype(np.float16), answers(20, 300, 3)
    assert (positions(queries, candidates, right) == positions(queries, candidates.astype(np.float32), right)).all()


def test_the_nearest_are_those_of_a_whole_sort(blocks):
    candidate_of = owners(300, 5)
    queries, candidates = unit(25, seed=6), unit(len(candidate_of), seed=7)
    best = np.stack([(queries @ candidates[candidate_of == c].T).max(axis=1) for c in range(300)], axis=1)
    assert (nearest(queries, candidates, candidate_of=candidate_of) == np.argsort(-best, axis=1)[:, :10]).all()
    assert nearest(queries, candidates[:3], k=10).shape == (25, 3)


def test_recall_is_scikit_learns_top_k_accuracy_for_one_right_answer():
    queries, candidates = unit(200, 4, seed=1), unit(50, 4, seed=2)
    labels = np.arange(200) % 50
    values = by_query(positions(queries, candidates, np.stack([np.arange(200), labels], axis=1)))
    for k in (1, 5, 10):
        assert values[f"recall@{k}"].mean() == pytest.approx(top_k_accuracy_score(labels, queries @ candidates.T, k=k))


def test_ndcg_is_scikit_learns_where_nothing_ties():
    queries, candidates, right = unit(60, seed=1), unit(80, seed=2), answers(60, 80, 3, most=25)
    relevance = np.zeros((60, 80))
    relevance[right[:, 0], right[:, 1]] = 1
    expected = [ndcg_score(relevance[q : q + 1], (queries @ candidates.T)[q : q + 1], k=10) for q in range(60)]
    np.testing.assert_allclose(by_query(positions(queries, candidates, right))["ndcg@10"], expected, rtol=1e-12)


def test_metrics_with_several_right_answers_are_their_definitions():
    values = by_query(np.array([[1, 3, 12] + [0] * 7, [6] + [0] * 9, [FAR, FAR] + [0] * 8]))
    assert (
        values["recall@1"].tolist() == [1, 0, 0] and values["recall@5"].tolist() == [1, 0, 0] and values["recall@10"].tolist() == [1, 1, 0]
    )
    np.testing.assert_allclose(values["mrr"], [1, 1 / 6, 0], atol=1e-12)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    np.testing.assert_allclose(values["ndcg@10"], [(1 + 1 / math.log2(4)) / ideal, 1 / math.log2(7), 0])


def test_scores_of_wrong_candidates_are_those_of_a_whole_product_in_turn(blocks):
    query_of, candidate_of = owners(20, 4), owners(250, 5)
    queries, candidates, right = unit(len(query_of), seed=6), unit(len(candidate_of), seed=7), answers(20, 250, 8)
    whole = np.array([[(queries[query_of == q] @ candidates[candidate_of == c].T).max() for c in range(250)] for q in range(20)])
    whole[right[:, 0], right[:, 1]] = -np.inf
    parts = [scores for _, scores in wrong_scores(queries, candidates, right, query_of=query_of, candidate_of=candidate_of)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="1 queries have no right answer, the first is number 1"):
        positions(unit(2), unit(3), np.array([[0, 1]]))
    with pytest.raises(ValueError, match="candidates up to 3 of 3"):
        positions(unit(1), unit(3), np.array([[0, 3]]))
    with pytest.raises(ValueError, match="one space"):
        positions(unit(1, 4), unit(3, 5), np.array([[0, 0]]))
    with pytest.raises(ValueError, match="leave no number out"):
        positions(unit(1), unit(3), np.array([[0, 0]]), candidate_of=np.array([0, 0, 2]))
    with pytest.raises(ValueError, match="finite"):
        positions(unit(1), unit(3) * np.nan, np.array([[0, 0]]))


def test_what_is_not_a_number_stands_ahead_of_a_right_answer():
    candidates = unit(4)
    candidates[2:] = np.nan
    assert positions(unit(1), candidates, np.array([[0, 0], [0, 1]]))[0, :2].tolist() == [3, 4]


def test_an_interval_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(1).exponential(size=(80, 2))
    for j, ends in enumerate(intervals(values, seed=3, samples=20_000)):
        theirs = stats.bootstrap((values[:, j],), np.mean, n_resamples=20_000, method="percentile", rng=4).confidence_interval
        np.testing.assert_allclose(ends, theirs, atol=0.02 * values[:, j].std())


def test_the_interval_of_a_share_is_the_binomials_quantiles():
    hits = np.zeros((1000, 1))
    hits[:300] = 1  # the number of hits in a resample is binomial(1000, 0.3)
    np.testing.assert_allclose(intervals(hits, samples=20_000, level=0.9)[0], stats.binom(1000, 0.3).ppf([0.05, 0.95]) / 1000, atol=0.0011)


def test_the_same_seed_gives_the_same_interval_and_another_another():
    values = np.random.default_rng(1).normal(size=(50, 1))
    assert (intervals(values, seed=1) == intervals(values, seed=1)).all()
    assert (intervals(values, seed=1) != intervals(values, seed=2)).any()


def test_memory_of_an_interval_does_not_change_it(monkeypatch):
    values = np.random.default_rng(1).normal(size=(50, 1))
    whole = intervals(values)
    monkeypatch.setattr(ranking, "SCORES", 120)
    np.testing.assert_array_equal(intervals(values), whole)


def test_a_paired_difference_is_narrower_than_what_it_compares():
    rng = np.random.default_rng(1)
    before = np.zeros((500, 10), np.int64)
    before[:, 0] = rng.integers(1, 20, 500)
    after = before.copy()
    after[:, 0] = np.maximum(1, before[:, 0] - rng.integers(0, 3, 500))
    alone, paired = figures(after), differences(before, after)
    assert set(alone) == set(paired) == set(METRICS)
    for name in METRICS:
        assert paired[name].value == pytest.approx(alone[name].value - figures(before)[name].value)
        assert alone[name].low <= alone[name].value <= alone[name].high
    assert paired["recall@5"].low > 0
    assert paired["recall@5"].high - paired["recall@5"].low < 0.75 * (alone["recall@5"].high - alone["recall@5"].low)
    with pytest.raises(ValueError, match="same queries"):
        differences(before, after[:-1])
