# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import sklearn.metrics

from src.evaluation.metrics import auc_interval
from src.tuning.optimism import auc_optimism, log_loss_optimism
from src.tuning.predictions import HELD_OUT, SELECTION, Predictions

ROWS = 2000
METRICS = [
    (auc_optimism, sklearn.metrics.roc_auc_score, 1),
    (log_loss_optimism, sklearn.metrics.log_loss, -1),
]


def draw(seed, noise=0.5, weights=None):
    """Return labels and a function that draws predictions for them: the true logits with noise."""
    dice = np.random.default_rng(seed)
    logits = dice.normal(-1, 1, ROWS)
    labels = (dice.random(ROWS) < 1 / (1 + np.exp(-logits))).astype(np.float32)

    def predictions():
        noisy = logits + noise * dice.normal(0, 1, ROWS)
        return Predictions(labels, (1 / (1 + np.exp(-noisy))).astype(np.float32), weights)

    return predictions


@pytest.mark.parametrize(("optimism_of", "metric", "sign"), METRICS)
def test_the_metrics_of_both_halves_are_those_of_scikit_learn_meaned_over_seeds(optimism_of, metric, sign):
    weights = np.random.default_rng(5).choice([0.5, 1, 3], ROWS).astype(np.float32)
    for each in (None, weights):
        draw_one = draw(1, weights=each)
        chosen, first = [draw_one(), draw_one()], [draw_one(), draw_one(), draw_one()]
        got = optimism_of(chosen, first)
        values = {}
        for name, group in (("chosen", chosen), ("first", first)):
            for start in (0, 1):
                rows = slice(start, None, 2)
                values[name, start] = np.mean([
                    metric(one.labels[rows], one.probabilities[rows],
                           sample_weight=None if each is None else each[rows])
                    for one in group
                ])  # fmt: skip
        assert (got.selection, got.held_out) == pytest.approx((values["chosen", 0], values["chosen", 1]), abs=1e-6)
        differences = {name: sign * (values[name, 0] - values[name, 1]) for name in ("chosen", "first")}
        assert got.difference == pytest.approx(differences["chosen"], abs=1e-6)
        assert got.optimism == pytest.approx(differences["chosen"] - differences["first"], abs=1e-6)


def test_the_error_of_the_plain_difference_is_that_of_both_intervals():
    one = draw(2)()
    got = auc_optimism([one], [])
    widths = [high - low for low, high in (auc_interval(*one.half(half).columns) for half in (SELECTION, HELD_OUT))]
    assert got.difference_error == pytest.approx(np.hypot(*widths) / (2 * 1.959964), rel=1e-6)
    assert np.isnan(got.optimism)


def test_a_recipe_that_is_the_first_trial_is_not_optimistic():
    one = draw(3)()
    got = log_loss_optimism([one], [one])
    assert (got.optimism, got.optimism_error) == (0, 0)


@pytest.mark.parametrize(("optimism_of", "metric", "sign"), METRICS)
def test_unselected_recipes_are_within_the_error_and_selected_ones_are_not(optimism_of, metric, sign):
    """The error is right if optimism over it has variance 1; the best of 40 by the selection half must exceed 0."""
    unselected, selected, plain_errors = [], [], []
    for seed in range(60):
        draw_one = draw(seed)
        first, trials = [draw_one(), draw_one()], [draw_one() for _ in range(40)]
        one = optimism_of(trials[:1], first)
        unselected.append(one.optimism / one.optimism_error)
        best = max(trials, key=lambda each: sign * metric(*each.half(SELECTION).columns[:2]))
        selected.append(optimism_of([best], first).optimism / one.optimism_error)
        plain_errors.append(one.difference_error / one.optimism_error)
    assert abs(np.mean(unselected)) < 3 / np.sqrt(60)
    assert 0.75 < np.std(unselected) < 1.3
    assert np.mean(selected) > 1
    assert np.mean(plain_errors) > 1.5  # that of the plain difference would hide it
