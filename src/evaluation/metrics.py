# SPDX-License-Identifier: Apache-2.0
"""Scores of predicted click probabilities, over all rows at once."""

import math

import numpy as np
from sklearn.metrics import roc_auc_score

from src.dataset_meta import PADDING_LABEL

PROBABILITY_FLOOR = 1e-7  # a probability of 0 or 1 in float32 stands for one within this of it
CALIBRATION_BINS = 15
NORMAL_QUANTILE = 1.959964  # 95 % of a normal distribution lie within so many standard deviations


def drop_padding(labels, *columns):
    """Return labels and other columns, all [n] or [n, 1], as [m], without the rows whose label is PADDING_LABEL."""
    labels, *columns = map(np.ravel, (labels, *columns))
    if any(column.shape != labels.shape for column in columns):
        raise ValueError(f"{labels.size} labels but {' and '.join(str(column.size) for column in columns)} of others")
    real = labels != PADDING_LABEL
    return labels[real], *(column[real] for column in columns)


def score(labels, probabilities):
    """Return all scores by name, the same for any order of the rows.

    labels: [n] of 0 or 1.  probabilities: [n] in [0, 1].
    """
    order = np.lexsort((labels, probabilities))  # a sum depends on the order in its last digits
    labels, probabilities = labels[order], probabilities[order]
    return {
        "AUC": roc_auc(labels, probabilities),
        "AUC_interval": auc_interval(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
        "normalised_entropy": normalised_entropy(labels, probabilities),
        "calibration": calibration(labels, probabilities),
        "calibration_error": calibration_error(labels, probabilities),
        "rows": len(labels),
    }


def roc_auc(labels, scores):
    """Return the area under the ROC curve, ties counted half; NaN if only one class is there.

    labels: [n] of 0 or 1.  scores: [n], any monotone score; logits and probabilities give the same value.
    """
    if _is_one_class(labels):
        return float("nan")
    return float(roc_auc_score(labels, scores))


def auc_interval(labels, scores):
    """Return the ends of the 95 % confidence interval of roc_auc, within [0, 1]; NaNs if only one class is there.

    Source: DeLong, DeLong, Clarke-Pearson, Biometrics 1988, by midranks as in Sun & Xu, IEEE Signal Processing Letters
    2014.
    """
    if _is_one_class(labels):
        return [float("nan")] * 2
    clicked = labels == 1
    clicks, others = auc_components(np.sort(scores[clicked]), np.sort(scores[~clicked]))  # sorted, ten times faster
    variance = sum(part.var(ddof=1) / part.size if part.size > 1 else math.inf for part in (clicks, others))
    margin = NORMAL_QUANTILE * math.sqrt(variance)
    return [float(max(clicks.mean() - margin, 0.0)), float(min(clicks.mean() + margin, 1.0))]


def auc_components(clicks, others):
    """Return for each score in `clicks`, [m], the share of `others`, [n], below it, and for each in others of clicks
    above it; ties count half.  The mean of either is the AUC.
    """
    sorted_clicks, sorted_others = np.sort(clicks), np.sort(others)
    below = _midranks(sorted_others, clicks) / len(others)
    above = 1 - _midranks(sorted_clicks, others) / len(clicks)
    return below, above


def _midranks(sorted_scores, scores):
    """Return how many of sorted_scores are below each score, ties counted half."""
    return (np.searchsorted(sorted_scores, scores, "left") + np.searchsorted(sorted_scores, scores, "right")) / 2


def log_loss(labels, probabilities):
    """Return the mean of -log(probability of what happened), in nats.

    labels: [n] of 0 or 1.  probabilities: [n] in [0, 1], clipped to PROBABILITY_FLOOR from either end.
    """
    clipped = np.clip(probabilities.astype(np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return float(-np.mean(np.where(labels == 1, np.log(clipped), np.log1p(-clipped))))


def normalised_entropy(labels, probabilities):
    """Return the log loss as a share of that of always predicting the rows' own click rate; NaN with one class.

    Source: He et al., "Practical Lessons from Predicting Clicks on Ads at Facebook", ADKDD 2014.
    """
    if _is_one_class(labels):
        return float("nan")
    rate = labels.mean(dtype=np.float64)
    return log_loss(labels, probabilities) / float(-rate * math.log(rate) - (1 - rate) * math.log(1 - rate))


def calibration(labels, probabilities):
    """Return the sum of the predictions over the number of clicks: 1 at best; NaN without clicks."""
    clicks = labels.sum(dtype=np.float64)
    return float(probabilities.sum(dtype=np.float64) / clicks) if clicks else float("nan")


def calibration_error(labels, probabilities):
    """Return the mean distance of click rate and mean prediction over 15 even intervals of the prediction, by rows.

    Source: the expected calibration error of Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
    """
    bins = np.minimum((probabilities * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, labels.astype(np.float64) - probabilities, CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def _is_one_class(labels):
    return labels.size == 0 or labels.min() == labels.max()
