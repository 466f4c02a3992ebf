# SPDX-License-Identifier: Apache-2.0
"""Bias, ReLU and dropout in one cell, against the three one after the other."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn, ops

from src.network.activation import create_activations, create_draws
from src.network.dropout import MaskChoice, draw_pool, shared_mask_count
from tests.graphs import compiled_graph, result_shapes

pytestmark = pytest.mark.usefixtures("cpu")
ROWS, MASKS, UNITS, SEED, LAYER = 300, 75, 16, 3, 1
STEP = Tensor([7], ms.int32)


class Fused(nn.Cell):
    def __init__(self, target, keep_prob):
        super().__init__()
        self.activation = create_activations(target, [UNITS] * 2, keep_prob, SEED)[LAYER]
        self.draw = create_draws(target, 2, keep_prob, SEED)

    def construct(self, products, bias, weight):
        hidden = self.activation(products, bias, self.draw(STEP, shared_mask_count(products.shape[0]))[LAYER])
        return (hidden * (self.activation.factor if self.training else 1.0) * weight).sum()


class OneByOne(nn.Cell):
    def __init__(self, keep_prob):
        super().__init__()
        self.factors = Tensor(factors(keep_prob))

    def construct(self, products, bias, weight):
        hidden = ops.relu(products + bias)
        if self.training:
            hidden = hidden * self.factors
        return (hidden * weight).sum()


def factors(keep_prob):
    """Return what the dropout of the layer multiplies its values by, float32 [ROWS, UNITS]: row r has mask r mod 75."""
    if keep_prob == 1:
        return np.ones((ROWS, UNITS), np.float32)
    choice = MaskChoice(SEED, [LAYER])(STEP, MASKS).asnumpy()[0]
    return draw_pool(UNITS, keep_prob, SEED, LAYER)[choice[np.arange(ROWS) % MASKS]]


def inputs(rows=ROWS):
    random = np.random.default_rng(1)
    shapes = (rows, UNITS), (UNITS,), (rows, UNITS)
    return [Tensor(random.normal(size=shape).astype(np.float32)) for shape in shapes]


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(
    "target, keep_prob", [("CPU", 0.7), ("GPU", 0.7), ("portable", 0.7), ("CPU", 1), ("Ascend", 1)]
)
def test_values_and_gradients_are_those_of_bias_relu_and_dropout_one_by_one(target, keep_prob, is_training):
    results = []
    for cell in (Fused(target, keep_prob), OneByOne(keep_prob)):
        value, gradients = ms.value_and_grad(cell.set_train(is_training), (0, 1, 2))(*inputs())
        results.append([value.asnumpy(), *(gradient.asnumpy() for gradient in gradients)])
    for fused, expected in zip(*results):
        assert np.abs(fused).max() > 0
        np.testing.assert_allclose(fused, expected, rtol=1e-5, atol=1e-5)


def test_masks_take_no_pass_over_the_batch_and_the_gradient_needs_none():
    step = ms.value_and_grad(Fused("CPU", 0.7).set_train(), (0, 1))
    graph = compiled_graph(Step(step), *inputs())
    assert result_shapes(graph, "Gather") == [(MASKS, UNITS)]
    assert result_shapes(graph, "BiasAdd") == [(MASKS, UNITS), (ROWS // MASKS, MASKS * UNITS)]
    assert result_shapes(graph, "ReluGrad") == [(ROWS, UNITS)]


@pytest.mark.parametrize(
    "rows, masks",
    [
        (16_000, 250),  # 256 to 251 do not divide 16,000
        (4096, 256),
        (10_000, 250),
        (1000, 250),
        (512, 128),  # at least four rows have the same mask
        (300, 75),
        (256, 64),
        (255, 255),  # 63 masks are too few: each row has its own
        (16_001, 16_001),  # a prime number
        (1, 1),
    ],
)
def test_masks_are_shared_by_a_number_of_rows_that_divides_the_batch(rows, masks):
    assert shared_mask_count(rows) == masks


class Step(nn.Cell):
    def __init__(self, step):
        super().__init__()
        self.step = step

    def construct(self, *inputs):
        return self.step(*inputs)


def test_values_of_any_size_are_dropped():
    (activation,) = create_activations("CPU", [UNITS], 0.5, SEED).set_train()
    huge = Tensor(np.full((ROWS, UNITS), 3e38, np.float32))
    choice = Tensor(np.arange(MASKS, dtype=np.int32))
    outputs = activation(huge, Tensor(np.zeros(UNITS, np.float32)), choice).asnumpy()
    assert set(np.unique(outputs)) == {np.float32(0), np.float32(3e38)}
