# SPDX-License-Identifier: Apache-2.0
"""Fits of planted miscalibrations, compared with what was planted and with the equations of maximum likelihood."""

import re

import numpy as np
import pytest

from src.common.errors import UserError
from src.evaluation.fit_recalibration import MOST_KNOTS, fit_isotonic, fit_platt, fit_recalibration
from src.evaluation.metrics import calibration_error, log_loss, roc_auc
from src.evaluation.recalibration import Method, logit


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def planted(seed, true_logit, rows=20_000):
    """Return labels, and probabilities of a network that is off: the logit of the click is true_logit(its own)."""
    random = np.random.default_rng(seed)
    probabilities = sigmoid(random.normal(-1.3, 1.6, rows)).astype(np.float32)
    labels = (random.random(rows) < sigmoid(true_logit(logit(probabilities)))).astype(np.float32)
    return labels, probabilities


def line(logits):
    return 1.4 * logits + 0.5


def bend(logits):
    """A shape that no line comes close to."""
    return np.where(logits < -1, 0.3, 2.5) * (logits + 1) - 2


def test_platt_recovers_a_planted_line():
    labels, probabilities = planted(1, line)
    fitted = fit_platt(labels, probabilities)
    low, middle, high = fitted.map_logits(np.array([-1.0, 0.0, 1.0]))
    # The standard errors of intercept and slope on these rows are about 0.025.
    assert middle == pytest.approx(0.5, abs=0.08)
    assert (high - low) / 2 == pytest.approx(1.4, abs=0.08)


def test_platt_solves_the_equations_of_maximum_likelihood():
    labels, probabilities = planted(2, line)
    residuals = labels - sigmoid(fit_platt(labels, probabilities).map_logits(logit(probabilities)))
    assert abs(residuals.mean()) < 1e-7
    assert abs((residuals * logit(probabilities)).mean()) < 1e-7


def test_isotonic_blocks_worked_out_by_hand():
    # 200 rows at each of four predictions, with 20, 80, 60 and 160 clicks.  The rates .4 and .3 violate the order and
    # become one block of rate 140/400 = .35, at the mean of their two logits.
    predictions = np.array([0.1, 0.3, 0.5, 0.8], np.float32)
    labels = np.concatenate([np.arange(200) < clicks for clicks in (20, 80, 60, 160)]).astype(np.float32)
    fitted = fit_isotonic(labels, np.repeat(predictions, 200))
    first, second, third, last = logit(predictions)
    np.testing.assert_allclose(fitted.logits, [first, (second + third) / 2, last], atol=1e-12)
    np.testing.assert_allclose(fitted.targets, np.log([0.1 / 0.9, 0.35 / 0.65, 0.8 / 0.2]), atol=1e-12)


def test_blocks_without_clicks_or_of_clicks_alone_are_joined_to_their_neighbours():
    # 100 rows at each of five predictions, with 0, 30, 50, 70 and 100 clicks: the outer blocks get finite targets.
    labels = np.concatenate([np.arange(100) < clicks for clicks in (0, 30, 50, 70, 100)]).astype(np.float32)
    predictions = np.array([0.1, 0.3, 0.5, 0.7, 0.9], np.float32)
    fitted = fit_isotonic(labels, np.repeat(predictions, 100))
    logits = logit(predictions)
    np.testing.assert_allclose(fitted.logits, [logits[:2].mean(), logits[2], logits[3:].mean()], atol=1e-12)
    np.testing.assert_allclose(fitted.targets, np.log([30 / 170, 1, 170 / 30]), atol=1e-12)


def test_isotonic_follows_a_planted_shape_with_few_knots():
    labels, probabilities = planted(3, bend, rows=200_000)
    fitted = fit_isotonic(labels, probabilities)
    assert 10 < len(fitted.logits) <= MOST_KNOTS
    expected, actual = (sigmoid(curve(logit(probabilities))) for curve in (bend, fitted.map_logits))
    assert np.abs(actual - expected).mean() < 0.01


@pytest.mark.parametrize(("shape", "method"), [(line, Method.PLATT), (bend, Method.ISOTONIC)])
def test_the_method_that_suits_the_shape_is_chosen_and_helps_on_other_rows(shape, method):
    fit = fit_recalibration(*planted(4, shape))
    assert fit.recalibration.method is method
    assert fit.rows == 20_000
    assert fit.losses[method] == min(fit.losses.values())
    assert fit.losses.keys() == {"none", "platt", "isotonic"}
    labels, probabilities = planted(5, shape)
    recalibrated = fit.recalibration.apply(probabilities)
    assert log_loss(labels, recalibrated) < log_loss(labels, probabilities) - 0.003
    assert calibration_error(labels, recalibrated) < 0.02 < calibration_error(labels, probabilities)


@pytest.mark.parametrize("shape", [line, bend])
@pytest.mark.parametrize("fitter", [fit_platt, fit_isotonic])
def test_the_auc_stays(shape, fitter):
    labels, probabilities = planted(6, shape)
    fitted = fitter(labels, probabilities)
    expected = roc_auc(labels, probabilities)
    assert roc_auc(labels, fitted.map_logits(logit(probabilities))) == pytest.approx(expected, abs=1e-12)
    # Rounding to float32 makes a few ties, most of them near 1, where its numbers are 6e-8 apart.
    assert roc_auc(labels, fitted.apply(probabilities)) == pytest.approx(expected, abs=1e-7)


def test_calibrated_probabilities_stay_as_they_are():
    # Each fitted map adds its own noise, here more error than it removes; the seed is one of the many where both do.
    fit = fit_recalibration(*planted(8, lambda logits: logits))
    assert fit.losses["none"] == min(fit.losses.values())
    assert fit.recalibration is None


def test_the_fit_does_not_depend_on_the_order_of_the_rows():
    labels, probabilities = planted(7, line, rows=3000)
    probabilities = np.round(probabilities, 2)  # many ties
    expected = fit_recalibration(labels, probabilities)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(3000)
        assert fit_recalibration(labels[order], probabilities[order]) == expected


def test_one_prediction_for_all_rows_of_a_class_has_no_isotonic_map_but_a_line():
    # Two predictions with 40 rows each; a fold is left with too few clicks for two knots of ten.
    labels = np.concatenate([np.arange(40) < clicks for clicks in (8, 24)]).astype(np.float32)
    fit = fit_recalibration(labels, np.repeat(np.array([0.05, 0.9], np.float32), 40))
    assert fit.recalibration.method is Method.PLATT
    assert fit.losses["isotonic"] == float("inf")


@pytest.mark.parametrize(
    ("clicks", "others", "message"),
    [
        (29, 500, "the validation split has 529 rows with 29 clicks; --fit_calibration=True needs at least 30 clicks"),
        (500, 0, "the validation split has 500 rows with 500 clicks; --fit_calibration=True needs at least 30 clicks"),
        (0, 0, "the validation split has 0 rows with 0 clicks; --fit_calibration=True needs at least 30 clicks"),
    ],
)
def test_too_few_rows_of_a_class_are_refused(clicks, others, message):
    labels = np.repeat(np.array([1, 0], np.float32), [clicks, others])
    with pytest.raises(UserError, match=f"^{re.escape(message)}"):
        fit_recalibration(labels, np.linspace(0.1, 0.9, len(labels), dtype=np.float32))


@pytest.mark.parametrize(
    ("probabilities", "auc"),
    [(np.full(80, 0.3), "0.5000"), (np.arange(80) / 80, "0.0000"), (1 - np.arange(80) / 80, "1.0000")],
)
def test_predictions_that_do_not_rank_the_rows_or_rank_them_perfectly_are_refused(probabilities, auc):
    labels = np.repeat(np.array([1, 0], np.float32), 40)
    with pytest.raises(UserError, match=f"has an AUC of {auc}; --fit_calibration=True needs one between 0.5 and 1"):
        fit_recalibration(labels, probabilities.astype(np.float32))


def weights_for(labels, seed=1):
    return np.random.default_rng(seed).exponential(size=len(labels)).astype(np.float32)


def test_weights_of_1_give_the_fit_without_weights():
    rows = planted(4, bend)
    fit, expected = fit_recalibration(*rows, np.ones(20_000, np.float32)), fit_recalibration(*rows)
    assert fit.losses == pytest.approx(expected.losses, abs=1e-9)
    np.testing.assert_allclose(fit.recalibration.targets, expected.recalibration.targets, atol=1e-9)


def test_weighted_platt_solves_the_equations_of_maximum_likelihood():
    labels, probabilities = planted(2, line)
    weights = weights_for(labels)
    residuals = weights * (labels - sigmoid(fit_platt(labels, probabilities, weights).map_logits(logit(probabilities))))
    assert abs(residuals.mean()) < 1e-7
    assert abs((residuals * logit(probabilities)).mean()) < 1e-7


def test_weighted_isotonic_blocks_worked_out_by_hand():
    # 200 rows at each of four predictions, with 20, 80, 60 and 160 clicks; clicks weigh 2, and all rows of the third
    # prediction three times that.  Rates 40/220, 160/280, 360/780, 320/360: the middle two violate the order and become
    # 520/1060, at the mean of their logits by weight.
    predictions = np.array([0.1, 0.3, 0.5, 0.8], np.float32)
    labels = np.concatenate([np.arange(200) < clicks for clicks in (20, 80, 60, 160)]).astype(np.float32)
    weights = np.where(labels == 1, 2, 1) * np.repeat([1, 1, 3, 1], 200).astype(np.float32)
    fitted = fit_isotonic(labels, np.repeat(predictions, 200), weights)
    first, second, third, last = logit(predictions)
    center = (280 * second + 780 * third) / 1060
    np.testing.assert_allclose(fitted.logits, [first, center, last], atol=1e-12)
    np.testing.assert_allclose(fitted.targets, np.log([40 / 180, 520 / 540, 320 / 40]), atol=1e-12)


def test_weights_bring_the_calibration_of_weighted_rows():
    # Clicks are sampled twice as often as they occur; weights make up for it.
    labels, probabilities = planted(5, lambda logits: logits)
    weights = np.where(labels == 1, 0.5, 1).astype(np.float32)
    fit = fit_recalibration(labels, probabilities, weights)
    recalibrated = fit.recalibration.apply(probabilities)
    assert calibration_error(labels, recalibrated, weights) < 0.02 < calibration_error(labels, probabilities, weights)
    assert fit.losses[fit.recalibration.method] < fit.losses["none"]
    assert fit.losses["none"] == pytest.approx(log_loss(labels, probabilities, weights))


def test_rows_of_weight_0_do_not_count_in_a_fit():
    labels, probabilities = planted(7, line, rows=3000)
    weights = weights_for(labels)
    weights[::4] = 0
    kept = weights > 0
    assert fit_recalibration(labels, probabilities, weights) == fit_recalibration(
        labels[kept], probabilities[kept], weights[kept]
    )


def test_few_clicks_are_few_however_heavy_they_are():
    labels = np.repeat(np.array([1, 0], np.float32), [29, 500])
    weights = np.where(labels == 1, 100, 1).astype(np.float32)
    with pytest.raises(UserError, match="529 rows with 29 clicks; --fit_calibration=True needs at least 30 clicks"):
        fit_recalibration(labels, np.linspace(0.1, 0.9, 529, dtype=np.float32), weights)
