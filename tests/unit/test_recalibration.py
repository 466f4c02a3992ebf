# SPDX-License-Identifier: Apache-2.0
"""The map itself: its values, its order, and the dict that is stored."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from src.common.errors import UserError
from src.evaluation.recalibration import Method, Recalibration, logit

PROBABILITIES = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(0, 1, width=32))


@st.composite
def recalibrations(draw):
    """Return maps of 2 to 20 knots; steps between a thousandth and four."""
    count = draw(st.integers(2, 20))
    steps = st.lists(st.floats(1e-3, 4), min_size=count, max_size=count)
    logits, targets = (np.cumsum(draw(steps)) + draw(st.floats(-20, 5)) for _ in range(2))
    return Recalibration(Method.ISOTONIC, tuple(logits.tolist()), tuple(targets.tolist()))


def test_values_worked_out_by_hand():
    # Knots at the logits -1, 0 and 2.  Slopes 2 and 1/2, also beyond the ends.
    curve = Recalibration(Method.ISOTONIC, (-1.0, 0.0, 2.0), (-3.0, -1.0, 0.0))
    logits = np.array([-2.0, -1.0, -0.5, 0.0, 1.0, 2.0, 4.0])
    np.testing.assert_allclose(curve.map_logits(logits), [-5.0, -3.0, -2.0, -1.0, -0.5, 0.0, 1.0], rtol=1e-15)
    expected = (1 / (1 + np.exp([5.0, 3.0, 2.0, 1.0, 0.5, 0.0, -1.0]))).astype(np.float32)
    applied = curve.apply(1 / (1 + np.exp(-logits)))
    assert applied.dtype == np.float32
    np.testing.assert_allclose(applied, expected, rtol=1e-6)


def test_logits_are_those_of_clipped_probabilities():
    # 0 and 1 stand for 1e-7 and 1 - 1e-7: log(1e-7 / (1 - 1e-7)) = -16.1180955.
    expected = [-16.1180955, -16.1180955, 0.0, np.log(3), 16.1180955]
    np.testing.assert_allclose(logit(np.array([0, 1e-9, 0.5, 0.75, 1], np.float32)), expected, atol=1e-6)


@given(recalibrations(), PROBABILITIES)
def test_the_order_of_rows_stays(curve, probabilities):
    probabilities = np.sort(probabilities)
    recalibrated = curve.apply(probabilities)
    assert (np.diff(recalibrated) >= 0).all()
    assert ((recalibrated >= 0) & (recalibrated <= 1)).all()


@given(recalibrations(), arrays.arrays(np.float64, st.integers(2, 60), elements=st.floats(-16, 16)))
def test_the_map_increases_strictly(curve, logits):
    logits = np.sort(logits)
    mapped = curve.map_logits(logits)
    assert (np.diff(mapped) >= 0).all()
    # The least slope is a thousandth over four, so that logits a billionth apart differ by more than they are rounded.
    assert (np.diff(mapped) > 0)[np.diff(logits) > 1e-9].all()


@given(recalibrations(), PROBABILITIES, st.data())
def test_the_division_into_batches_makes_no_difference(curve, probabilities, data):
    cuts = data.draw(st.lists(st.integers(0, len(probabilities)), max_size=5).map(sorted))
    parts = [curve.apply(part) for part in np.split(probabilities, cuts)]
    np.testing.assert_array_equal(np.concatenate(parts), curve.apply(probabilities))


def test_an_extreme_map_gives_probabilities_without_a_warning():
    curve = Recalibration(Method.PLATT, (0.0, 1.0), (0.0, 1000.0))
    np.testing.assert_array_equal(curve.apply(np.array([0.0, 0.5, 1.0], np.float32)), [0.0, 0.5, 1.0])


@given(recalibrations())
def test_json_keeps_every_bit(curve):
    assert Recalibration.from_dict(json.loads(json.dumps(curve.to_dict())), "package.json") == curve


GOOD = {"method": "platt", "logits": [0.0, 1.0], "targets": [-1.0, 2.0]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "it must have method, logits and targets"),
        ({"method": "platt", "logits": [0.0, 1.0]}, "it must have method, logits and targets"),
        (GOOD | {"slope": 1}, "it must have method, logits and targets"),
        (GOOD | {"method": "beta"}, "'beta' is not a valid Method"),
        (GOOD | {"logits": [0.0, 0.0]}, "the logits are not finite and strictly increasing"),
        (GOOD | {"targets": [0.0, -1.0]}, "the targets are not finite and strictly increasing"),
        (GOOD | {"targets": [0.0, float("nan")]}, "the targets are not finite and strictly increasing"),
        (GOOD | {"targets": [float("-inf"), 0.0]}, "the targets are not finite and strictly increasing"),
        (GOOD | {"logits": [0.0]}, "1 logits and 2 targets; two or more of each needed"),
        (GOOD | {"logits": [], "targets": []}, "0 logits and 0 targets; two or more of each needed"),
        (GOOD | {"logits": [0.0, 1e-300], "targets": [0.0, 1e10]}, "two knots are too close to each other"),
        (GOOD | {"logits": [None, 1]}, "float() argument must be a string or a real number, not 'NoneType'"),
        (GOOD | {"targets": 3}, "'int' object is not iterable"),
    ],
)
def test_a_damaged_one_is_refused_in_one_line(content, reason):
    with pytest.raises(UserError) as refused:
        Recalibration.from_dict(content, "package.json")
    message = f"package.json: the recalibration is damaged ({reason}); copy or write the file again"
    assert str(refused.value) == message
