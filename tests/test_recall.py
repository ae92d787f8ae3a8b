"""Recall is what a naive loop says, a row never answers itself, copies are as good as each other, and settings rise only while needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from lancedb.table import Table
from scipy.stats import binomtest
from table_rows import NOW

from storage import batches, index, recall, schema, table
from storage.index import IndexRules, SearchSettings
from storage.recall import Recall

DIMENSION = 16
FEW = 20


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def rows(vectors: np.ndarray, modality: Sequence[str], name: str = "u") -> pa.RecordBatch:
    columns = {
        "uri": [f"{name}{k:05d}" for k in range(len(vectors))],
        "segment": 0,
        "source": "s3://bucket",
        "size": 1,
        "content_hash": "h",
        "medium": modality,
        "modality": modality,
        "embedded_at": NOW,
        "run": "r1",
    }
    return batches.rows(schema.rows(DIMENSION), columns, vectors)


def put(media: Table, vectors: np.ndarray, modality: Sequence[str], name: str = "u") -> None:
    batch = rows(vectors, modality, name)
    table.commit(media, batch["uri"].to_pylist(), lambda: pa.RecordBatchReader.from_batches(batch.schema, [batch]))


def clustered(count: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.standard_normal((60, DIMENSION))
    return unit(centres[random.integers(0, 60, count)] + 0.8 * random.standard_normal((count, DIMENSION)))


@pytest.fixture
def media(tmp_path: Path) -> Table:
    """2,000 pictures and 500 texts apart from them, in two commits, of which every seventh object was deleted again."""
    made = table.create(table.connect(str(tmp_path)), "media", "{}", "g1", DIMENSION)
    put(made, clustered(2000, 1), ["image"] * 2000, "i")
    put(made, unit(clustered(500, 2) + 2.0), ["text"] * 500, "t")
    gone = [f"i{k:05d}" for k in range(0, 2000, 7)]
    table.commit(made, gone, None)
    return made


def held(media: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every row's id, modality and vector, read otherwise than the code under test does."""
    found = media.search().with_row_id(True).limit(None).to_arrow()
    vectors = np.array(found["vector"].to_pylist(), np.float64)
    return found["_rowid"].to_numpy(), np.array(found["modality"].to_pylist()), unit(vectors)


def naive(media: Table, questions: recall.Questions, place: int) -> list[float]:
    """The ten best scores of one question, by a loop over all rows."""
    ids, modality, vectors = held(media)
    scores = []
    for row, kind, vector in zip(ids, modality, vectors, strict=True):
        if row != questions.own[place] and questions.among in (None, kind):
            scores.append(float(sum(a * b for a, b in zip(vector.tolist(), questions.vectors[place].tolist(), strict=True))))
    return sorted(scores)[-recall.DEPTH :]


def test_questions_are_rows_of_the_table_of_each_kind(media: Table) -> None:
    drawn = recall.draw(media, FEW)
    ids, modality, vectors = held(media)
    place = {int(row): k for k, row in enumerate(ids)}
    assert [(each.name, each.among) for each in drawn] == [("all", None), ("image>text", "text"), ("text>image", "image")]
    for each in drawn:
        places = [place[int(own)] for own in each.own]
        assert len(set(places)) == FEW
        np.testing.assert_allclose(each.vectors, vectors[places], atol=1e-6)
    assert {modality[place[int(own)]] for own in drawn[1].own} == {"image"}
    assert {modality[place[int(own)]] for own in drawn[0].own} == {"image", "text"}


def test_drawing_is_fair_and_the_same_for_the_same_seed(media: Table) -> None:
    first, again, other = (recall.draw(media, FEW, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0].own, again[0].own)
    assert set(first[0].own.tolist()) != set(other[0].own.tolist())
    ids = np.sort(held(media)[0])
    counts = np.zeros(4)
    for seed in range(60):
        counts += np.histogram(np.searchsorted(ids, recall.draw(media, FEW, seed)[0].own), 4, (0, len(ids)))[0]
    assert np.abs(counts / counts.sum() - 0.25).max() < 0.05  # 1,200 draws: four standard deviations


def test_exact_scores_are_those_of_a_naive_loop_without_the_row_itself(media: Table) -> None:
    drawn = recall.draw(media, 5)
    for each, scores in zip(drawn, recall.exact(media, drawn), strict=True):
        for place in range(5):
            np.testing.assert_allclose(scores[place], naive(media, each, place), atol=1e-5)
            assert scores[place].max() < 0.9999 and each.name


def test_blocks_and_batches_of_any_size_give_the_same_scores(media: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = recall.draw(media, FEW)
    whole = recall.exact(media, drawn)
    monkeypatch.setattr(recall, "_SCORES", 7 * FEW)
    monkeypatch.setattr(recall, "BATCH", 100)
    for a, b in zip(whole, recall.exact(media, drawn), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_without_an_index_recall_is_one(media: Table) -> None:
    drawn = recall.draw(media, FEW)
    found = recall.measure(media, drawn, recall.exact(media, drawn), SearchSettings())
    assert found.by_kind == {"all": 1.0, "image>text": 1.0, "text>image": 1.0}
    assert found.milliseconds > 0


def test_recall_through_an_index_is_that_of_comparing_names_with_a_search_of_every_row(media: Table) -> None:
    index.build(media, index.RQ, IndexRules(partition=50, bits=1))
    drawn = recall.draw(media, FEW)
    settings = SearchSettings(nprobes=2, refine=2)
    measured = recall.measure(media, drawn, recall.exact(media, drawn), settings).by_kind
    for each in drawn:
        where = f"modality = '{each.among}'" if each.among else "true"
        found = 0
        for vector, own in zip(each.vectors, each.own, strict=True):
            query = media.search(vector, vector_column_name="vector").distance_type("cosine").where(where).with_row_id(True)
            flat = query.bypass_vector_index().limit(11).select(["uri", "_distance"]).to_arrow()
            listed = index.nearest(media, vector, settings, f"modality = '{each.among}'" if each.among else "")
            listed = listed.with_row_id(True).limit(11).select(["uri", "_distance"]).to_arrow()
            ten = [row for row in flat["_rowid"].to_pylist() if row != own][:10]
            found += len(set(ten) & set([row for row in listed["_rowid"].to_pylist() if row != own][:10]))
        assert measured[each.name] == pytest.approx(found / 10 / FEW, abs=0.006)
    assert 0.2 < measured["all"] < 0.95  # an index so coarse must miss some, or this test compares ones with ones


@pytest.mark.parametrize("count", [1, 10, 133, 300])
def test_of_questions_that_find_all_or_nothing_wilsons_bound_is_sure(count: int) -> None:
    for found in {0, 1, count // 2, count - 1, count}:
        shares = np.repeat([1.0, 0.0], [found, count - found])
        # one-sided 95% is the lower end of a two-sided 90%
        wilson = binomtest(found, count).proportion_ci(0.90, method="wilson").low
        assert recall.lower_bound(shares) == pytest.approx(wilson, abs=1e-12)


def test_shares_that_lie_closer_together_count_for_more_questions() -> None:
    shares = np.repeat([1.0, 0.9], [50, 50])  # mean 0.95, variance 0.0025: as good as 100 * 0.0475 / 0.0025 = 1,900 of all or nothing
    wilson = binomtest(1805, 1900).proportion_ci(0.90, method="wilson").low
    assert recall.lower_bound(shares) == pytest.approx(wilson, abs=1e-12)


def test_of_questions_with_equal_shares_nothing_is_known_of_how_others_differ() -> None:
    wilson = binomtest(210, 300).proportion_ci(0.90, method="wilson").low
    assert recall.lower_bound(np.full(300, 0.7)) == pytest.approx(wilson, abs=1e-12)


@pytest.mark.parametrize(("target", "needed"), [(0.9, 25), (0.98, 133), (0.99, 268), (0.999, 2703)])
def test_so_many_questions_that_all_find_all_show_a_target_and_one_less_does_not(target: float, needed: int) -> None:
    assert recall.least_questions(target) == needed
    low = [binomtest(count, count).proportion_ci(0.90, method="wilson").low for count in (needed, needed - 1)]
    assert low[0] >= target > low[1]


def test_no_number_of_questions_shows_a_target_of_one() -> None:
    assert recall.least_questions(1.0) is None


SHARES: dict[str, tuple[float, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]]] = {
    "all or nothing, 0.97": (0.97, lambda random, size: random.binomial(1, 0.97, size)),
    "all or nothing, 0.979": (0.979, lambda random, size: random.binomial(1, 0.979, size)),
    "all or nothing, 0.6": (0.6, lambda random, size: random.binomial(1, 0.6, size)),
    "each of ten by itself": (0.979, lambda random, size: random.binomial(10, 0.979, size) / 10),
    "ten of a question alike": (9 / 9.3, lambda random, size: random.binomial(10, random.beta(9, 0.3, size)) / 10),
    "all the same": (0.7, lambda random, size: np.full(size, 0.7)),
}


@pytest.mark.parametrize("count", [10, 20, 150, 300])
@pytest.mark.parametrize("shares", SHARES)
def test_what_is_sure_is_below_the_truth_in_nine_of_ten_draws(shares: str, count: int) -> None:
    true, draw = SHARES[shares]
    bounds = [recall.lower_bound(each) for each in draw(np.random.default_rng(1), (600, count))]
    assert np.mean([bound <= true for bound in bounds]) >= 0.9 - 2 * np.sqrt(0.9 * 0.1 / 600)


def test_what_all_rows_find_is_sure_as_it_is(media: Table) -> None:
    index.build(media, index.RQ, IndexRules(partition=50, bits=1))
    texts = 500
    drawn = recall.draw(media, texts)
    assert [(each.name, each.whole) for each in drawn] == [("all", False), ("image>text", False), ("text>image", True)]
    assert not any(each.whole for each in recall.draw(media, texts - 1))
    few = [replace(each, vectors=each.vectors[:FEW], own=each.own[:FEW]) for each in drawn]
    found = recall.measure(media, few, recall.exact(media, few), SearchSettings(nprobes=1, refine=1))
    assert found.sure["text>image"] == found.by_kind["text>image"] < 1
    assert all(0 < found.sure[name] < found.by_kind[name] for name in ("all", "image>text"))


def test_where_float16_moves_lengths_more_than_neighbours_differ_a_search_of_every_row_still_finds_all(tmp_path: Path) -> None:
    made = table.create(table.connect(str(tmp_path)), "media", "{}", "g1", DIMENSION)
    random = np.random.default_rng(5)
    put(made, unit(random.standard_normal((1, DIMENSION)) + 0.02 * random.standard_normal((3000, DIMENSION))), ["image"] * 3000)
    drawn = recall.draw(made, FEW)
    assert recall.measure(made, drawn, recall.exact(made, drawn), SearchSettings()).by_kind["all"] == 1.0


def test_copies_of_an_object_are_as_good_as_each_other(tmp_path: Path) -> None:
    made = table.create(table.connect(str(tmp_path)), "media", "{}", "g1", DIMENSION)
    put(made, np.repeat(clustered(40, 3), 30, axis=0), ["image"] * 1200)
    drawn = recall.draw(made, FEW)
    scores = recall.exact(made, drawn)
    np.testing.assert_allclose(scores[0], 1.0, atol=1e-3)
    assert recall.measure(made, drawn, scores, SearchSettings()).by_kind == {"all": 1.0}


def test_of_fewer_than_ten_rows_all_are_to_be_found(tmp_path: Path) -> None:
    made = table.create(table.connect(str(tmp_path)), "media", "{}", "g1", DIMENSION)
    put(made, clustered(6, 3), ["image"] * 4 + ["text"] * 2)
    drawn = recall.draw(made)
    scores = recall.exact(made, drawn)
    assert [np.isfinite(each).sum(axis=1).tolist() for each in scores] == [[5] * 6, [2] * 4, [4] * 2]
    assert recall.measure(made, drawn, scores, SearchSettings()).least == 1.0


def test_of_an_empty_table_nothing_is_asked(tmp_path: Path) -> None:
    made = table.create(table.connect(str(tmp_path)), "media", "{}", "g1", DIMENSION)
    assert recall.draw(made) == [] and recall.exact(made, []) == []
    assert recall.measure(made, [], [], SearchSettings()).least == 1.0


# -- raising -----------------------------------------------------------------------------------------------------------------------------


class Index:
    """Recall as a formula, and what was asked of it."""

    def __init__(self, probes: int, refine: int) -> None:
        self.probes, self.refine = probes, refine
        self.asked: list[SearchSettings] = []

    def __call__(self, settings: SearchSettings) -> Recall:
        self.asked.append(settings)
        worst = min(1.0, settings.nprobes / self.probes) * min(1.0, settings.refine / self.refine)
        found = {"all": 1.0, "text>image": worst}
        return Recall(settings, found, found, 1.0)


@pytest.mark.parametrize(
    ("needed", "chosen"), [((20, 10), (20, 10)), ((160, 10), (160, 10)), ((20, 40), (20, 40)), ((30, 17), (40, 20)), ((1, 1), (20, 10))]
)
def test_settings_are_raised_where_it_helps_and_no_further(needed: tuple[int, int], chosen: tuple[int, int]) -> None:
    measured = recall.raised(Index(*needed), 0.98, SearchSettings(20, 10))
    assert measured[-1].settings == SearchSettings(*chosen)
    assert measured[-1].least == 1.0
    assert all(
        each.least < 0.98 or each is measured[-1] or each.settings.nprobes > chosen[0] or each.settings.refine > chosen[1]
        for each in measured
    )


def test_a_target_out_of_reach_ends_at_the_widest_settings_each_asked_once() -> None:
    asked = Index(10**6, 10**6)
    measured = recall.raised(asked, 0.98, SearchSettings(20, 10), SearchSettings(100, 25))
    assert measured[-1].settings == SearchSettings(100, 25) and measured[-1].least < 0.98
    assert len(asked.asked) == len(set(asked.asked)) == len(measured)


def test_no_setting_goes_beyond_the_partitions_there_are() -> None:
    measured = recall.raised(Index(1, 1), 0.98, SearchSettings(20, 10), SearchSettings(3, 80))
    assert [each.settings for each in measured] == [SearchSettings(3, 10)]


def test_what_an_index_misses_is_found_with_more_partitions(media: Table) -> None:
    index.build(media, index.RQ, IndexRules(partition=50))
    drawn = recall.draw(media, FEW)
    truth = recall.exact(media, drawn)
    measured = recall.raised(lambda settings: recall.measure(media, drawn, truth, settings), 0.85, SearchSettings(1, 1))
    assert measured[0].least < 0.8 and measured[-1].least >= 0.85
    assert pl.Series([each.settings.nprobes for each in measured]).max() <= 64
