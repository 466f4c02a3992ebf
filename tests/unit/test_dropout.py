# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from mindspore import Tensor

from src.dropout import Dropout

pytestmark = pytest.mark.usefixtures("cpu")
ROWS, UNITS, KEEP_PROB = 2000, 128, 0.8


@pytest.mark.parametrize("keep_prob", [0.02, 0.5, 0.9, 0.999])
def test_the_fraction_of_units_that_are_kept_is_the_probability_and_the_mean_stays(keep_prob):
    dropout = Dropout(UNITS, keep_prob, 1, 0).set_train(True)
    outputs = dropout(Tensor(np.ones((ROWS, UNITS), np.float32)), Tensor([1], dtype=dropout.shift.dtype)).asnumpy()
    deviation = math.sqrt(keep_prob * (1 - keep_prob) / outputs.size)
    assert (outputs > 0).mean() == pytest.approx(keep_prob, abs=5 * deviation)
    assert outputs.mean(dtype=np.float64) == pytest.approx(1, abs=5 * deviation / keep_prob)


def masks(seed=3, layer=0, steps=range(1, 5), rows=ROWS):
    """Return the masks, bool [steps, rows, UNITS], True for units that are kept."""
    dropout = Dropout(UNITS, KEEP_PROB, seed, layer).set_train(True)
    ones = Tensor(np.ones((rows, UNITS), np.float32))
    outputs = np.stack([dropout(ones, Tensor([step], dtype=dropout.shift.dtype)).asnumpy() for step in steps])
    assert set(np.unique(outputs)) == {np.float32(0), np.float32(1 / KEEP_PROB)}
    return outputs > 0


def test_a_mask_is_a_function_of_seed_layer_and_step():
    kept = masks()
    assert np.array_equal(kept, masks())
    assert np.array_equal(kept[2:], masks(steps=range(3, 5)))
    assert np.array_equal(kept[:, :10], masks(rows=10))


@pytest.mark.parametrize("other", [{"seed": 4}, {"layer": 1}, {"steps": range(5, 9)}])
def test_other_masks_are_unrelated(other):
    agreement = (masks() == masks(**other)).mean()
    expected = KEEP_PROB**2 + (1 - KEEP_PROB) ** 2
    assert abs(agreement - expected) < 5 * math.sqrt(expected * (1 - expected) / (4 * ROWS * UNITS))


def test_units_are_kept_independently_with_the_same_probability():
    centred = masks() - KEEP_PROB
    variance = KEEP_PROB * (1 - KEEP_PROB)
    count = centred.size
    assert abs(centred.mean()) < 4 * math.sqrt(variance / count)
    for a, b in (
        (centred[1:], centred[:-1]),  # steps
        (centred[:, 1:], centred[:, :-1]),  # rows
        (centred[:, :, 1:], centred[:, :, :-1]),  # units
        (centred[:, 1:, 1:] * centred[:, :-1, :-1], centred[:, 1:, :-1] * centred[:, :-1, 1:]),  # rectangles
    ):
        scale = np.sqrt((a**2).mean() * (b**2).mean())
        assert abs((a * b).mean()) / scale < 5 / math.sqrt(a.size)
    deviation = math.sqrt(variance / (count / UNITS))
    assert np.abs(centred.mean(axis=(0, 1))).max() < 5 * deviation


def test_the_mask_is_the_hash_worked_out_in_python_integers():
    # The hash of some elements in Python integers.
    dropout = Dropout(UNITS, KEEP_PROB, 3, 0)
    unit_keys = dropout.unit_keys.asnumpy().ravel().astype(np.uint32)
    kept = masks(steps=[7])[0]
    for row, unit in ((0, 0), (1, 5), (1999, 127), (1024, 64)):
        bits = (row + 7 * 0x9E3779B9) * 0x7FEB352D & 0xFFFFFFFF
        bits = mix_in_python(bits)
        bits = mix_in_python((bits ^ int(unit_keys[unit])) * 0x7FEB352D & 0xFFFFFFFF)
        signed = bits - 2**32 if bits >= 2**31 else bits
        assert kept[row, unit] == (signed < round((KEEP_PROB - 0.5) * 2**32))


def mix_in_python(bits):
    signed = bits - 2**32 if bits >= 2**31 else bits  # the shift keeps the sign
    return ((bits ^ (signed >> 15)) & 0xFFFFFFFF) * 0x846CA68B & 0xFFFFFFFF


def test_outside_training_nothing_changes():
    dropout = Dropout(UNITS, KEEP_PROB, 3, 0).set_train(False)
    hidden = Tensor(np.random.default_rng(0).normal(size=(5, UNITS)).astype(np.float32))
    assert np.array_equal(dropout(hidden, Tensor([1], dtype=dropout.shift.dtype)).asnumpy(), hidden.asnumpy())
