# SPDX-License-Identifier: Apache-2.0
"""How much better one prediction of the same rows is than another one, with intervals that are paired over the rows.

Both predictions share what is easy and what is hard about each row, so their difference is known much better than
either metric.  labels, weights: as in metrics.  better, worse: float32 probabilities [n] of the same rows.
"""

import dataclasses
import math

import numpy as np

from src.evaluation.metrics import (
    NORMAL_QUANTILE,
    auc_components,
    is_one_class,
    log_likelihoods,
    mean,
    variance_of_rows,
)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % confidence interval; infinite ends if there are too few rows to tell."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, variance: float) -> "Estimate":
        """variance: of the estimate."""
        margin = NORMAL_QUANTILE * math.sqrt(variance)
        return cls(value, value - margin, value + margin)


def log_loss_rise(
    labels: np.ndarray, better: np.ndarray, worse: np.ndarray, weights: np.ndarray | None = None
) -> Estimate:
    """Return the log loss of `worse` less that of `better`, in nats per row."""
    rises = log_likelihoods(labels, better) - log_likelihoods(labels, worse)
    return Estimate.of(mean(rises, weights), variance_of_rows(rises, weights))


def auc_drop(labels: np.ndarray, better: np.ndarray, worse: np.ndarray, weights: np.ndarray | None = None) -> Estimate:
    """Return the AUC of `better` less that of `worse`; NaNs if there is only one class.

    Source of the interval: DeLong, DeLong, Clarke-Pearson, Biometrics 1988, for two correlated ROC curves.
    """
    if is_one_class(labels, weights):
        return Estimate(math.nan, math.nan, math.nan)
    classes = [labels == label for label in (1, 0)]
    class_weights = [None if weights is None else weights[each] for each in classes]
    components = [
        auc_components(*(probabilities[each] for each in classes), *class_weights) for probabilities in (better, worse)
    ]
    of_clicks, of_others = (before - after for before, after in zip(*components))
    variance = variance_of_rows(of_clicks, class_weights[0]) + variance_of_rows(of_others, class_weights[1])
    return Estimate.of(mean(of_clicks, class_weights[0]), variance)
