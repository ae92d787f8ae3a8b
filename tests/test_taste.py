"""A taste in vectors: against plain formulas and scikit-learn, for one interest and several, with dislikes; lists merged by shares."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score, silhouette_score

from retrieval.errors import QueryError
from retrieval.means import means
from retrieval.merging import diverse, interleave
from retrieval.recommend.taste import TasteSettings, clusters, silhouette, taste

NONE = np.empty((0, 8), np.float32)


def around(centre: int, count: int, seed: int = 0, spread: float = 0.1, d: int = 8) -> np.ndarray:
    """Unit vectors near an axis."""
    vectors = np.eye(d)[centre] + spread * np.random.default_rng([seed, centre]).standard_normal((count, d))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def ones(vectors: np.ndarray) -> np.ndarray:
    return np.ones(len(vectors))


def test_one_taste_is_the_weighted_mean_of_the_liked_less_beta_times_that_of_the_disliked():
    liked, disliked = around(0, 5), around(3, 3)
    weights, against = np.array([1, 2, 3, 4, 5.0]), np.array([1, 1, 2.0])
    found = taste(liked, weights, disliked, against, TasteSettings(most=1, beta=0.4))
    expected = sum(w * v.astype(float) for w, v in zip(weights, liked, strict=True)) / 15
    expected -= 0.4 * sum(w * v.astype(float) for w, v in zip(against, disliked, strict=True)) / 4
    np.testing.assert_allclose(found.vectors, [expected / np.sqrt((expected**2).sum())], atol=1e-6)
    assert found.shares.tolist() == [1.0] and found.of.tolist() == [0] * 5


def test_weights_that_all_grow_alike_change_nothing():
    liked, disliked, weights = around(0, 5, spread=0.6), around(3, 3), np.array([1, 2, 3, 4, 5.0])
    one, other = (taste(liked, k * weights, disliked, k * np.ones(3)) for k in (1, 1000))
    np.testing.assert_allclose(one.vectors, other.vectors, atol=1e-6)


def test_a_dislike_moves_the_taste_away_from_itself_and_more_so_the_larger_beta():
    liked, disliked = np.concatenate([around(0, 4), around(1, 4)]), around(1, 1)
    near = [
        float((taste(liked, ones(liked), disliked, np.ones(1), TasteSettings(most=1, beta=beta)).vectors @ disliked.T).max())
        for beta in (0, 0.2, 0.5)
    ]
    assert near[0] > near[1] + 0.02 and near[1] > near[2] + 0.02


def test_two_separate_interests_are_two_vectors_with_their_shares():
    liked = np.concatenate([around(0, 6), around(4, 3)])
    weights = np.array([1.0] * 6 + [4.0] * 3)
    found = taste(liked, weights, NONE, np.empty(0))
    assert found.of.tolist() == [1] * 6 + [0] * 3  # the heavier one comes first
    np.testing.assert_allclose(found.shares, [12 / 18, 6 / 18])
    assert found.vectors[0] @ np.eye(8)[4] > 0.95 and found.vectors[1] @ np.eye(8)[0] > 0.95
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("centres", "expected"), [((0,), 1), ((0, 1), 2), ((0, 1, 2), 3), ((0, 1, 2, 3), 3)])
def test_the_data_choose_how_many_vectors_there_are_up_to_the_most(centres, expected):
    liked = np.concatenate([around(c, 7, d=64) for c in centres])
    assert len(taste(liked, ones(liked), np.empty((0, 64)), np.empty(0), TasteSettings(most=3)).vectors) == expected


def test_clusters_are_those_of_scikit_learn_and_so_is_the_silhouette_that_chooses_them():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        vectors = np.concatenate([around(int(c), int(rng.integers(1, 9)), seed, spread=0.35) for c in rng.choice(8, 4, replace=False)])
        if len(vectors) < 5:
            continue
        cuts = {k: AgglomerativeClustering(k, linkage="ward").fit_predict(vectors) for k in (2, 3, 4)}
        scores = {k: silhouette_score(vectors, cut, metric="cosine") for k, cut in cuts.items()}
        best = max(scores, key=scores.get)
        found = clusters(vectors, ones(vectors), 4, -1)
        assert adjusted_rand_score(found, cuts[best]) == 1
        assert silhouette(1 - vectors @ vectors.T, found) == pytest.approx(scores[best], abs=1e-5)


def test_likes_that_are_hardly_apart_or_too_few_stay_one():
    vectors = around(0, 30, spread=0.1, d=64)
    assert clusters(vectors, ones(vectors), 3, 0.25).tolist() == [0] * 30
    apart = np.concatenate([around(0, 1), around(4, 1)])
    assert clusters(apart, ones(apart), 3, 0.25).tolist() == [0, 0]
    same = np.repeat(around(0, 1), 6, axis=0)
    assert clusters(same, ones(same), 3, 0.0).tolist() == [0] * 6


def test_beyond_what_is_clustered_the_lighter_ones_join_the_nearest_cluster(monkeypatch):
    vectors = np.concatenate([around(0, 40), around(4, 40)])
    weights = np.random.default_rng(0).uniform(1, 2, 80)
    whole = clusters(vectors, weights, 3, 0.25)
    monkeypatch.setattr("retrieval.recommend.taste.MOST_CLUSTERED", 12)
    assert adjusted_rand_score(clusters(vectors, weights, 3, 0.25), whole) == 1 and len(set(whole)) == 2


def test_without_likes_and_where_they_cancel_out_there_is_no_taste():
    found = taste(NONE, np.empty(0), around(1, 2), np.ones(2))
    assert (found.vectors.shape, found.shares.tolist(), found.of.tolist()) == ((0, 8), [], [])
    one = around(0, 1)
    found = taste(np.concatenate([one, -one]), np.ones(2), NONE, np.empty(0))
    assert found.vectors.shape == (0, 8) and found.of.tolist() == [-1, -1]


@pytest.mark.parametrize("wrong", [{"most": 0}, {"apart": 2}, {"beta": -1}, {"beta": np.nan}, {"beta": np.inf}, {"beta": 1e300}])
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(QueryError, match=f"{next(iter(wrong))} is"):
        TasteSettings(**wrong)


def test_an_object_counts_by_the_mean_of_its_segments():
    vectors = np.concatenate([around(0, 2), around(1, 1), around(2, 3)]).astype(np.float16)
    found = means(vectors, np.array([0, 0, 1, 2, 2, 2]))
    parts = [vectors[:2], vectors[2:3], vectors[3:]]
    expected = [part.astype(float).mean(0) / np.linalg.norm(part.astype(float).mean(0)) for part in parts]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert means(np.empty((0, 8), np.float16), np.empty(0, np.int64)).shape == (0, 8)


def test_lists_are_merged_in_proportion_to_their_shares_wherever_one_stops_reading():
    lists = [[f"{name}{k}" for k in range(100)] for name in "abc"]
    shares = (0.6, 0.3, 0.1)
    taken = [number for number, _ in interleave(lists, shares, 100)]
    for read in (10, 20, 50, 100):
        for number, share in enumerate(shares):
            assert abs(taken[:read].count(number) - share * read) <= 1
    first = [number for number, _ in interleave(lists, (0.62, 0.2, 0.18), 3)]
    assert first == [0, 0, 1]  # 0.62, 0.62 / 3, 0.2; by D'Hondt the first would have all three
    assert [interleave(lists, shares, k) for k in (3, 7)] == [interleave(lists, shares, 100)[:k] for k in (3, 7)]
    assert [place for number, place in interleave(lists, shares, 50) if number == 1] == list(range(taken[:50].count(1)))


def test_what_stands_in_two_lists_is_taken_once_and_a_list_that_ends_leaves_its_places_to_others():
    lists = [["x", "y", "a"], ["x", "b", "y", "c"]]
    taken = [lists[number][place] for number, place in interleave(lists, (0.5, 0.5), 10)]
    assert sorted(taken) == ["a", "b", "c", "x", "y"] and taken[0] == "x"
    assert interleave([], (), 5) == [] and interleave([[], ["a"]], (0.9, 0.1), 5) == [(1, 0)]


def test_diversity_is_maximal_marginal_relevance():
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((30, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors[0]
    for diversity in (0.0, 0.3, 0.7):
        chosen = [int(scores.argmax())]
        while len(chosen) < 12:
            rest = [k for k in range(30) if k not in chosen]
            worth = {k: (1 - diversity) * scores[k] - diversity * max(vectors[k] @ vectors[c] for c in chosen) for k in rest}
            chosen.append(max(worth, key=worth.get))
        assert diverse(scores, vectors, diversity, 12).tolist() == chosen
    assert diverse(scores, vectors, 0.0, 12).tolist() == np.argsort(-scores)[:12].tolist()
    assert len(diverse(scores, vectors, 0.5, 99)) == 30
