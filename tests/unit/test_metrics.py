# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from src.metrics import drop_padding, log_loss, roc_auc
from tests import oracles


def test_auc_counts_ties_half():
    # Pairs (click, other): (.5, .5) half, (.5, .2) whole, (.5, .7) none, (.9, .5), (.9, .2), (.9, .7) whole: 4.5 of 6.
    labels = np.array([1, 0, 0, 0, 1], np.float32)
    scores = np.array([0.5, 0.5, 0.2, 0.7, 0.9], np.float32)
    assert roc_auc(labels, scores) == pytest.approx(4.5 / 6)


def test_auc_agrees_with_all_pairs():
    random = np.random.default_rng(3)
    labels = random.integers(0, 2, 300).astype(np.float32)
    scores = (random.integers(0, 20, 300) / 20).astype(np.float32)  # many ties
    assert roc_auc(labels, scores) == pytest.approx(oracles.auc(labels, scores), abs=1e-12)


def test_auc_of_one_class_is_not_a_number():
    assert math.isnan(roc_auc(np.ones(3), np.array([0.1, 0.2, 0.3])))
    assert math.isnan(roc_auc(np.array([]), np.array([])))


def test_log_loss_by_hand():
    labels, probabilities = np.array([1, 0, 1], np.float32), np.array([0.8, 0.4, 0.5], np.float32)
    assert log_loss(labels, probabilities) == pytest.approx(
        -(math.log(0.8) + math.log(0.6) + math.log(0.5)) / 3, rel=1e-6
    )


def test_certain_and_wrong_is_finite():
    assert log_loss(np.array([1.0]), np.array([0.0], np.float32)) == pytest.approx(-math.log(1e-7))


def test_padding_does_not_count():
    labels = np.array([[1], [-1], [0], [-1]], np.float32)
    probabilities = np.array([[0.7], [0.1], [0.2], [0.9]], np.float32)
    real_labels, real_probabilities = drop_padding(labels, probabilities)
    assert real_labels.tolist() == [1, 0]
    assert real_probabilities == pytest.approx([0.7, 0.2])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 labels but 2 probabilities"):
        drop_padding(np.zeros(3), np.zeros(2))
