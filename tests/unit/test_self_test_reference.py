# SPDX-License-Identifier: Apache-2.0
"""The stored values of the self-test against numpy, and its tolerances against the arithmetic of other devices."""

import math

import mindspore as ms
import numpy as np
import pytest

from src.deepfm import DeepFM
from src.self_test import masks, problem
from src.self_test.arithmetic import ROUNDOFFS
from src.self_test.check import Status
from src.self_test.reference import load_reference, make_reference
from src.self_test.small_training import Measurements, check_forward, check_gradients, check_steps
from tests import oracles
from tests.numpy_deepfm import NumpyDeepFM

pytestmark = pytest.mark.usefixtures("cpu")
REFERENCE = load_reference()
SINGLE = ROUNDOFFS[ms.float32]


def batch_of(step):
    ids, values, labels = problem.batch(step)
    return ids, values.astype(np.float64), labels.ravel()


def by_numpy(rounded=lambda matrix: matrix, learning_rate=problem.LEARNING_RATE, epsilon=problem.EPSILON):
    """Return probabilities [B, 1] and Measurements of the problem, computed in float64."""
    start = problem.weights(DeepFM(problem.SIZES))
    network = NumpyDeepFM(start, len(problem.SIZES.hidden_sizes), problem.L2_COEF, rounded)
    probabilities = 1 / (1 + np.exp(-network.logits(*batch_of(1)[:2])))
    _, gradients = network.loss_and_gradients(*batch_of(1))
    steps = range(1, problem.STEPS + 1)
    losses = np.array([network.train(*batch_of(step), learning_rate, epsilon) for step in steps])
    return probabilities[:, None], Measurements(losses, gradients, start, network.weights)


def with_bits(count):
    """Return a function that rounds numbers to so many significant bits."""

    def rounded(matrix):
        fraction, exponent = np.frexp(matrix)
        return np.ldexp(np.round(fraction * 2**count) / 2**count, exponent)

    return rounded


def statuses(probabilities, measured, roundoff):
    """Return the results of the three checks of the small network."""
    return [
        check_forward(probabilities, REFERENCE, roundoff).status,
        check_gradients(measured, REFERENCE, roundoff).status,
        check_steps(measured, REFERENCE, roundoff).status,
    ]


def test_numpy_gives_the_stored_values():
    assert statuses(*by_numpy(), SINGLE) == [Status.PASS] * 3


def test_the_gradients_of_numpy_are_slopes_of_the_row_by_row_loss():
    start = {name: value.astype(np.float64) for name, value in problem.weights(DeepFM(problem.SIZES)).items()}
    ids, values, labels = (column[-12:] for column in batch_of(1))  # with the padding
    _, gradients = NumpyDeepFM(start, 2, problem.L2_COEF).loss_and_gradients(ids, values, labels)
    for name, value in start.items():
        index = np.unravel_index(np.abs(gradients[name]).argmax(), value.shape)
        losses = []
        for sign in (1, -1):
            moved = value.copy()
            moved[index] += sign * 1e-5
            losses.append(oracles.training_loss(start | {name: moved}, (ids, values), labels, 2, problem.L2_COEF))
        assert gradients[name][index] == pytest.approx((losses[0] - losses[1]) / 2e-5, rel=1e-5), name


@pytest.mark.parametrize("bits", [11, 12, 8])  # float16 and TF32, HF32, bfloat16
def test_other_formats_of_products_are_within_their_tolerance_and_beyond_that_of_float32(bits):
    results = by_numpy(with_bits(bits))
    assert statuses(*results, 2.0**-bits) == [Status.PASS] * 3
    assert statuses(*results, SINGLE) == [Status.FAIL] * 3


@pytest.mark.parametrize(
    "fault", [{"epsilon": 1.01 * problem.EPSILON}, {"learning_rate": 1.001 * problem.LEARNING_RATE}]
)
def test_another_optimizer_fails_in_the_ten_steps_alone(fault):
    assert statuses(*by_numpy(**fault), SINGLE) == [Status.PASS, Status.PASS, Status.FAIL]


@pytest.mark.parametrize("roundoff", [2.0**-11, 2.0**-8])
def test_an_epsilon_twice_as_large_fails_in_half_precision_too(roundoff):
    assert statuses(*by_numpy(epsilon=2 * problem.EPSILON), roundoff)[2] is Status.FAIL


def test_one_wrong_element_fails():
    probabilities, measured = by_numpy()
    wrong = probabilities.copy()
    wrong[5] += 1e-5
    assert check_forward(wrong, REFERENCE, SINGLE).status is Status.FAIL
    for name, gradient in measured.gradients.items():
        changed = gradient.copy()
        changed.flat[-1] += 1e-4 * np.abs(gradient).max()
        gradients = measured.gradients | {name: changed}
        result = check_gradients(Measurements(measured.losses, gradients, {}, {}), REFERENCE, SINGLE)
        assert (result.status, name in result.text) == (Status.FAIL, True)
        assert result.details["actual"][name] == changed.tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_values_that_are_not_finite_fail(value):
    probabilities, measured = by_numpy()
    probabilities[3] = value
    measured.gradients["linear"][0] = value
    measured.weights["embedding"][1, 1] = value
    assert statuses(probabilities, measured, 2.0**-8) == [Status.FAIL] * 3


def test_the_stored_values_are_those_that_this_code_computes():
    made = make_reference()
    assert REFERENCE.keys() - made.keys() == {"test_metrics"}
    assert made[masks.DIGEST] == REFERENCE[masks.DIGEST]
    np.testing.assert_allclose(made["losses"], REFERENCE["losses"], rtol=1e-5)


def test_the_stored_mask_is_that_of_masks_drawn_and_chosen_by_numpy():
    kept = np.repeat(np.arange(1024)[:, None] < round(1024 * masks.KEEP_PROB), masks.WIDTH, axis=1)
    pool = np.random.default_rng([masks.SEED, masks.LAYER]).permuted(kept, axis=0)
    key = np.random.default_rng([masks.SEED, masks.LAYER, 1]).integers(2**32, dtype=np.uint64)
    rows = np.arange(masks.ROWS, dtype=np.uint64) + masks.STEP * 0x9E3779B9
    choice = mixed((mixed(rows * 0x7FEB352D) ^ key) * 0x7FEB352D) >> np.uint64(22)
    assert masks.digest(pool[choice]) == REFERENCE[masks.DIGEST]


def mixed(bits):
    """The mixing step of the hash: uint64 in, uint64 below 2^32 out; the shift keeps the sign."""
    low = (bits & 0xFFFFFFFF).astype(np.uint32)
    return (low ^ (low.view(np.int32) >> 15).view(np.uint32)).astype(np.uint64) * 0x846CA68B & 0xFFFFFFFF


def test_the_batches_have_padding_all_ids_in_range_and_both_labels():
    for step in range(1, problem.STEPS + 2):
        ids, values, labels = problem.batch(step)
        assert (ids.min() >= 0, ids.max() < problem.SIZES.vocabulary_size) == (True, True)
        assert np.abs(values).max() <= 1
        assert set(labels.ravel()) == {0, 1, -1}
        assert (labels == -1).sum() == problem.PADDING_ROWS
