"""Clusters: the groups that are there are found, by any seed the same again; exemplars and outliers against plain loops."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.neighbors import LocalOutlierFactor
from themed_table import make, themed, unit
from typer.testing import CliRunner

from flows.cli import app
from retrieval.cluster.clustering import ClusteringSettings, cluster
from retrieval.cluster.clusters import NOISE, ClusterSettings, chosen, find, numbers_to_try
from retrieval.cluster.exemplars import exemplars, outliers
from retrieval.errors import QueryError
from retrieval.filters import Filter
from retrieval.query import Searcher


@pytest.fixture(scope="module")
def groups():
    """Groups of 50, 40, 30 and 20, and which each is of."""
    rng = np.random.default_rng(3)
    sizes = (20, 50, 30, 40)
    vectors = np.concatenate([themed(rng, k, n, 24, 0.07) for k, n in enumerate(sizes)]).astype(np.float32)
    return vectors, np.repeat(np.arange(4), sizes)


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return make(tmp_path_factory.mktemp("clusters") / "lance")


@pytest.mark.parametrize(
    "settings", [ClusterSettings(), ClusterSettings("kmeans", 4), ClusterSettings("hdbscan"), ClusterSettings(many=100)]
)
def test_the_groups_that_are_there_are_found_the_largest_first(groups, settings):
    vectors, of = groups
    found = find(vectors, settings)
    inside = found.labels != NOISE
    assert adjusted_rand_score(of[inside], found.labels[inside]) == 1 and inside.mean() > 0.9
    assert found.sizes.tolist() == sorted(found.sizes, reverse=True) and len(found.sizes) == 4
    for label in range(4):
        mean = vectors[found.labels == label].mean(axis=0)
        assert found.centres[label] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    again = find(vectors, settings)
    assert np.array_equal(found.labels, again.labels) and np.array_equal(found.membership, again.membership)


def test_the_number_of_clusters_is_found_by_the_silhouette(groups):
    found = find(groups[0], ClusterSettings())
    assert max(found.silhouettes, key=found.silhouettes.get) == 4
    assert found.silhouettes[4] == pytest.approx(silhouette_score(groups[0], groups[1]), abs=1e-4)
    assert numbers_to_try(5) == [2] and numbers_to_try(40)[-1] == 6 and numbers_to_try(10_000)[-1] == 64


def test_the_number_of_clusters_of_a_map_is_told_by_the_vectors(groups):
    disc = np.random.default_rng(0).standard_normal((140, 2))
    disc[:, 0] += 9 * (groups[1] >= 2)
    found = find(groups[0], ClusterSettings(), disc)
    for number, score in found.silhouettes.items():
        labels = find(groups[0], ClusterSettings("kmeans", number), disc).labels
        assert score == pytest.approx(silhouette_score(groups[0], labels), abs=1e-4)
    assert len(found.sizes) == 2


def test_of_numbers_that_do_about_as_well_the_smallest_is_taken():
    assert chosen({2: 0.3, 3: 0.48, 8: 0.5, 9: 0.49}) == 3 and chosen({2: 0.3, 3: 0.47, 8: 0.5}) == 8
    assert chosen({2: -0.10, 3: -0.2}) == 2 and chosen({2: -0.2, 3: -0.1}) == 3 and chosen({}) == 1


def test_membership_of_kmeans_is_the_cosine_to_the_centre(groups):
    found = find(groups[0], ClusterSettings("kmeans", 4))
    assert found.membership == pytest.approx([v @ found.centres[k] for v, k in zip(groups[0], found.labels, strict=True)], abs=1e-5)


def test_what_lies_between_groups_is_in_no_cluster_of_hdbscan(groups):
    lonely = unit(np.eye(24)[10:16] - np.eye(24)[:4].sum(axis=0) / 2).astype(np.float32)
    found = find(np.concatenate([groups[0], lonely]), ClusterSettings("hdbscan", smallest=8))
    assert (found.labels[-6:] == NOISE).all() and (found.membership[-6:] == 0).all()


def test_clusters_on_a_plane_have_centres_in_the_space(groups):
    places = np.stack([groups[1] % 2, groups[1] // 2], axis=1) + 0.01 * np.random.default_rng(0).standard_normal((140, 2))
    found = find(groups[0], ClusterSettings("hdbscan"), places)
    assert adjusted_rand_score(groups[1], found.labels) > 0.95 and found.centres.shape == (4, 24)


def test_fewer_different_vectors_than_clusters_make_fewer_clusters():
    assert len(find(np.repeat(np.eye(4, dtype=np.float32)[:2], 5, axis=0), ClusterSettings("kmeans", 4)).sizes) == 2
    assert len(find(np.repeat(np.eye(4, dtype=np.float32)[:1], 9, axis=0)).sizes) == 1


@pytest.mark.parametrize(
    ("n", "settings", "told"),
    [
        (2, {}, "at least 3"),
        (9, {"clusters": 10}, "from 1 to 9"),
        (9, {"method": "hdbscan", "smallest": 10}, "from 2 to 9"),
        (9, {"method": "hdbscan", "many": 8}, "up to 8"),
        (9, {"method": "spectral"}, "kmeans, hdbscan"),
        (9, {"method": "hdbscan", "clusters": 2}, "leave --clusters out"),
        (9, {"smallest": 2}, "leave --smallest out"),
    ],
)
def test_what_cannot_be_parted_is_refused(n, settings, told):
    with pytest.raises(QueryError, match=told):
        find(np.eye(9, dtype=np.float32)[:n], ClusterSettings(**settings))


def test_exemplars_are_the_nearest_to_the_centre_no_content_twice(groups):
    vectors, labels = groups[0], groups[1]
    centres = np.stack([unit(vectors[labels == k].mean(axis=0)) for k in range(4)])
    contents = [str(k // 2) for k in range(len(vectors))]
    for k, rows in enumerate(exemplars(vectors, labels, centres, contents)):
        expected, seen = [], set()
        for row in sorted(np.flatnonzero(labels == k), key=lambda row: -(vectors[row] @ centres[k])):
            if contents[row] not in seen:
                expected.append(row)
                seen.add(contents[row])
        assert rows == expected[:3]


def test_outliers_have_the_highest_factors_and_copies_do_not_hide_each_other(groups):
    lonely = unit(np.random.default_rng(8).standard_normal((1, 24))).astype(np.float32)
    vectors = np.concatenate([groups[0], lonely, lonely, lonely])
    contents = [*map(str, range(140)), "alone", "alone", "alone"]
    found = outliers(vectors, contents, 5)
    assert found[0].place == 140 and [each.place for each in found].count(140) == 1
    factors = -LocalOutlierFactor(n_neighbors=20).fit(vectors[:141]).negative_outlier_factor_
    assert [each.factor for each in found] == pytest.approx(sorted(factors, reverse=True)[:5])
    assert outliers(vectors[:2], contents[:2]) == []


def test_a_table_falls_into_its_themes_whatever_the_medium(database):
    found = cluster(Searcher(database), ClusteringSettings(names="texts"))
    themes = [uri.split("/")[4] for uri in found.units.column("uri")]
    assert adjusted_rand_score(themes, found.clusters.labels) == 1
    told = found.report()
    assert [each["size"] for each in told["clusters"]] == [28, 28, 28]
    assert told["clusters"][0]["media"] == {"image": 14, "text": 12, "video": 2}
    assert {each["cluster_name"] for each in found.rows().iter_rows(named=True)} == {"barking, dog", "red, train", "night, sea"}


def test_clusters_are_told_and_written(database, tmp_path):
    flags = ["--names", "texts", "--json", "--output", str(tmp_path / "clusters.parquet")]
    run = CliRunner().invoke(app, ["cluster", database, *flags])
    assert run.exit_code == 0, run.output
    told, rows = json.loads(run.output), pl.read_parquet(tmp_path / "clusters.parquet")
    assert rows.group_by("cluster").len().sort("cluster")["len"].to_list() == [each["size"] for each in told["clusters"]]
    shown = CliRunner().invoke(app, ["cluster", database, "--names", "texts", "--method", "hdbscan", "--smallest", "6"])
    assert shown.exit_code == 0 and "84 objects in 3 clusters" in shown.output and "barking, dog" in shown.output
    parts = CliRunner().invoke(app, ["cluster", database, "--segments", "--medium", "video", "--clusters", "3", "--names", "none"])
    assert parts.exit_code == 0 and "18 segments in 3 clusters" in parts.output and "segment 2" in parts.output
    refused = CliRunner().invoke(app, ["cluster", database, "--on", "moon"])
    assert refused.exit_code == 2 and "vectors, plane" in refused.output


def test_conditions_leave_some_objects_and_none_is_refused(database):
    found = cluster(Searcher(database), ClusteringSettings(ClusterSettings("kmeans", 2), keep=Filter(media=("text",)), names="none"))
    assert set(found.units.column("medium")) == {"text"} and len(found.units) == 36
    with pytest.raises(QueryError, match="no objects"):
        cluster(Searcher(database), ClusteringSettings(keep=Filter(media=("audio",))))
