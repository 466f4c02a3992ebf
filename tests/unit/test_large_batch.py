# SPDX-License-Identifier: Apache-2.0
"""CowClip and the learning rate of the tables, against numpy, on one process and on two."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.common.encoded_rows import NO_VALUE
from src.network.tables import is_table
from src.training.large_batch import CowClip, LargeBatch
from src.training.train_step import LossNetwork, build_train_step
from tests.adam import Adam
from tests.graphs import compiled_operators
from tests.networks import make_network
from tests.processes import results_of_two_ranks

pytestmark = pytest.mark.usefixtures("seeded")
LABELS = np.array([1, 0, 0, 1, 0, 0, 1, 0], np.float32).reshape(8, 1)
RATIO, BOUND = 0.02, 0.01


def clipped(table, gradient, ids, ratio=RATIO, bound=BOUND):
    """The rule row by row."""
    result = gradient.copy()
    for row in range(len(table)):
        count = max((ids == row).sum(), 1)
        limit = count * ratio * max(np.linalg.norm(table[row]), bound * np.sqrt(table.shape[1]))
        norm = np.linalg.norm(gradient[row])
        if norm > limit:
            result[row] *= limit / norm
    return result


def test_each_row_is_scaled_down_to_its_limit():
    random = np.random.default_rng(1)
    table = (random.normal(size=(9, 4)) * 10.0 ** random.integers(-4, 1, (9, 1))).astype(np.float32)
    gradient = (random.normal(size=(9, 4)) * 10.0 ** random.integers(-4, 1, (9, 1))).astype(np.float32)
    gradient[8] = 0
    ids = np.array([[0, 1], [1, 2], [1, 3], [4, NO_VALUE], [7, NO_VALUE]], np.int32)
    found = CowClip(RATIO, BOUND, (9, 4), 1)(*map(Tensor, (table, gradient, ids))).asnumpy()
    expected = clipped(table, gradient, ids)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    changed = (expected != gradient).any(axis=1)
    assert 2 < changed.sum() < 8  # so some gradients are clipped and some are not


def test_the_limit_grows_with_the_number_of_occurrences_and_with_the_norm():
    table = np.array([[3, 4], [3, 4], [0, 0]], np.float32)
    gradient = np.full((3, 2), 100, np.float32)
    ids = np.array([[0], [1], [1], [1]], np.int32)
    norms = np.linalg.norm(CowClip(0.1, 0.5, (3, 2), 1)(*map(Tensor, (table, gradient, ids))).asnumpy(), axis=1)
    # 1 * 0.1 * 5, 3 * 0.1 * 5, and for an embedding of zeros that is not in the batch 0.1 * 0.5 * sqrt(2)
    np.testing.assert_allclose(norms, [0.5, 1.5, 0.1 * 0.5 * np.sqrt(2)], rtol=1e-5)


def expected_step(network, inputs, factor):
    """Return the weights after one step of Adam in numpy, by name, with the embedding's gradient clipped."""
    weights = network.trainable_params()
    gradients = ms.grad(LossNetwork(network, 1e-3), grad_position=None, weights=weights)(*inputs, Tensor(LABELS))
    expected = {}
    for weight, gradient in zip(weights, (each.asnumpy().astype(np.float64) for each in gradients)):
        start = weight.asnumpy().astype(np.float64)
        limited = clipped(start, gradient, inputs[0].asnumpy()) if weight.name == "embedding" else gradient
        assert (limited != gradient).any() == (weight.name == "embedding")
        adam = Adam([start], rate=0.01 * (factor if is_table(weight.name) else 1), epsilon=1e-3)
        adam.update([limited])
        expected[weight.name] = adam.weights[0]
    return expected


@pytest.mark.parametrize("block_size", [1, 4])
def test_a_step_clips_the_embeddings_and_has_two_learning_rates(block_size):
    network, inputs = make_network(3, 4, (6,), deviation=0.3)
    expected = expected_step(network, inputs, 0.25)
    settings = LargeBatch(0.25, RATIO, BOUND)
    train_step = build_train_step(network, 0.01, 1e-3, 1e-3, block_size=block_size, large_batch=settings)
    train_step.optimizer.set_learning_rates([0.01] * block_size, 0)
    train_step(*inputs, Tensor(LABELS))
    for weight in network.trainable_params():  # epsilon is large, so that the size of a gradient counts
        np.testing.assert_allclose(weight.asnumpy(), expected[weight.name], rtol=1e-4, atol=1e-6, err_msg=weight.name)


@pytest.mark.slow
def test_without_the_option_the_graph_is_the_same():
    def operators(**options):
        network, inputs = make_network(3, 4, (6,))
        return compiled_operators(build_train_step(network, 0.01, 5e-8, 1e-3, **options), *inputs, Tensor(LABELS))

    plain = operators()
    assert operators(large_batch=LargeBatch(1.0, 0.0, 0.5)) == plain
    assert operators(large_batch=LargeBatch(1.0, 1.0, 0.5)) != plain


RANK_PROGRAM = """
import json
import numpy as np
from mindspore import Tensor
from src.distributed.device import set_up
from src.training.large_batch import LargeBatch
from src.training.train_step import build_train_step
from tests.networks import make_network
from tests.unit.test_large_batch import BOUND, LABELS, RATIO

_, ranks = set_up("CPU", 0)
network, inputs = make_network(3, 4, (6,), deviation=0.3)
settings = LargeBatch(0.25, RATIO, BOUND)
train_step = build_train_step(network, 0.01, 1e-3, 1e-3, rank_count=ranks.count, large_batch=settings)
batch = [Tensor(column[4 * ranks.rank :][:4]) for column in (*(each.asnumpy() for each in inputs), LABELS)]
train_step(*batch)
print("results" + json.dumps({each.name: each.asnumpy().tolist() for each in network.trainable_params()}))
"""


@pytest.mark.slow
def test_two_ranks_clip_by_the_occurrences_in_the_rows_of_both():
    network, inputs = make_network(3, 4, (6,), deviation=0.3)
    expected = expected_step(network, inputs, 0.25)
    for weights in results_of_two_ranks(RANK_PROGRAM):
        for name, values in weights.items():
            np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)
