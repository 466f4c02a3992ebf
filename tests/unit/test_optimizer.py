# SPDX-License-Identifier: Apache-2.0
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from src.checkpoint import UNSAVED_PREFIX, load_into
from src.common.errors import UserError
from src.training.train_step import build_train_step
from tests.networks import make_network

pytestmark = pytest.mark.usefixtures("seeded")
LABELS = np.array([1, 0, 0, 1, 0, 0, 1, 0], np.float32).reshape(8, 1)
RATES = (0.02, 0.0, 0.01, 0.03, 0.005, 0.0, 0.04, 0.02)


def train_step_of(block_size, ema_decay=0.0):
    network, inputs = make_network(3, 4, (6,))
    train_step = build_train_step(network, 0.01, 5e-8, 0.0, ema_decay=ema_decay, block_size=block_size)
    return train_step, [*inputs, Tensor(LABELS)]


def run(train_step, batch, rates, block_size, start=0):
    """Run a step for each rate; return the rates that the optimizer has had, and the losses."""
    used, losses = [], []
    for first in range(0, len(rates), block_size):
        train_step.optimizer.set_learning_rates(rates[first : first + block_size], start + first)
        for _ in range(block_size):
            losses.append(train_step(*batch).asnumpy().item())
            used.append(train_step.optimizer.learning_rate.asnumpy().item())
    return used, losses


def test_a_step_moves_the_weights_by_the_rate_that_was_set_for_it():
    train_step, batch = train_step_of(1)
    bias = train_step.network.network.bias
    for rate in RATES:
        before = bias.asnumpy().item()
        train_step.optimizer.set_learning_rates([rate], 0)
        train_step(*batch)
        assert (bias.asnumpy().item() != before) is (rate > 0)


@pytest.fixture(scope="module")
def single_steps(cpu):
    """The TrainStep of steps that are no blocks, and the rates and losses that it has had."""
    train_step, batch = train_step_of(1, ema_decay=0.9)
    return train_step, run(train_step, batch, RATES, 1)


@pytest.mark.parametrize("block_size", [2, 4, 8])
def test_the_graph_picks_the_rate_of_each_step_of_a_block(single_steps, block_size):
    expected_step, expected = single_steps
    assert expected[0] == [np.float32(rate) for rate in RATES]
    train_step, batch = train_step_of(block_size, ema_decay=0.9)
    assert run(train_step, batch, RATES, block_size) == expected
    own = {name: each for name, each in train_step.parameters_dict().items() if not name.startswith(UNSAVED_PREFIX)}
    assert own.keys() == expected_step.parameters_dict().keys()
    for name, parameter in expected_step.parameters_dict().items():
        assert np.array_equal(own[name].asnumpy(), parameter.asnumpy()), name


def test_after_a_resume_the_rates_belong_to_the_steps_that_follow(tmp_path):
    train_step, batch = train_step_of(1)
    run(train_step, batch, RATES[:3], 1)
    ms.save_checkpoint(train_step, str(tmp_path / "three.ckpt"))
    expected = run(train_step, batch, RATES[4:], 1)
    resumed, _ = train_step_of(2)  # global_step is 3, which is no multiple of 2
    load_into(resumed, tmp_path / "three.ckpt")
    assert run(resumed, batch, RATES[4:], 2, start=3) == expected


def test_what_is_set_before_each_block_is_neither_saved_nor_asked_for(tmp_path):
    train_step, _ = train_step_of(4)
    file = tmp_path / "none.ckpt"
    ms.save_checkpoint([{"name": "bias", "data": train_step.network.network.bias}], str(file))
    with pytest.raises(UserError, match="missing or of another size") as caught:
        load_into(train_step, file)
    assert UNSAVED_PREFIX not in str(caught.value)
