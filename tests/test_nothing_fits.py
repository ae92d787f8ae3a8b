"""Nonsense gets an empty answer, what fits keeps its own, by thresholds that were measured in this very table."""

from __future__ import annotations

import numpy as np
import pytest
from asked_table import DIMENSION, opened, row, texts

from retrieval.filters import Filter
from retrieval.query import QueryError, Searcher
from retrieval.search import nonsense, nothing_fits
from retrieval.search.nothing_fits import Threshold
from retrieval.search.question import Item, Term
from retrieval.search.search import Manner, search

WORDS = ["dog", "cat", "bird", "frog", "train", "red", "blue", "green", "night", "sea", "rain", "storm", "sings", "barks", "waits"]
SAID = [" ".join(np.random.default_rng(k).choice(WORDS, 5, replace=False)) for k in range(150)]


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    pictures = [row(f"file:///b/p{k}.png", np.random.default_rng(k).standard_normal(DIMENSION)) for k in range(30)]
    return opened(tmp_path_factory.mktemp("fits") / "lance", [*texts(SAID), *pictures])


@pytest.fixture(scope="module")
def lines(searcher):
    return nothing_fits.calibrate(searcher)


def fitting(searcher, question, **manner):
    return search(searcher, question, manner=Manner(fits=True, **manner))


def test_most_of_what_fits_is_answered_and_hardly_any_nonsense(searcher, lines):
    fresh = [" ".join(np.random.default_rng(1000 + k).choice(WORDS, 5, replace=False)) for k in range(40)]
    answered = [bool(fitting(searcher, [Term(words)])) for words in fresh]
    invented = [bool(fitting(searcher, [Term(words)])) for words in nonsense.texts(60, seed=99)]
    assert np.mean(answered) > 0.9
    assert np.mean(invented) < 0.3  # one in ten of each of two modalities, and chance
    best = fitting(searcher, [Term(SAID[7])])[0]
    assert best.text == SAID[7] and best.score == pytest.approx(1, abs=2e-3)


def test_the_report_tells_what_was_measured(lines):
    told = {(line["asked"], line["found"]): line for line in lines.iter_rows(named=True)}
    assert set(told) == {("text", "image"), ("text", "text")}
    assert told["text", "text"]["kept"] > 0.9 and told["text", "text"]["wrong"] < 0.3
    assert told["text", "text"]["auc"] > 0.95
    assert told["text", "image"]["auc"] < 0.8  # these pictures have nothing to do with words, and it says so


def test_segments_that_stand_for_questions_are_no_answers_to_themselves(tmp_path):
    alone = opened(tmp_path / "lance", texts(f"one{k} two{k} three{k} four{k}" for k in range(120)))
    assert nothing_fits.calibrate(alone).get_column("kept")[0] < 0.5  # no text is like another


def test_excess_is_the_discriminant_written_out():
    rng = np.random.default_rng(0)
    background, segments, windows = rng.standard_normal((40, 5)), rng.standard_normal((9, 5)), rng.standard_normal((3, 5))
    centre = segments.mean(axis=0)
    rule = Threshold("text", "image", background.mean(axis=0), centre, nothing_fits.precision(background), 0.0)
    covariance = np.cov(background, rowvar=False)
    inverse = np.linalg.inv(covariance + np.trace(covariance) / 5 * np.eye(5))
    expected = [max((q - background.mean(axis=0)) @ inverse @ (v - centre) for q in windows) for v in segments]
    np.testing.assert_allclose(rule.excess(windows, segments), expected, rtol=1e-4)


def test_every_answer_exceeds_its_threshold_and_none_that_does_is_missing(searcher, lines):
    rule = next(each for each in nothing_fits.read(searcher, "text").thresholds if each.found == "text")
    queried = searcher.embed(SAID[3])
    held = {f"file:///b/texts/{k:03}.txt": searcher.vectors_of(f"file:///b/texts/{k:03}.txt")[0] for k in range(len(SAID))}
    good = {uri for uri, vector in held.items() if rule.excess(queried, vector[None])[0] > rule.threshold}
    hits = search(searcher, [Term(SAID[3])], Filter(modality="text"), Manner(limit=1000, fits=True))
    assert {hit.uri for hit in hits} == good and good


def test_thresholds_are_kept_with_the_table_and_calibrating_again_replaces_them(searcher, lines):
    again = nothing_fits.calibrate(searcher, wrong=0.4, seed=1)
    held = nothing_fits.read(Searcher(searcher.database.uri), "text")
    assert sorted(each.threshold for each in held.thresholds) == pytest.approx(sorted(again.get_column("threshold")))
    nothing_fits.calibrate(searcher)


def test_what_was_never_calibrated_is_refused(searcher, lines, tmp_path):
    with pytest.raises(QueryError, match="sensorium calibrate"):
        fitting(searcher, [Term(Item("file:///b/p1.png"))])
    with pytest.raises(QueryError, match="sensorium calibrate"):
        search(searcher, [Term("a dog")], Filter(modality="audio"), Manner(fits=True))
    with pytest.raises(QueryError, match="least score"):
        fitting(searcher, [Term(np.ones(DIMENSION))])
    with pytest.raises(QueryError, match="2 texts that nothing answers are too few"):
        nothing_fits.calibrate(searcher, nothing=["x", "y"])


def test_an_encoder_that_takes_no_question_that_fits_nothing_is_told(searcher, lines):
    with pytest.raises(QueryError, match=r"of the 40 questions that fit nothing the encoders take 0 of text, .* --nonsense FILE"):
        nothing_fits.calibrate(searcher, nothing=["  "] * 40)
    assert nothing_fits.read(searcher, "text").thresholds  # what was measured before is kept


def test_own_questions_are_what_is_measured_by(searcher):
    told = nothing_fits.calibrate(searcher, known=SAID[:20], nothing=nonsense.texts(90, seed=5)).filter(found="text")
    assert told.get_column("queries").to_list() == [20]
    assert told.get_column("kept")[0] > 0.9
    nothing_fits.calibrate(searcher)


def test_the_threshold_is_the_lowest_that_lets_no_more_nonsense_through_than_was_asked(tmp_path, monkeypatch):
    """Of twelve questions with the excesses 0 to 11 one may exceed it, for two would be more than a tenth."""
    alone = opened(tmp_path / "lance", texts(SAID[:10]))
    monkeypatch.setattr(nothing_fits, "_best", lambda searcher, rule, asked, own=(): (np.arange(len(asked)), np.arange(len(asked))))
    told = nothing_fits.calibrate(alone, nothing=nonsense.texts(36, seed=5), wrong=0.1)
    assert told.get_column("threshold").to_list() == [10]


def test_noise_pictures_and_noises_are_media_that_an_encoder_takes():
    for picture in nonsense.pictures(8, seed=1):
        assert picture.shape == (224, 224, 3) and picture.dtype == np.uint8
    for sound in nonsense.sounds(8, 16_000, seed=1):
        assert sound.shape == (64_000,) and sound.dtype == np.float32 and 0 < np.abs(sound).max() <= 1
    assert nonsense.texts(30, 3) == nonsense.texts(30, 3) != nonsense.texts(30, 4)
