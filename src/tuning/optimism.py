# SPDX-License-Identifier: Apache-2.0
"""How optimistic the scores of a chosen recipe are: its metrics on both halves of the validation set.

The plain difference of a metric between the halves is mostly the chance of which rows are in which half, about 0.01 of
the AUC with some thousand rows.  That chance is the same for all recipes, so the difference of recipes that nobody has
selected by these rows, the first trials, is taken off: what is left is what the selection has gained on its half alone.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from src.evaluation.metrics import auc_components, log_likelihoods, mean, powers, variance_of_mean
from src.tuning.predictions import HELD_OUT, SELECTION, Predictions

# The terms of a metric: columns, one for each independent group of rows, whose weighted means sum to the metric.
Terms = list[tuple[np.ndarray, np.ndarray | None]]


@dataclasses.dataclass(frozen=True)
class Optimism:
    """A metric of the chosen recipe, the mean over its seeds, on the selection half and on the held-out half.

    difference: by how much it is better on the selection half, with its standard error; `optimism` the same, less that
    of the first trials; NaN if there are none.  Better is higher for the AUC, lower for the log loss.
    """

    selection: float
    held_out: float
    difference: float
    difference_error: float
    optimism: float
    optimism_error: float


def auc_optimism(chosen: Sequence[Predictions], first: Sequence[Predictions]) -> Optimism:
    """Return the Optimism of the AUC.  chosen: of the recipe, one for each seed.  first: of the first trials."""
    return _optimism(_auc_terms, 0.5, 1.0, chosen, first)


def log_loss_optimism(chosen: Sequence[Predictions], first: Sequence[Predictions]) -> Optimism:
    """Return the Optimism of the log loss; for the arguments see auc_optimism."""
    return _optimism(_log_loss_terms, 1.0, -1.0, chosen, first)


def _optimism(
    terms_of: Callable[[Predictions], Terms],
    scale: float,
    sign: float,
    chosen: Sequence[Predictions],
    first: Sequence[Predictions],
) -> Optimism:
    halves = (SELECTION, HELD_OUT)
    own = [_mean_terms([terms_of(each.half(half)) for each in chosen]) for half in halves]
    selection, held_out = (scale * _value(terms) for terms in own)
    error = math.sqrt(sum(map(_variance, own)))
    difference = sign * (selection - held_out)
    if not first:
        return Optimism(selection, held_out, difference, error, math.nan, math.nan)
    others = [_mean_terms([terms_of(each.half(half)) for each in first]) for half in halves]
    less = [_difference(*pair) for pair in zip(own, others)]
    optimism = sign * scale * (_value(less[0]) - _value(less[1]))
    return Optimism(selection, held_out, difference, error, optimism, math.sqrt(sum(map(_variance, less))))


def _auc_terms(rows):
    """Return DeLong's components, of clicks and of other rows; the mean of either is the AUC."""
    is_click = rows.labels == 1
    weights = (None, None) if rows.weights is None else (rows.weights[is_click], rows.weights[~is_click])
    components = auc_components(rows.probabilities[is_click], rows.probabilities[~is_click], *weights)
    return list(zip(components, weights))


def _log_loss_terms(rows):
    return [(-log_likelihoods(rows.labels, rows.probabilities), rows.weights)]


def _mean_terms(several):
    """Return the terms of the mean of a metric over several predictions for the same rows."""
    return [(np.mean([values for values, _ in column], axis=0), column[0][1]) for column in zip(*several)]


def _difference(terms, others):
    return [(values - other, weights) for (values, weights), (other, _) in zip(terms, others)]


def _value(terms):
    return math.fsum(mean(values, weights) for values, weights in terms)


def _variance(terms):
    """Return the variance of a metric by chance of the rows."""
    return math.fsum(
        variance_of_mean(values, powers(np.ones(len(values)) if weights is None else weights))
        for values, weights in terms
    )
