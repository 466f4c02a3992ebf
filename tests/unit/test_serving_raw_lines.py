# SPDX-License-Identifier: Apache-2.0
"""Tensors to the lines of a log."""

import pytest

from src.serving.infer_request import BYTES, INT64, SMALLEST_INT64, Tensor
from src.serving.raw_lines import to_lines
from src.serving.request_errors import MalformedRows, RequestError

INTEGERS, CATEGORIES = ["I1", "I2"], ["C1"]


def lines_of(*tensors):
    return to_lines(list(tensors), INTEGERS, CATEGORIES)


def test_complete_lines_stay_as_they_are():
    assert lines_of(Tensor("rows", BYTES, [b"1\t2\ta", b"\xff"])) == [b"1\t2\ta", b"\xff"]


def test_columns_are_joined_in_the_order_of_a_row():
    lines = lines_of(
        Tensor("C1", BYTES, [b"a", b""]), Tensor("I2", INT64, [-5, SMALLEST_INT64]), Tensor("I1", BYTES, [b"3.0", b""])
    )
    assert lines == [b"3.0\t-5\ta", b"\t\t"]


@pytest.mark.parametrize(
    ("tensors", "part"),
    [
        ([], "I1 is missing"),
        ([Tensor("I1", INT64, [1]), Tensor("C1", BYTES, [b"a"])], "I2 is missing"),
        ([Tensor("rows", BYTES, [b"a"]), Tensor("I1", INT64, [1])], "I2 is missing"),
        ([Tensor("C9\n", BYTES, [b"a"])], r"C9\\n is none of them"),
        ([Tensor("rows", BYTES, [b"a"])] * 2, "I1 is missing"),
        ([Tensor(name, BYTES, [b"1"]) for name in ("I1", "I2", "C1", "C1")], "each once"),
        ([Tensor(name, BYTES, [b"1"] * count) for count, name in enumerate(("I1", "I2", "C1"), 1)], "same number"),
        ([Tensor("I1", INT64, [1]), Tensor("I2", INT64, [1]), Tensor("C1", INT64, [1])], "C1: its datatype"),
        ([Tensor("rows", INT64, [1])], "rows: its datatype must be BYTES"),
    ],
)
def test_other_inputs_are_refused(tensors, part):
    with pytest.raises(RequestError, match=part):
        lines_of(*tensors)


def test_cells_that_hold_a_separator_are_malformed():
    with pytest.raises(MalformedRows) as error:
        lines_of(
            Tensor("I1", BYTES, [b"1", b"2", b"3\t"]),
            Tensor("I2", INT64, [1, 2, 3]),
            Tensor("C1", BYTES, [b"a\n", b"b", b"\t"]),
        )
    faults = {1: "row 1: C1 holds a tab or a newline", 3: "row 3: I1 holds a tab or a newline"}
    assert (error.value.faults, error.value.count) == (faults, 2)
