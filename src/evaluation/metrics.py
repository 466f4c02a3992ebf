# SPDX-License-Identifier: Apache-2.0
"""Metrics of predicted click probabilities, over all rows at once."""

import math
from collections.abc import Mapping
from typing import TypedDict

import numpy as np

PROBABILITY_FLOOR = 1e-7  # a float32 probability of 0 or 1 stands for any that is as close to it as this
CALIBRATION_BINS = 15
NORMAL_QUANTILE = 1.959964  # standard deviations on either side of the mean that hold 95 % of a normal distribution


class Metrics(TypedDict):
    """The metrics of predictions, each as the function of its name gives it."""

    auc: float
    auc_interval: list[float]
    log_loss: float
    normalised_entropy: float
    calibration: float
    calibration_error: float


def describe_metrics(metrics: Metrics) -> list[str]:
    """Return the lines that a command prints on the metrics of its predictions."""
    low, high = metrics["auc_interval"]
    return [
        f"AUC          {metrics['auc']:.4f}  (95 %: {low:.4f} to {high:.4f})",
        f"log loss     {metrics['log_loss']:.4f}  (normalised entropy {metrics['normalised_entropy']:.4f})",
        f"calibration  {metrics['calibration']:.4f}  (expected calibration error {metrics['calibration_error']:.4f})",
    ]


def metrics_for_json(metrics: Mapping[str, object] | None) -> dict[str, object] | None:
    """Return metrics with None for NaN, which JSON does not have."""
    return None if metrics is None else {name: _without_nan(value) for name, value in metrics.items()}


def _without_nan(value):
    if isinstance(value, list):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def compute_metrics(labels: np.ndarray, probabilities: np.ndarray) -> Metrics:
    """Return all metrics by name; they do not depend on the order of the rows.

    labels: [n] of 0 or 1.  probabilities: [n] in [0, 1].
    """
    order = np.lexsort((labels, probabilities))  # the last digits of a sum depend on the order
    labels, probabilities = labels[order], probabilities[order]
    return {
        "auc": roc_auc(labels, probabilities),
        "auc_interval": auc_interval(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
        "normalised_entropy": normalised_entropy(labels, probabilities),
        "calibration": calibration(labels, probabilities),
        "calibration_error": calibration_error(labels, probabilities),
    }


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, ties counted half; NaN if there is only one class.

    labels: [n] of 0 or 1.  scores: [n], any monotone score; logits and probabilities give the same value.
    """
    if _is_one_class(labels):
        return float("nan")
    from sklearn.metrics import roc_auc_score  # here, as importing it takes more than a second

    return float(roc_auc_score(labels, scores))


def auc_interval(labels: np.ndarray, scores: np.ndarray) -> list[float]:
    """Return the ends of the 95 % confidence interval of roc_auc, within [0, 1]; NaNs if there is only one class.

    Source: DeLong, DeLong, Clarke-Pearson, Biometrics 1988, by midranks as in Sun & Xu, IEEE Signal Processing Letters
    2014.
    """
    if _is_one_class(labels):
        return [float("nan")] * 2
    clicked = labels == 1
    clicks, others = auc_components(np.sort(scores[clicked]), np.sort(scores[~clicked]))  # sorted, ten times faster
    variance = sum(part.var(ddof=1) / part.size if part.size > 1 else math.inf for part in (clicks, others))
    return interval_around(clicks.mean(), variance)


def interval_around(auc: float, variance: float) -> list[float]:
    """Return the ends of the 95 % confidence interval of an AUC whose estimate has this variance, within [0, 1]."""
    margin = NORMAL_QUANTILE * math.sqrt(variance)
    return [float(max(auc - margin, 0.0)), float(min(auc + margin, 1.0))]


def auc_components(clicks: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each score of a click, [m], the fraction of others below it, and for each other, [n], of clicks above.

    Ties count half.  The mean of either is the AUC.
    """
    sorted_clicks, sorted_others = np.sort(clicks), np.sort(others)
    below = _midranks(sorted_others, clicks) / len(others)
    above = 1 - _midranks(sorted_clicks, others) / len(clicks)
    return below, above


def _midranks(sorted_scores, scores):
    """Return the number of sorted_scores below each score, ties counted half."""
    return (np.searchsorted(sorted_scores, scores, "left") + np.searchsorted(sorted_scores, scores, "right")) / 2


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean of -log(probability of the label), in nats.

    labels: [n] of 0 or 1.  probabilities: [n] in [0, 1], clipped to PROBABILITY_FLOOR from either end.
    """
    return float(-np.mean(log_likelihoods(labels, probabilities)))


def log_likelihoods(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return log(probability of the label) of each row, float64 [n]; for the arguments see log_loss."""
    clipped = np.clip(probabilities.astype(np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return np.where(labels == 1, np.log(clipped), np.log1p(-clipped))


def normalised_entropy(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the log loss over that of always predicting the rows' own click rate; NaN with one class.

    Source: He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014.
    """
    if _is_one_class(labels):
        return float("nan")
    return log_loss(labels, probabilities) / click_entropy(labels.mean(dtype=np.float64))


def click_entropy(click_rate: float) -> float:
    """Return the log loss of always predicting the click rate of the rows, in nats.  click_rate: within (0, 1)."""
    return float(-click_rate * math.log(click_rate) - (1 - click_rate) * math.log(1 - click_rate))


def calibration(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the sum of the predictions over the number of clicks, 1 at best; NaN without clicks."""
    clicks = labels.sum(dtype=np.float64)
    return float(probabilities.sum(dtype=np.float64) / clicks) if clicks else float("nan")


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean distance between click rate and mean prediction in 15 equal bins of the prediction, by rows.

    Source: the expected calibration error of Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    return float(np.abs(calibration_gaps(labels, probabilities)).sum() / len(labels))


def calibration_gaps(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return for each bin of calibration_error its clicks less the sum of its predictions, float64 [15]."""
    return np.bincount(calibration_bins(probabilities), labels.astype(np.float64) - probabilities, CALIBRATION_BINS)


def calibration_bins(probabilities: np.ndarray) -> np.ndarray:
    """Return the bin of calibration_error, from 0, of each probability, int64 [n]."""
    return np.minimum((probabilities * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def chance_calibration_error(probabilities: np.ndarray) -> float:
    """Return the calibration_error to expect on so many rows if every probability were exact.

    The clicks of a bin differ from the sum of its predictions by a nearly normal variable, whose mean distance from 0
    is sqrt(2 / pi) standard deviations.
    """
    exact = probabilities.astype(np.float64)
    variances = np.bincount(calibration_bins(probabilities), exact * (1 - exact), CALIBRATION_BINS)
    return float(np.sqrt(2 / math.pi * variances).sum() / len(probabilities))


def _is_one_class(labels):
    return labels.size == 0 or labels.min() == labels.max()
