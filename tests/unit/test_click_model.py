# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from src import click_model
from src.click_model import INTEGER_COLUMNS, ClickModel
from tests import oracles


def test_clicks_follow_the_probabilities():
    rows = np.arange(40_000, dtype=np.uint64)
    frame, probabilities = ClickModel(3).sample(rows)
    labels = frame["label"].to_numpy()
    for low, high in ((0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)):
        inside = (probabilities >= low) & (probabilities < high)
        expected = probabilities[inside].mean()
        assert abs(labels[inside].mean() - expected) < 4 * math.sqrt(expected * (1 - expected) / inside.sum())


def test_the_logits_are_those_of_a_factorization_machine():
    # One row, by the formula: weights and pairs of vectors of what the row holds.
    model = ClickModel(3)
    rows = np.arange(50, dtype=np.uint64)
    integers, popularities = model.draw_integers(rows), model.draw_popularities(rows)
    logits = model.logits_without_bias(integers, popularities)
    for row in range(50):
        standard = [
            click_model.standardise(column, values[row : row + 1])[0]
            for column, values in zip(INTEGER_COLUMNS, integers)
        ]
        known = [0 <= popularity[row] < click_model.SIGNAL_VALUES for popularity in popularities]
        expected = sum(weight * value for weight, value in zip(model.integer_weights, standard))
        expected += sum(model.category_weights[field][popularities[field][row]] for field in range(26) if known[field])
        vectors = [
            standard[column] * vector for column, vector in zip(click_model.LATENT_INTEGERS, model.integer_vectors)
        ]
        vectors += [
            table[popularities[field][row]]
            for field, table in zip(click_model.LATENT_CATEGORIES, model.category_vectors)
            if known[field]
        ]
        assert logits[row] == pytest.approx(expected + oracles.second_order(vectors))
