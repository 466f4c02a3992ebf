# SPDX-License-Identifier: Apache-2.0
"""Scores of predicted click probabilities, over all rows at once."""

import numpy as np
from sklearn.metrics import roc_auc_score

PADDING_LABEL = -1.0
PROBABILITY_FLOOR = 1e-7  # a probability of 0 or 1 in float32 stands for one within this of it


def drop_padding(labels, probabilities):
    """Return labels and probabilities, both [n], without the rows whose label is PADDING_LABEL."""
    labels, probabilities = np.ravel(labels), np.ravel(probabilities)
    if labels.shape != probabilities.shape:
        raise ValueError(f"{labels.size} labels but {probabilities.size} probabilities")
    real = labels != PADDING_LABEL
    return labels[real], probabilities[real]


def roc_auc(labels, scores):
    """Return the area under the ROC curve, ties counted half; NaN if only one class is there.

    labels: [n] of 0 or 1.  scores: [n], any monotone score; logits and probabilities give the same value.
    """
    if labels.size == 0 or labels.min() == labels.max():
        return float("nan")
    return float(roc_auc_score(labels, scores))


def log_loss(labels, probabilities):
    """Return the mean of -log(probability of what happened), in nats.

    labels: [n] of 0 or 1.  probabilities: [n] in [0, 1], clipped to PROBABILITY_FLOOR from either end.
    """
    clipped = np.clip(probabilities.astype(np.float64), PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return float(-np.mean(np.where(labels == 1, np.log(clipped), np.log1p(-clipped))))
