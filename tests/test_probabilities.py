"""A temperature makes scores say how often they are right, and the calibration error says how well; both against naive sums."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from retrieval.classify.probabilities import BINS, expected_calibration_error, fit_scale, log_loss, softmax


def examples(n: int, classes: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores like cosines, and labels drawn with the probabilities softmax(scale x scores)."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(-0.3, 0.6, (n, classes)).astype(np.float32)
    chances = [[math.exp(scale * s) for s in row] for row in scores.tolist()]
    return scores, np.array([rng.choice(classes, p=np.array(row) / sum(row)) for row in chances])


def smoothed_loss(scores: np.ndarray, labels: np.ndarray, scale: float) -> float:
    total = 0.0
    n, classes = scores.shape
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        norm = math.log(sum(math.exp(scale * s) for s in row))
        for k, s in enumerate(row):
            target = (n + 1) / (n + 2) if k == label else 1 / (n + 2) / (classes - 1)
            total -= target * (scale * s - norm)
    return total / n


def test_probabilities_of_a_softmax_are_those_of_its_definition_and_no_score_is_too_large():
    scores = np.array([[0.0, 1.0, 2.0], [1e5, 0.0, -1e5]])
    total = sum(map(math.exp, (0, 1, 2)))
    np.testing.assert_allclose(softmax(scores), [[1 / total, math.e / total, math.e**2 / total], [1, 0, 0]])


@pytest.mark.parametrize(("n", "classes", "scale"), [(60, 2, 8), (40, 5, 30), (300, 12, 60)])
def test_the_scale_is_the_one_of_least_loss_on_a_grid_and_by_another_search(n, classes, scale):
    scores, labels = examples(n, classes, scale)
    found = fit_scale(scores, labels)
    assert smoothed_loss(scores, labels, found) <= min(
        smoothed_loss(scores, labels, found * math.exp(step / 50)) for step in range(-60, 61)
    )
    other = minimize(lambda x: smoothed_loss(scores, labels, math.exp(x[0])), [3.0], method="Nelder-Mead", options={"xatol": 1e-7})
    assert found == pytest.approx(math.exp(other.x[0]), rel=1e-3)


def test_scores_that_were_scaled_find_their_scale_again():
    scores, labels = examples(4_000, 4, 25, seed=3)
    assert fit_scale(scores, labels) == pytest.approx(25, rel=0.12)
    assert fit_scale(scores * 7, labels) == pytest.approx(fit_scale(scores, labels) / 7, rel=1e-3)


def test_a_few_examples_that_are_all_right_make_no_certainty():
    scores = np.eye(4)[np.arange(12) % 4]
    sure = softmax(fit_scale(scores, np.arange(12) % 4) * scores).max(axis=1)
    np.testing.assert_allclose(sure, (12 + 1) / (12 + 2), atol=1e-4)


def test_scores_that_say_nothing_become_equal_shares():
    rng = np.random.default_rng(0)
    scores, labels = rng.normal(size=(400, 3)), rng.integers(3, size=400)
    labels[scores.argmax(axis=1) == labels] = (labels[scores.argmax(axis=1) == labels] + 1) % 3  # wrong every time
    np.testing.assert_allclose(softmax(fit_scale(scores, labels) * scores), 1 / 3, atol=1e-3)


def test_no_example_is_no_temperature():
    with pytest.raises(ValueError, match="at least one example"):
        fit_scale(np.empty((0, 3)), np.empty(0, int))


def test_log_loss_is_the_mean_surprise_at_the_right_class():
    scores, labels = examples(50, 3, 10)
    surprises = [-math.log(softmax(4 * scores)[k, label]) for k, label in enumerate(labels)]
    assert log_loss(scores, labels, 4) == pytest.approx(np.mean(surprises))


def test_the_calibration_error_is_that_of_a_loop_over_bins():
    scores, labels = examples(500, 4, 40, seed=5)
    probabilities = softmax(15 * scores)
    total = 0.0
    for k in range(BINS):
        members = [i for i, row in enumerate(probabilities) if k / BINS < row.max() <= (k + 1) / BINS]
        if members:
            right = np.mean([probabilities[i].argmax() == labels[i] for i in members])
            total += len(members) / 500 * abs(right - np.mean([probabilities[i].max() for i in members]))
    assert expected_calibration_error(probabilities, labels) == pytest.approx(total)
    assert total > 0.05


def test_the_calibration_error_is_nothing_where_confidence_is_accuracy_and_all_where_a_certainty_is_wrong():
    probabilities = np.tile([0.8, 0.2], (10, 1))
    assert expected_calibration_error(probabilities, np.array([0] * 8 + [1] * 2)) == pytest.approx(0)
    assert expected_calibration_error(np.tile([1.0, 0.0], (5, 1)), np.ones(5, int)) == 1


def test_a_confidence_on_the_edge_of_two_bins_belongs_to_the_lower_one():
    """Bins are open on the left, as in Guo et al.: 0.5 and wrong stands alone in (0, 0.5], 0.75 and right in (0.5, 1]."""
    probabilities = np.array([[0.5, 0.5], [0.75, 0.25]])
    assert expected_calibration_error(probabilities, np.array([1, 0]), bins=2) == pytest.approx((0.5 + 0.25) / 2)


def test_calibrating_brings_the_error_down_and_moves_no_answer():
    scores, labels = examples(4_000, 6, 30, seed=1)
    fitted, judged = slice(0, 2_000), slice(2_000, None)
    after = softmax(fit_scale(scores[fitted], labels[fitted]) * scores[judged])
    before = softmax(100 * scores[judged])
    assert (after.argmax(axis=1) == before.argmax(axis=1)).all()
    errors = [expected_calibration_error(p, labels[judged]) for p in (before, after)]
    assert errors[1] < 0.04 and errors[0] > 2 * errors[1] + 0.01
