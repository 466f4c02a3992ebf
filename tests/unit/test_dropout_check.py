# SPDX-License-Identifier: Apache-2.0
"""The check of dropout masks, on the CPU and on devices that get one thing wrong."""

import time

import numpy as np
import pytest
from mindspore import Tensor

from src.common.errors import UserError
from src.network.dropout import FIRST_FACTOR, SECOND_FACTOR, SHIFT, STEP_FACTOR
from src.training import dropout_check
from src.training.dropout_check import check_masks, find_fault

pytestmark = pytest.mark.usefixtures("cpu")


def test_the_hash_passes_on_this_cpu():
    assert find_fault("CPU", 12345) is None


class Device:
    """A dropout on a device of which `bits_of` gives the random numbers, uniform in [0, 1)."""

    def __init__(self, bits_of, scale=None):
        self.bits_of, self.scale = bits_of, scale

    def __call__(self, target, width, keep_prob, seed, layer):
        def dropout(hidden, step):
            uniform = self.bits_of(hidden.shape, seed, int(step[0]), layer)
            return Tensor((uniform < keep_prob).astype(np.float32) * np.float32(self.scale or 1 / keep_prob))

        dropout.set_train = lambda: dropout
        return dropout


def uniform(shape, *key):
    """Return the numbers of a device that is right."""
    return np.random.default_rng(key).random(shape)


def saturating_hash(shape, seed, step, layer):
    """The hash of src.network.dropout where products and sums end at the limits of int32 instead of wrapping around."""

    def saturated(numbers):
        return np.clip(numbers, -(2**31), 2**31 - 1)

    def mix(bits, factor):
        return saturated((bits ^ (bits >> SHIFT)) * factor)

    step_factor, first, second = np.array([STEP_FACTOR, FIRST_FACTOR, SECOND_FACTOR], np.uint32).view(np.int32).tolist()
    units = np.random.default_rng([seed, layer]).integers(-(2**31), 2**31, (1, shape[1]))
    rows = mix(saturated(saturated(np.arange(shape[0])[:, None] + saturated(step * step_factor)) * first), second)
    return (mix(saturated((rows ^ units) * first), second) + 2**31) / 2**32


def shifted(shape, seed, step, layer):
    """Return numbers of one stream, of which each step starts 4 numbers after the step before."""
    first, count = 4 * step, shape[0] * shape[1]
    return uniform(first + count, seed, layer)[first:].reshape(shape)


class Stateful:
    """A generator with a state of its own."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def __call__(self, shape, seed, step, layer):
        return self.random.random(shape)


BROKEN = {
    "saturating arithmetic": (Device(saturating_hash), "keeps 1.0000 of the units instead of 0.8"),
    "nothing is kept": (Device(lambda shape, *key: np.ones(shape)), "keeps 0.0000 of the units instead of 0.8"),
    "wrong scale": (Device(uniform, scale=1.0), "multiplies units that it keeps by 1.0000 to 1.0000 instead of 1.25"),
    "a state of its own": (Device(Stateful()), "the same seed and step give two masks"),
    "no step": (Device(lambda shape, seed, step, layer: uniform(shape, seed, layer)), "two steps agree in 1.0000"),
    "no layer": (Device(lambda shape, seed, step, layer: uniform(shape, seed, step)), "two layers agree in 1.0000"),
    "no seed": (Device(lambda shape, seed, step, layer: uniform(shape, step, layer)), "two seeds agree in 1.0000"),
    "opposite masks": (
        Device(lambda shape, seed, step, layer: np.abs(uniform(shape, seed, layer) - step % 2)),
        "two steps agree in 0.60",
    ),
    "shifted masks": (Device(shifted), "the mask of one step is a shifted copy of another's"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_device_that_gets_one_thing_wrong_is_found_out(name):
    device, fault = BROKEN[name]
    assert fault in find_fault("Ascend", 3, device)


def test_training_refuses_a_faulty_device_in_one_line(monkeypatch):
    monkeypatch.setattr(dropout_check, "find_fault", lambda target: f"a fault of {target}")
    with pytest.raises(UserError) as refusal:
        check_masks("Ascend")
    text = str(refusal.value)
    assert "\n" not in text
    for part in (
        "--device_target=Ascend",
        "a fault of Ascend",
        "--keep_prob=1 --embedding_keep_prob=1",
        "src.self_test",
    ):
        assert part in text


def test_a_right_device_passes_and_the_statistics_take_well_under_a_second():
    device = Device(uniform)
    assert find_fault("Ascend", 3, device) is None
    start = time.process_time()
    assert find_fault("Ascend", 4, device) is None
    assert time.process_time() - start < 1
