# SPDX-License-Identifier: Apache-2.0
"""Multi-valued fields in DeepFM, against oracles that know no others than fields with one id."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.deepfm import DeepFM, DeepFMPredict
from src.training.train_step import LossNetwork, build_train_step
from tests import oracles
from tests.networks import make_network
from tests.numpy_deepfm import NumpyDeepFM
from tests.pooled_tables import PooledTables

pytestmark = pytest.mark.usefixtures("seeded")
# Dense fields, sparse fields, hidden sizes and the columns of the multi-valued ones among the sparse fields.
SHAPES = [
    (3, 4, (6, 5), (3, 2)),
    (0, 3, (6, 5), (4,)),
    (3, 3, (), (2,)),
    (0, 1, (), (3,)),
    (1, 1, (2,), (7,)),
]
WEIGHT_TABLES = ("linear", "embedding")
LABELS = np.array([1, 0, 0, 1, -1, 0, 1, 0], np.float32).reshape(8, 1)


def network_of(shape, has_statistics=False):
    """Return a network, its weights in float64, and its inputs as arrays."""
    network, inputs = make_network(*shape[:3], list_lengths=shape[3], has_statistics=has_statistics)
    weights = {parameter.name: parameter.asnumpy().astype(np.float64) for parameter in network.get_parameters()}
    return network, weights, [column.asnumpy() for column in inputs]


def dense_of(inputs):
    return inputs[1] if len(inputs) == 2 else np.empty((8, 0), np.float32)


def grad(cell, network, *inputs):
    parameters = network.trainable_params()
    gradient_of = ms.grad(cell.set_train(False), grad_position=None, weights=parameters)
    gradients = gradient_of(*map(Tensor, inputs))
    return {parameter.name: gradient.asnumpy() for parameter, gradient in zip(parameters, gradients)}


@pytest.mark.parametrize("has_statistics", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_logits_are_those_of_the_means(shape, has_statistics):
    network, weights, inputs = network_of(shape, has_statistics)
    assert (inputs[0] == -1).any() and inputs[0].shape == (8, network.config.id_count)
    tables = PooledTables(weights, inputs[0], shape[3])
    rows = zip(tables.ids, dense_of(inputs))
    expected = [oracles.deepfm_logit(tables.weights, *row, len(shape[2])) for row in rows]
    found = network.set_train(False)(*map(Tensor, inputs)).asnumpy()
    assert found.shape == (8, 1)
    np.testing.assert_allclose(found.ravel(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("has_statistics", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_folded_network_predicts_the_same(shape, has_statistics):
    network, _, inputs = network_of(shape, has_statistics)
    expected = DeepFMPredict(network)(*map(Tensor, inputs)).asnumpy()
    network.fold()
    found = DeepFMPredict(network)(*map(Tensor, inputs)).asnumpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_every_gradient_is_that_of_the_means():
    network, weights, inputs = network_of(SHAPES[0])
    tables = PooledTables(weights, inputs[0], SHAPES[0][3])
    oracle = NumpyDeepFM(tables.weights, len(SHAPES[0][2]))
    loss, expected = oracle.loss_and_gradients(tables.ids, inputs[1].astype(np.float64), LABELS.ravel())
    loss_network = LossNetwork(network, 0.0)
    assert loss_network(*map(Tensor, (*inputs, LABELS))).asnumpy().item() == pytest.approx(loss, rel=1e-5)
    found = grad(loss_network, network, *inputs, LABELS)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        wanted = tables.gradient_of(name, expected[name]) if name in WEIGHT_TABLES else expected[name]
        np.testing.assert_allclose(gradient, wanted, rtol=1e-3, atol=1e-5, err_msg=name)
        assert np.abs(gradient).max() > 0, name


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_a_step_of_training_leaves_the_rows_alone_that_no_value_has(shape):
    network, weights, inputs = network_of(shape)
    used = sorted({*inputs[0].ravel().tolist()} - {-1})
    others = [id_ for id_ in range(20) if id_ not in used]
    assert 0 in others  # the row that is looked up where there is no value
    step = build_train_step(network, 0.1, 1e-8, 0.01, "batch")
    step(*map(Tensor, (*inputs, LABELS)))
    for name in WEIGHT_TABLES:
        moved = network.parameters_dict()[name].asnumpy() != weights[name].astype(np.float32)
        assert not moved[others].any() and moved[used].any(), name


def test_what_the_looked_up_row_of_no_value_holds_does_not_matter():
    network, _, inputs = network_of(SHAPES[0])
    expected = DeepFMPredict(network)(*map(Tensor, inputs)).asnumpy()
    embedding = network.embedding.asnumpy().copy()
    embedding[0] = 1e15
    network.embedding.set_data(Tensor(embedding))
    np.testing.assert_array_equal(DeepFMPredict(network)(*map(Tensor, inputs)).asnumpy(), expected)


def test_l2_on_the_batch_is_that_of_the_means():
    shape = SHAPES[0]
    network, weights, inputs = network_of(shape)

    def loss_of(weights):
        tables = PooledTables(weights, inputs[0], shape[3])
        columns = [tables.ids, *inputs[1:]]
        return oracles.training_loss(tables.weights, columns, LABELS.ravel(), len(shape[2]), 0.05, "batch")

    loss_network = LossNetwork(network, 0.05, "batch")
    found = loss_network(*map(Tensor, (*inputs, LABELS))).asnumpy().item()
    assert found == pytest.approx(loss_of(weights), rel=1e-5)
    gradients = grad(loss_network, network, *inputs, LABELS)
    for name in WEIGHT_TABLES:
        for index in list(np.ndindex(weights[name].shape))[::3]:
            losses = []
            for change in (1e-5, -1e-5):
                moved = weights[name].copy()
                moved[index] += change
                losses.append(loss_of({**weights, name: moved}))
            expected = (losses[0] - losses[1]) / 2e-5
            assert gradients[name][index] == pytest.approx(expected, rel=1e-3, abs=1e-5), (name, index)


def test_the_order_of_the_values_does_not_matter():
    network, _, inputs = network_of(SHAPES[0])
    expected = DeepFMPredict(network)(*map(Tensor, inputs)).asnumpy()
    ids = inputs[0].copy()
    ids[:, 2:5] = ids[:, [4, 2, 3]]
    np.testing.assert_allclose(DeepFMPredict(network)(Tensor(ids), Tensor(inputs[1])).asnumpy(), expected, atol=1e-6)


def test_lists_of_one_value_are_fields_of_one_id():
    network, _, inputs = network_of((3, 4, (6, 5), (1, 1)))
    ids = np.abs(inputs[0])
    plain = DeepFM(dataclasses.replace(network.config, list_lengths=()))
    for name, parameter in network.parameters_dict().items():
        plain.parameters_dict()[name].set_data(parameter.value())
    found, expected = (DeepFMPredict(each)(Tensor(ids), Tensor(inputs[1])).asnumpy() for each in (network, plain))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
