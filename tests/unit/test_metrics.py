# SPDX-License-Identifier: Apache-2.0
import math
import time

import numpy as np
import pytest
import sklearn.metrics

from src.evaluation.metrics import (
    auc_components,
    auc_interval,
    calibration,
    calibration_error,
    chance_calibration_error,
    compute_metrics,
    describe_metrics,
    log_loss,
    normalised_entropy,
    roc_auc,
    variance_of_mean,
)
from tests import oracles


def test_auc_counts_ties_half():
    # Pairs (click, other): (.5, .5) half, (.5, .2) one, (.5, .7) none, (.9, .5), (.9, .2), (.9, .7) one each: 4.5 of 6.
    labels = np.array([1, 0, 0, 0, 1], np.float32)
    scores = np.array([0.5, 0.5, 0.2, 0.7, 0.9], np.float32)
    assert roc_auc(labels, scores) == pytest.approx(4.5 / 6)


@pytest.mark.parametrize("seed", range(30))
def test_auc_agrees_with_all_pairs(seed):
    random = np.random.default_rng(seed)
    rows, levels = random.integers(2, 200), random.integers(1, 30)  # from a constant score to one with few ties
    labels = np.concatenate([[0, 1], random.random(rows) < random.random()]).astype(np.float32)
    scores = (random.integers(0, levels, len(labels)) / levels).astype(np.float32)
    expected = oracles.auc(labels, scores)
    assert roc_auc(labels, scores) == pytest.approx(expected, abs=1e-12)
    # It depends on the order of the scores only, and exchanging the classes mirrors it.
    assert roc_auc(labels, np.exp(3 * scores)) == pytest.approx(expected, abs=1e-12)
    assert roc_auc(1 - labels, scores) == pytest.approx(1 - expected, abs=1e-12)


def test_auc_of_one_class_is_not_a_number():
    assert math.isnan(roc_auc(np.ones(3), np.array([0.1, 0.2, 0.3])))
    assert math.isnan(roc_auc(np.array([]), np.array([])))


def test_log_loss_by_hand():
    labels, probabilities = np.array([1, 0, 1], np.float32), np.array([0.8, 0.4, 0.5], np.float32)
    assert log_loss(labels, probabilities) == pytest.approx(
        -(math.log(0.8) + math.log(0.6) + math.log(0.5)) / 3, rel=1e-6
    )


def test_certain_and_wrong_is_finite():
    assert log_loss(np.array([1.0]), np.array([0.0], np.float32)) == pytest.approx(-math.log(1e-7))


def test_normalised_entropy_by_hand():
    # Of four rows one is a click: always predicting 1/4 costs (log 4 + 3 log 4/3) / 4 and has entropy 1.
    labels = np.array([1, 0, 0, 0], np.float32)
    assert normalised_entropy(labels, np.full(4, 0.25, np.float32)) == pytest.approx(1.0, rel=1e-6)
    base = (math.log(4) + 3 * math.log(4 / 3)) / 4
    assert normalised_entropy(labels, np.full(4, 0.5, np.float32)) == pytest.approx(math.log(2) / base, rel=1e-6)
    assert math.isnan(normalised_entropy(np.zeros(3), np.full(3, 0.1)))


def test_calibration_by_hand():
    labels, probabilities = np.array([1, 0, 1, 0], np.float32), np.array([0.9, 0.2, 0.6, 0.7], np.float32)
    assert calibration(labels, probabilities) == pytest.approx(2.4 / 2)
    assert math.isnan(calibration(np.zeros(2), np.array([0.1, 0.2])))


def test_calibration_error_by_hand():
    # Bins of 1/15: the first holds 0.01 and 0.05, the last 1 and 0.95, another one 0.5 alone.
    labels = np.array([1, 0, 1, 1, 0], np.float32)
    probabilities = np.array([0.01, 0.05, 1.0, 0.95, 0.5])
    expected = (abs(1 - 0.06) + abs(2 - 1.95) + 0.5) / 5
    assert calibration_error(labels, probabilities) == pytest.approx(expected)


def test_the_bins_of_the_calibration_error_are_fifteenths():
    # A click just below each edge k / 15 and another row just above it.  So a bin holds the other row above its lower
    # edge, with the gap -p, and the click below its upper edge, with the gap 1 - p; the outer bins hold one of them.
    edges = np.arange(1, 15) / 15
    probabilities = np.concatenate([edges - 0.002, edges + 0.002])
    labels = np.repeat([1.0, 0.0], 14)
    gap_below = 1 - (edges - 0.002)  # of the bin that ends at an edge
    gap_above = -(edges + 0.002)  # of the bin that begins there
    gaps = np.concatenate([gap_below, [0]]) + np.concatenate([[0], gap_above])
    assert calibration_error(labels, probabilities) == pytest.approx(np.abs(gaps).sum() / 28)


def test_the_calibration_error_of_exact_probabilities_is_that_by_chance():
    random = np.random.default_rng(8)
    probabilities = random.beta(1, 3, 5000).astype(np.float32)
    errors = [calibration_error(random.random(5000) < probabilities, probabilities) for _ in range(400)]
    assert chance_calibration_error(probabilities) == pytest.approx(np.mean(errors), rel=0.03)


def test_components_of_the_auc_by_hand():
    clicks, others = auc_components(np.array([0.5, 0.9]), np.array([0.5, 0.2, 0.7]))
    assert clicks == pytest.approx([1.5 / 3, 1.0])
    assert others == pytest.approx([1.5 / 2, 1.0, 1 / 2])


def test_the_interval_agrees_with_the_definition():
    random = np.random.default_rng(5)
    labels = random.integers(0, 2, 200).astype(np.float32)
    scores = (labels * 0.3 + random.integers(0, 12, 200) / 12).astype(np.float32)
    wins = np.array([[(a > b) + 0.5 * (a == b) for b in scores[labels == 0]] for a in scores[labels == 1]])
    variance = wins.mean(1).var(ddof=1) / wins.shape[0] + wins.mean(0).var(ddof=1) / wins.shape[1]
    margin = 1.959964 * math.sqrt(variance)
    assert auc_interval(labels, scores) == pytest.approx([wins.mean() - margin, wins.mean() + margin])


def test_the_interval_holds_the_true_auc_in_95_of_100_samples():
    # Two normal distributions a standard deviation apart have an AUC of Phi(1 / sqrt 2) = 0.7602.
    random = np.random.default_rng(6)
    labels = np.repeat([0.0, 1.0], 150)
    held = 0
    for _ in range(1000):
        low, high = auc_interval(labels, random.normal(labels))
        held += low < 0.76025 < high
    assert 925 <= held <= 975  # 950 plus or minus 3.6 standard deviations


def test_the_interval_of_few_rows_is_wide():
    assert auc_interval(np.array([1.0, 0.0]), np.array([0.9, 0.1])) == [0.0, 1.0]
    assert np.isnan(auc_interval(np.ones(4), np.arange(4))).all()


def test_the_metrics_do_not_depend_on_the_order_of_the_rows():
    random = np.random.default_rng(5)
    probabilities = random.random(5000, np.float32)
    labels = (random.random(5000) < probabilities).astype(np.float32)
    expected = compute_metrics(labels, probabilities)
    for _ in range(20):
        order = random.permutation(5000)
        assert compute_metrics(labels[order], probabilities[order]) == expected


def test_millions_of_rows_take_seconds():
    random = np.random.default_rng(7)
    probabilities = random.random(4_600_000, dtype=np.float32)
    labels = (random.random(4_600_000) < probabilities).astype(np.float32)
    start = time.process_time()
    metrics = compute_metrics(labels, probabilities)
    # 5 s is the aim; a busy machine takes longer.
    assert time.process_time() - start < 15
    assert metrics["auc"] == pytest.approx(5 / 6, abs=0.001)  # of a click rate that is even over [0, 1]
    assert metrics["calibration"] == pytest.approx(1, abs=0.002)
    assert metrics["calibration_error"] < 0.002
    assert metrics["auc_interval"][0] < metrics["auc"] < metrics["auc_interval"][1]


def tied_rows(rows=500, seed=9):
    """Return labels, and probabilities of which many are alike."""
    random = np.random.default_rng(seed)
    probabilities = (random.integers(1, 40, rows) / 40).astype(np.float32)
    return (random.random(rows) < probabilities).astype(np.float32), probabilities


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("weight", [1, 0.3])
def test_equal_weights_give_the_metrics_without_weights(weight):
    labels, probabilities = tied_rows()
    weights = np.full(len(labels), weight)
    assert_same(compute_metrics(labels, probabilities, weights), compute_metrics(labels, probabilities))
    expected = chance_calibration_error(probabilities)
    assert chance_calibration_error(probabilities, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [roc_auc, log_loss, normalised_entropy, calibration, calibration_error])
@pytest.mark.parametrize("seed", range(5))
def test_a_row_of_weight_k_counts_as_k_rows(metric, seed):
    labels, probabilities = tied_rows(seed=seed)
    repeats = np.random.default_rng(seed).integers(0, 5, len(labels))
    expected = metric(np.repeat(labels, repeats), np.repeat(probabilities, repeats))
    assert metric(labels, probabilities, repeats.astype(np.float32)) == pytest.approx(expected, abs=1e-12)


METRICS = [roc_auc, auc_interval, log_loss, normalised_entropy, calibration, calibration_error]


@pytest.mark.parametrize("metric", [*METRICS, lambda _, *columns: chance_calibration_error(*columns)])
def test_a_row_of_weight_0_has_no_influence(metric):
    labels, probabilities = tied_rows()
    weights = np.random.default_rng(3).exponential(size=len(labels)).astype(np.float32)
    weights[::3] = 0
    labels[-3:], probabilities[-3:], weights[-3:] = 0, 1, 0  # the worst predictions, and the only ones of 1
    kept = weights > 0
    expected = metric(labels[kept], probabilities[kept], weights[kept])
    assert metric(labels, probabilities, weights) == pytest.approx(expected, abs=1e-12)


def test_weighted_metrics_agree_with_scikit_learn_and_with_all_pairs():
    labels, probabilities = tied_rows()
    weights = np.random.default_rng(4).lognormal(sigma=2, size=len(labels)).astype(np.float32)
    expected = sklearn.metrics.log_loss(labels, probabilities.astype(np.float64), sample_weight=weights)
    assert log_loss(labels, probabilities, weights) == pytest.approx(expected, abs=1e-12)
    exact, is_click = weights.astype(np.float64), labels == 1
    wins = [(p > probabilities[~is_click]) + 0.5 * (p == probabilities[~is_click]) for p in probabilities[is_click]]
    expected = exact[is_click] @ wins @ exact[~is_click] / exact[is_click].sum() / exact[~is_click].sum()
    assert roc_auc(labels, probabilities, weights) == pytest.approx(expected, abs=1e-12)
    assert sklearn.metrics.roc_auc_score(labels, probabilities, sample_weight=weights) == pytest.approx(expected)
    below, above = auc_components(
        probabilities[is_click], probabilities[~is_click], weights[is_click], weights[~is_click]
    )
    assert np.average(below, weights=exact[is_click]) == pytest.approx(expected, abs=1e-12)
    assert np.average(above, weights=exact[~is_click]) == pytest.approx(expected, abs=1e-12)
    assert below == pytest.approx(np.array(wins) @ exact[~is_click] / exact[~is_click].sum(), abs=1e-12)


def test_weights_that_sum_to_0_and_a_class_without_weight_have_the_metrics_of_no_rows_and_of_one_class():
    labels, probabilities = tied_rows()
    for weights in (np.zeros(len(labels)), (labels == 0).astype(np.float32)):
        kept = weights > 0
        expected = compute_metrics(labels[kept], probabilities[kept])
        assert_same(compute_metrics(labels, probabilities, weights), expected)
        assert all(np.isnan(metric(labels, probabilities, weights)).all() for metric in METRICS[:2])
    assert math.isnan(chance_calibration_error(probabilities, np.zeros(len(labels))))


def test_weighted_metrics_do_not_depend_on_the_order_of_the_rows():
    labels, probabilities = tied_rows(5000)
    random = np.random.default_rng(5)
    weights = random.exponential(size=5000).astype(np.float32)
    expected = compute_metrics(labels, probabilities, weights)
    for _ in range(20):
        order = random.permutation(5000)
        assert compute_metrics(labels[order], probabilities[order], weights[order]) == expected


@pytest.mark.parametrize("tilt", [0, 0.5])
def test_the_interval_holds_the_true_auc_of_weighted_rows_in_95_of_100_samples(tilt):
    # Rows of a normal distribution around m with weights in proportion to exp(t x) stand for one around m + t.  So both
    # classes stand for normal distributions a standard deviation apart.  Other weights have nothing to do with x.
    random = np.random.default_rng(6)
    labels = np.repeat([0.0, 1.0], 300)
    tilts = np.where(labels == 1, tilt, -tilt)
    held = 0
    for _ in range(1000):
        scores = random.normal(labels - tilts)
        weights = np.exp(tilts * scores + 0.5 * random.normal(size=600))
        low, high = auc_interval(labels, scores, weights)
        held += low < 0.76025 < high
    assert 920 <= held <= 975  # 950 plus or minus 3.6 standard deviations, a little less for the skewed weights


def test_the_variance_of_a_weighted_mean_is_right_on_average():
    # Independent values of variance 1: the mean by fractions a varies by the sum of a^2, here 0.36 + 0.09 + 0.01.
    values, weights = np.random.default_rng(7).normal(size=(100_000, 3)), np.array([6.0, 3.0, 1.0])
    sums = np.stack([weights, weights**2, weights**3])
    assert np.mean([variance_of_mean(each, sums) for each in values]) == pytest.approx(0.46, rel=0.02)


def test_the_interval_is_wide_if_one_row_has_all_the_weight():
    labels, scores = np.array([1.0, 1, 0, 0]), np.array([0.9, 0.1, 0.5, 0.4])
    assert auc_interval(labels, scores, np.array([1e-9, 1, 1, 1])) == [0, 1]
    assert auc_interval(labels, scores, np.array([0, 0.3, 1, 1])) == [0, 1]  # a single click


def test_the_calibration_error_of_exact_weighted_probabilities_is_that_by_chance():
    random = np.random.default_rng(8)
    probabilities, weights = random.beta(1, 3, 5000).astype(np.float32), random.exponential(size=5000)
    errors = [calibration_error(random.random(5000) < probabilities, probabilities, weights) for _ in range(400)]
    assert chance_calibration_error(probabilities, weights) == pytest.approx(np.mean(errors), rel=0.03)


@pytest.mark.parametrize(("weight", "text"), [(83_899.4, "83,899"), (999.96, "1000"), (0.01234567, "0.01235")])
def test_the_lines_on_metrics_tell_that_they_are_weighted(weight, text):
    metrics = compute_metrics(*tied_rows())
    first, *others = describe_metrics(metrics, weight)
    assert first == f"weights      metrics count each row by its weight (sum {text})"
    assert others == describe_metrics(metrics)
