# SPDX-License-Identifier: Apache-2.0
import itertools
import math

import numpy as np
import pytest

from src.evaluation.metrics import log_loss, roc_auc
from src.evaluation.paired_metrics import auc_drop, log_loss_rise

BOTH = pytest.mark.parametrize("difference", [auc_drop, log_loss_rise])


def draw(row_count, seed, levels=20):
    """Return labels, good predictions and worse ones, float32 [n], with ties."""
    random = np.random.default_rng(seed)
    labels = (random.random(row_count) < 0.4).astype(np.float32)
    scores = labels + random.normal(0, 1, row_count)
    worse = scores + random.normal(0, 1, row_count)
    return labels, *(
        ((np.round(each * 4) + 25) / (levels + 35)).clip(0.02, 0.98).astype(np.float32) for each in (scores, worse)
    )


def auc_by_pairs(labels, scores, weights):
    """Return the AUC, pair by pair."""
    won = total = 0.0
    for one, other in itertools.product(range(len(labels)), repeat=2):
        if labels[one] == 1 and labels[other] == 0:
            pair = float(weights[one]) * float(weights[other])
            total += pair
            won += pair * (float(scores[one] > scores[other]) + float(scores[one] == scores[other]) / 2)
    return won / total


def test_the_drop_of_the_auc_is_that_of_all_pairs():
    labels, better, worse = draw(40, seed=1)
    weights = np.random.default_rng(2).integers(0, 4, 40).astype(np.float32)
    for each in (None, weights):
        counted = np.ones(40) if each is None else each
        expected = auc_by_pairs(labels, better, counted) - auc_by_pairs(labels, worse, counted)
        assert auc_drop(labels, better, worse, each).value == pytest.approx(expected, abs=1e-12)


def test_the_rise_of_the_log_loss_is_the_difference_of_two():
    labels, better, worse = draw(40, seed=1)
    found = log_loss_rise(labels, better, worse)
    assert found.value == pytest.approx(log_loss(labels, worse) - log_loss(labels, better))
    # One row by hand: -log(0.25) + log(0.5) = log(2); with two rows that rise by log(2) and 0 the variance of the mean
    # is log(2)^2 / 4.
    labels, better, worse = (np.array(column, np.float32) for column in ([1, 0], [0.5, 0.5], [0.25, 0.5]))
    found = log_loss_rise(labels, better, worse)
    assert (found.value, found.high - found.value) == pytest.approx((math.log(2) / 2, 1.959964 * math.log(2) / 2))


@BOTH
def test_the_interval_is_that_of_a_paired_bootstrap(difference):
    labels, _, worse = rows = draw(1500, seed=3)
    found = difference(*rows)
    random = np.random.default_rng(4)
    values = [
        difference(*(column[resampled] for column in rows)).value for resampled in random.integers(0, 1500, (600, 1500))
    ]
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(values), rel=0.1)  # its own error is 3 %
    unpaired = [roc_auc(labels[resampled], worse[resampled]) for resampled in random.integers(0, 1500, (300, 1500))]
    if difference is auc_drop:
        assert np.std(values) < 0.9 * math.sqrt(2) * np.std(unpaired)  # it is worth it that they are paired


@BOTH
def test_equal_predictions_differ_by_exactly_nothing(difference):
    labels, better, _ = draw(100, seed=5)
    for weights in (None, np.random.default_rng(6).random(100, np.float32)):
        found = difference(labels, better, better, weights)
        assert (found.value, found.low, found.high) == (0, 0, 0)


@BOTH
def test_weighted_rows_are_repeated_rows(difference):
    rows = draw(200, seed=7)
    repeats = np.random.default_rng(8).integers(0, 4, 200)
    found = difference(*rows, repeats.astype(np.float32))
    expected = difference(*(np.repeat(column, repeats) for column in rows))
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert found.high - found.low > expected.high - expected.low  # a row of weight 3 says less than three rows
    equal = difference(*rows, np.full(200, 2.5, np.float32))
    plain = difference(*rows)
    assert (equal.value, equal.low, equal.high) == pytest.approx((plain.value, plain.low, plain.high))


def test_with_one_class_there_is_no_auc():
    ones, probabilities = np.ones(5, np.float32), np.linspace(0.1, 0.9, 5, dtype=np.float32)
    found = auc_drop(ones, probabilities, probabilities[::-1])
    assert all(map(math.isnan, (found.value, found.low, found.high)))
    assert log_loss_rise(ones, probabilities, probabilities[::-1]).value == pytest.approx(0, abs=1e-7)


def test_a_single_row_tells_nothing_of_others():
    one = np.ones(1, np.float32)
    found = log_loss_rise(one, one * 0.5, one * 0.25)
    assert (found.value, found.low, found.high) == (pytest.approx(math.log(2)), -math.inf, math.inf)
