# SPDX-License-Identifier: Apache-2.0
import math
import re

import pytest

from src.common.dense_encoding import DenseEncoding
from src.common.values import INTS, TEXTS, Values


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (bool, "False", False),
        (bool, "1", True),
        (bool, False, False),
        (int, " +12 ", 12),
        (int, 3, 3),
        (float, "1e-3", 0.001),
        (float, 2, 2.0),
        (str, "a b", "a b"),
        (str, 7, "7"),
        (str, "none", "none"),
        (str | None, "none", None),
        (str | None, "None", "None"),
        (tuple[int, ...], "[400, 20]", (400, 20)),
        (tuple[int, ...], [8], (8,)),
        (tuple[str, ...], "none", ()),
        (tuple[str, ...], "a.b:C", ("a.b:C",)),
        (tuple[str, ...], ["a:B", "c:D"], ("a:B", "c:D")),
        (DenseEncoding, "log+bucket", DenseEncoding.LOG_BUCKET),
    ],
)
def test_text_and_yaml_become_a_value_of_the_annotated_type(annotation, value, expected):
    parsed = Values.annotated(annotation).parse(value)
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "rule"),
    [
        (bool, "yes", "must be True or False"),
        (int, "1.0", "must be a whole number"),
        (int, True, "must be a whole number"),
        (int, "\u0661", "must be a whole number"),
        (float, "inf", "must be a number"),
        (float, False, "must be a number"),
        (float, None, "must be a number"),
        (str, " ", "must be text that is not empty"),
        (str | None, None, "must be text that is not empty"),
        (str, ["a"], "must be text that is not empty"),
        (tuple[int, ...], "[]", "must be a list of whole numbers, such as 400,400"),
        (tuple[int, ...], "8;9", "must be a whole number"),
        (tuple[str, ...], ["a:B", ""], "must be text that is not empty"),
        (tuple[str, ...], ["none", "a:B"], "none stands for no value at all and must be alone"),
        (DenseEncoding, "bucket+log", "must be one of max, log, bin, log+bin, bucket, log+bucket"),
    ],
)
def test_other_values_are_refused_with_the_rule(annotation, value, rule):
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        Values.annotated(annotation).parse(value)


@pytest.mark.parametrize(
    ("limits", "accepted", "refused", "bounds"),
    [
        ({"at_least": 1}, [1, 2], [0, -1], "at least 1"),
        ({"more_than": 0}, [1], [0, -1], "more than 0"),
        ({"at_least": 2, "at_most": 3}, [2, 3], [1, 4], "at least 2 and at most 3"),
        ({"more_than": 0, "at_most": 1}, [1], [0, 2], "more than 0 and at most 1"),
    ],
)
@pytest.mark.parametrize("value_type", [int, float, INTS])
def test_bounds_hold_for_each_number(limits, accepted, refused, bounds, value_type):
    values = Values(value_type, **limits)
    assert values.bounds() == bounds
    for number in accepted:
        values.parse(number)
    for number in refused:
        with pytest.raises(ValueError, match=f"^must be {bounds}$"):
            values.parse([accepted[0], number] if value_type == INTS else number)


def test_a_float_is_compared_exactly():
    values = Values(float, more_than=0, at_most=0.99999)
    assert values.parse(0.99999) == 0.99999
    for number in (math.nextafter(0.99999, 1), 0.0):
        with pytest.raises(ValueError, match=r"must be more than 0 and at most 0\.99999"):
            values.parse(number)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (Values(bool), "True, False"),
        (Values(str, is_optional=True), "text, or none"),
        (Values(INTS, at_least=1), "whole numbers, at least 1"),
        (Values(int, choices=(0, -1)), "0, -1"),
        (Values(TEXTS), "text, may be repeated, or none"),
    ],
)
def test_the_allowed_values_are_described(values, words):
    assert values.describe() == words
