# SPDX-License-Identifier: Apache-2.0
"""Metrics of predicted click probabilities, over all rows at once.

Each row counts as often as its weight says, or once if there are no weights.  A row of weight 0 has no influence.  The
weights of a function are [n], at least 0, or None.
"""

import math
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

PROBABILITY_FLOOR = 1e-7  # a float32 probability of 0 or 1 stands for any that is as close to it as this
CALIBRATION_BINS = 15
NORMAL_QUANTILE = 1.959964  # standard deviations on either side of the mean that hold 95 % of a normal distribution
LEAST_CORRECTION = 1e-12  # of the variance of a weighted mean; below it is rounding, as with a single row


class Metrics(TypedDict):
    """The metrics of predictions, each as the function of its name gives it."""

    auc: float
    auc_interval: list[float]
    log_loss: float
    normalised_entropy: float
    calibration: float
    calibration_error: float


def describe_metrics(metrics: Metrics, weight: float | None = None) -> list[str]:
    """Return the lines that a command prints on the metrics of its predictions; weight: the sum of the weights."""
    low, high = metrics["auc_interval"]
    weighted = (
        [] if weight is None else [f"weights      metrics count each row by its weight (sum {format_weight(weight)})"]
    )
    return [
        *weighted,
        f"AUC          {metrics['auc']:.4f}  (95 %: {low:.4f} to {high:.4f})",
        f"log loss     {metrics['log_loss']:.4f}  (normalised entropy {metrics['normalised_entropy']:.4f})",
        f"calibration  {metrics['calibration']:.4f}  (expected calibration error {metrics['calibration_error']:.4f})",
    ]


def format_weight(weight: float) -> str:
    """Return the text of a sum of weights: without decimals if it is large, with four digits if it is small."""
    return f"{weight:,.0f}" if weight >= 1000 else f"{weight:.4g}"


def metrics_for_json(metrics: Mapping[str, object] | None) -> dict[str, object] | None:
    """Return metrics with None for NaN, which JSON does not have."""
    return None if metrics is None else {name: _without_nan(value) for name, value in metrics.items()}


def _without_nan(value):
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def compute_metrics(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> Metrics:
    """Return all metrics by name; they do not depend on the order of the rows.

    labels: [n] of 0 or 1.  probabilities: [n] in [0, 1].
    """
    rows = sorted_rows(labels, probabilities, weights)  # the last digits of a sum depend on the order
    return {
        "auc": roc_auc(*rows),
        "auc_interval": auc_interval(*rows),
        "log_loss": log_loss(*rows),
        "normalised_entropy": normalised_entropy(*rows),
        "calibration": calibration(*rows),
        "calibration_error": calibration_error(*rows),
    }


def sorted_rows(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return labels, probabilities and weights, all [m], in an order that does not depend on that of the rows.

    Rows of weight 0 are left out.
    """
    if weights is None:
        order = np.lexsort((labels, probabilities))
        return labels[order], probabilities[order], None
    order = np.lexsort((weights, labels, probabilities))
    order = order[weights[order] > 0]
    return labels[order], probabilities[order], weights[order]


def roc_auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the area under the ROC curve, ties counted half; NaN if there is only one class.

    labels: [n] of 0 or 1.  scores: [n], any monotone score; logits and probabilities give the same value.
    With weights a pair of a click and another row counts as the product of their weights says.
    """
    if is_one_class(labels, weights):
        return math.nan
    from sklearn.metrics import roc_auc_score  # here, as importing it takes more than a second

    return float(roc_auc_score(labels, scores, sample_weight=weights))


def auc_interval(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> list[float]:
    """Return the ends of the 95 % confidence interval of roc_auc, within [0, 1]; NaNs if there is only one class.

    Source: DeLong, DeLong, Clarke-Pearson, Biometrics 1988, by midranks as in Sun & Xu, IEEE Signal Processing Letters
    2014.  With weights the components and both means are weighted; for their variance see variance_of_mean.
    """
    if is_one_class(labels, weights):
        return [math.nan] * 2
    order = np.argsort(scores, kind="stable")  # sorted, ten times faster
    is_click = labels[order] == 1
    clicks, others = order[is_click], order[~is_click]
    click_weights, other_weights = (None, None) if weights is None else (weights[clicks], weights[others])
    below, above = auc_components(scores[clicks], scores[others], click_weights, other_weights)
    variance = variance_of_rows(below, click_weights) + variance_of_rows(above, other_weights)
    return interval_around(mean(below, click_weights), variance)


def interval_around(auc: float, variance: float) -> list[float]:
    """Return the ends of the 95 % confidence interval of an AUC whose estimate has this variance, within [0, 1]."""
    margin = NORMAL_QUANTILE * math.sqrt(variance)
    return [float(max(auc - margin, 0.0)), float(min(auc + margin, 1.0))]


def auc_components(
    clicks: np.ndarray,
    others: np.ndarray,
    click_weights: np.ndarray | None = None,
    other_weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return for each score of a click, [m], the fraction of others below it, and for each other, [n], of clicks above.

    Ties count half.  The mean of either is the AUC.
    """
    return _fraction_below(others, other_weights, clicks), 1 - _fraction_below(clicks, click_weights, others)


def _fraction_below(scores, weights, thresholds):
    """Return the fraction of the scores, or of their weights, below each threshold, ties counted half."""
    order = np.argsort(scores, kind="stable")
    until = np.arange(len(scores) + 1) if weights is None else np.append(0, np.cumsum(weights[order], dtype=np.float64))
    left, right = (until[np.searchsorted(scores[order], thresholds, side)] for side in ("left", "right"))
    return (left + right) / 2 / until[-1]


def variance_of_rows(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the variance of the mean of the values of independent rows, [n]; infinite if there is only one."""
    if weights is None:
        return float(values.var(ddof=1) / values.size) if values.size > 1 else math.inf
    return variance_of_mean(values, powers(weights))


def powers(weights: np.ndarray) -> np.ndarray:
    """Return weights, their squares and their cubes, float64 [3, n]."""
    exact = weights.astype(np.float64)
    return np.stack([exact, exact**2, exact**3])


def variance_of_mean(values: np.ndarray, sums: np.ndarray) -> float:
    """Return the variance of the weighted mean of the values of independent rows; infinite if there is only one row.

    values: [n].  sums: [3, n], for each value the sums of powers() over the rows that have it.
    With the fractions a of the sum of all weights, the mean m = sum of a x varies by the sum of a^2 Var(x), so its
    variance is close to the sum of a^2 (x - m)^2: that of a ratio, as in Cochran, "Sampling Techniques", 1977, chapter
    6.  If all x have the same variance, that sum is too small by the factor 1 + A2 - 2 A3 / A2 on average, where Ak is
    the sum of a^k; it is divided by this.  For equal weights that is (n - 1) / n, which gives DeLong's variance; if one
    row has nearly all the weight, it is close to 0.
    """
    total, squares, cubes = sums.sum(axis=1)
    correction = total - (2 * cubes / squares - squares / total)
    if not correction > LEAST_CORRECTION * total:
        return math.inf
    average = values @ sums[0] / total
    return float(sums[1] @ (values - average) ** 2 / correction / total)


def log_loss(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean of -log(probability of the label), in nats.

    labels: [n] of 0 or 1.  probabilities: [n] in [0, 1], clipped to PROBABILITY_FLOOR from either end.
    """
    return -mean(log_likelihoods(labels, probabilities), weights)


def log_likelihoods(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return log(probability of the label) of each row, float64 [n]; for the arguments see log_loss."""
    clipped = np.clip(probabilities.astype(np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return np.where(labels == 1, np.log(clipped), np.log1p(-clipped))


def normalised_entropy(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the log loss over that of always predicting the rows' own click rate; NaN with one class.

    Source: He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014.
    """
    if is_one_class(labels, weights):
        return math.nan
    return log_loss(labels, probabilities, weights) / click_entropy(mean(labels, weights))


def click_entropy(click_rate: float) -> float:
    """Return the log loss of always predicting the click rate of the rows, in nats.  click_rate: within (0, 1)."""
    return float(-click_rate * math.log(click_rate) - (1 - click_rate) * math.log(1 - click_rate))


def calibration(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the sum of the predictions over the number of clicks, 1 at best; NaN without clicks."""
    return ratio(weighted_sum(probabilities, weights), weighted_sum(labels, weights))


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean distance between click rate and mean prediction in 15 equal bins of the prediction, by rows.

    Source: the expected calibration error of Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    return ratio(np.abs(calibration_gaps(labels, probabilities, weights)).sum(), _total(labels, weights))


def calibration_gaps(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Return for each bin of calibration_error its clicks less the sum of its predictions, float64 [15]."""
    gaps = labels.astype(np.float64) - probabilities
    return np.bincount(calibration_bins(probabilities), gaps if weights is None else gaps * weights, CALIBRATION_BINS)


def calibration_bins(probabilities: np.ndarray) -> np.ndarray:
    """Return the bin of calibration_error, from 0, of each probability, int64 [n]."""
    return np.minimum((probabilities * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def chance_calibration_error(probabilities: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the calibration_error to expect on so many rows if every probability were exact.

    The clicks of a bin differ from the sum of its predictions by a nearly normal variable, whose mean distance from 0
    is sqrt(2 / pi) standard deviations.  With weights w its variance is the sum of w^2 p (1 - p).
    """
    exact = probabilities.astype(np.float64)
    of_rows = exact * (1 - exact) if weights is None else exact * (1 - exact) * powers(weights)[1]
    variances = np.bincount(calibration_bins(probabilities), of_rows, CALIBRATION_BINS)
    return ratio(np.sqrt(2 / math.pi * variances).sum(), _total(probabilities, weights))


def mean(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the mean of values, [n]; NaN if there are none, or if the weights sum to 0."""
    return ratio(weighted_sum(values, weights), _total(values, weights))


def weighted_sum(values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Return the sum of values, [n], each times its weight."""
    products = values if weights is None else np.multiply(values, weights, dtype=np.float64)
    return float(products.sum(dtype=np.float64))


def ratio(numerator: float, denominator: float) -> float:
    """Return the quotient, NaN if the denominator is 0."""
    return float(numerator / denominator) if denominator else math.nan


def _total(values, weights):
    """Return the number of values, or the sum of the weights."""
    return len(values) if weights is None else float(weights.sum(dtype=np.float64))


def is_one_class(labels: np.ndarray, weights: np.ndarray | None = None) -> bool:
    """Tell whether the rows that count are all clicks or all others, or there are none."""
    counted = labels if weights is None else labels[weights > 0]
    return bool(counted.size == 0 or counted.min() == counted.max())
