# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.evaluation.metrics import roc_auc
from src.report.curves import ROC_POINTS, calibration_groups, prediction_histogram, roc_points


@pytest.fixture
def rows():
    """10,000 labels and the probabilities that they were drawn with."""
    random = np.random.default_rng(4)
    probabilities = random.beta(1, 3, 10_000).astype(np.float32)
    return (random.random(10_000) < probabilities).astype(np.float32), probabilities


def test_a_long_roc_curve_is_thinned_and_encloses_the_same_area(rows):
    false_rates, true_rates = roc_points(*rows)
    assert len(false_rates) <= ROC_POINTS + 1
    assert (false_rates[0], true_rates[0], false_rates[-1], true_rates[-1]) == (0, 0, 1, 1)
    assert np.trapz(true_rates, false_rates) == pytest.approx(roc_auc(*rows), abs=2e-4)


def test_a_short_roc_curve_is_whole():
    # Thresholds .9: 1 of 2 clicks; .5: both, and 1 of 2 others; .2: all.
    false_rates, true_rates = roc_points(np.array([1.0, 0, 1, 0]), np.array([0.5, 0.2, 0.9, 0.5]))
    assert list(zip(false_rates, true_rates)) == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]


def test_calibration_groups_are_tenths_of_all_rows(rows):
    labels, probabilities = rows
    groups = calibration_groups(labels, probabilities)
    order = np.argsort(probabilities)
    assert groups["rows"].to_list() == [1000] * 10
    assert groups["clicks"].to_list() == [int(part.sum()) for part in np.split(labels[order], 10)]
    expected = [part.mean(dtype=np.float64) for part in np.split(probabilities[order], 10)]
    np.testing.assert_allclose(groups["mean_prediction"], expected, rtol=1e-9)


def test_the_interval_of_a_group_is_wilsons():
    # 10 rows of one prediction, 4 of them clicks: (0.4 + 0.19207 -+ 1.95996 sqrt(0.024 + 0.0096036)) / 1.38415.
    groups = calibration_groups(np.repeat([1.0, 0.0], [4, 6]), np.full(10, 0.3))
    assert groups.height == 1
    assert groups.row(0, named=True) == pytest.approx(
        {"rows": 10, "clicks": 4, "mean_prediction": 0.3, "click_rate": 0.4, "low": 0.1682, "high": 0.6873}, abs=5e-5
    )


def test_calibration_does_not_depend_on_the_order_of_the_rows(rows):
    labels, probabilities = rows
    order = np.random.default_rng(5).permutation(len(labels))
    assert calibration_groups(labels, probabilities).equals(calibration_groups(labels[order], probabilities[order]))


def test_the_histogram_holds_every_row_once():
    edges, clicks, others = prediction_histogram(np.array([1, 1, 0, 0]), np.array([0.0, 1.0, 0.51, 0.51]))
    assert (edges[0], edges[-1], len(clicks)) == (0, 1, 40)
    assert (clicks[0], clicks[39], others[20]) == (0.5, 0.5, 1.0)  # 0.51 lies in [0.5, 0.525)
    assert (clicks.sum(), others.sum()) == (1, 1)


def test_weights_of_1_give_the_curves_without_weights(rows):
    ones = np.ones(len(rows[0]), np.float32)
    for curve in (roc_points, prediction_histogram):
        for actual, expected in zip(curve(*rows, ones), curve(*rows)):
            np.testing.assert_allclose(actual, expected, atol=1e-12)
    actual, expected = calibration_groups(*rows, ones), calibration_groups(*rows)
    np.testing.assert_allclose(actual.to_numpy(), expected.to_numpy(), atol=1e-12)


def test_rows_of_weight_k_count_as_k_rows_and_of_weight_0_as_none(rows):
    labels, probabilities = rows
    probabilities = np.round(probabilities, 2)
    repeats = np.random.default_rng(6).integers(0, 4, len(labels))
    repeated = np.repeat(labels, repeats), np.repeat(probabilities, repeats)
    for curve in (roc_points, prediction_histogram):
        for actual, expected in zip(curve(labels, probabilities, repeats.astype(np.float32)), curve(*repeated)):
            np.testing.assert_allclose(actual, expected, atol=1e-12)
    actual, expected = calibration_groups(labels, probabilities, repeats), calibration_groups(*repeated)
    assert actual["rows"].sum() == np.count_nonzero(repeats)
    for name in ("mean_prediction", "click_rate"):
        np.testing.assert_allclose(actual[name], expected[name], atol=1e-12)
    assert (actual["high"] - actual["low"] > expected["high"] - expected["low"]).all()  # repeated rows are more rows


def test_deciles_hold_a_tenth_of_the_weight(rows):
    weights = np.random.default_rng(7).exponential(size=len(rows[0])).astype(np.float32)
    groups = calibration_groups(*rows, weights)
    edges = np.cumsum(groups["rows"].to_list())
    sums = np.cumsum(weights[np.argsort(rows[1])], dtype=np.float64)[edges - 1]
    np.testing.assert_allclose(sums / sums[-1], np.arange(1, 11) / 10, atol=1e-3)
