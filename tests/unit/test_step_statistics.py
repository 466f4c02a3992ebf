# SPDX-License-Identifier: Apache-2.0
"""The statistics of values in a training step."""

import numpy as np
import pytest
from mindspore import Tensor

from src.training.train_step import LossNetwork, build_train_step
from src.training.value_statistics import ValueStatistics
from tests import oracles
from tests.networks import make_network, weights_of
from tests.pooled_tables import PooledTables

pytestmark = pytest.mark.usefixtures("seeded")
LABELS = np.array([1, 0, 0, 1, -1, 0, 1, -1], np.float32).reshape(8, 1)


@pytest.mark.parametrize("list_lengths", [(), (3, 2)])
def test_training_has_the_statistics_of_other_folds_and_prediction_those_of_all_rows(list_lengths):
    network, inputs = make_network(3, 4, (6, 5), list_lengths=list_lengths, has_statistics=True)
    random = np.random.default_rng(3)
    of_others, of_all = (random.normal(size=(*folds, 20, 2)).astype(np.float32) for folds in ((5,), ()))
    folds = random.integers(0, 5, (8, 1)).astype(np.int32)
    loss_network = LossNetwork(network, 0.01, statistics=ValueStatistics(of_others, of_all)).set_train(False)
    weights, arrays = weights_of(network), [column.asnumpy() for column in inputs]
    np.testing.assert_array_equal(weights["statistics"], of_all)
    loss = loss_network(*inputs, Tensor(LABELS), Tensor(folds)).asnumpy().item()
    expected = []
    for row, fold in enumerate(folds.ravel()):
        own = {**weights, "statistics": of_others[fold].astype(np.float64)}
        tables = PooledTables(own, arrays[0][[row]], list_lengths)
        expected.append(oracles.deepfm_logit(tables.weights, tables.ids[0], arrays[1][row], 2))
    labels, logits = LABELS.ravel(), np.array(expected)
    losses = np.logaddexp(0, np.where(labels == 1, -logits, logits))[labels != -1]
    names = ("linear", "embedding", "dense_linear", "dense_embedding")
    assert loss == pytest.approx(losses.mean() + 0.005 * sum((weights[name] ** 2).sum() for name in names), rel=1e-5)
    predicted = [
        oracles.deepfm_logit(tables.weights, tables.ids[0], arrays[1][row], 2)
        for row, tables in enumerate(PooledTables(weights, arrays[0][[row]], list_lengths) for row in range(8))
    ]
    np.testing.assert_allclose(network.set_train(False)(*inputs).asnumpy().ravel(), predicted, rtol=1e-4, atol=1e-4)


def test_the_statistics_are_neither_trained_nor_averaged():
    network, inputs = make_network(3, 4, (6, 5), has_statistics=True)
    of_others, of_all = np.ones((5, 20, 2), np.float32), np.full((20, 2), 2, np.float32)
    statistics = ValueStatistics(of_others, of_all)
    train_step = build_train_step(network, 0.1, 1e-8, 0.01, ema_decay=0.9, statistics=statistics)
    before = network.statistic_weight.asnumpy().copy()
    train_step(*inputs, Tensor(LABELS), Tensor(np.zeros((8, 1), np.int32)))
    for each in (network, train_step.ema_network):
        np.testing.assert_array_equal(each.statistics.asnumpy(), of_all)
    assert np.abs(network.statistic_weight.asnumpy() - before).min() > 0.01
    assert np.abs(train_step.ema_network.statistic_weight.asnumpy() - before).min() > 0
