# SPDX-License-Identifier: Apache-2.0
import datetime
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest

from src.common.errors import UserError
from src.package.rows import BadRowsError, read_frame, read_lines, rows_have_label
from src.preprocessing.raw_columns import MISSING
from src.preprocessing.schema import FieldSchema

SCHEMA = FieldSchema.criteo(2, 2)


def rows_of(frame):
    """Return the values of raw columns row by row, None for missing integers."""
    names = [*SCHEMA.integer_names, *SCHEMA.category_names]
    columns = [[None if value == MISSING[frame[name].dtype] else value for value in frame[name]] for name in names]
    return list(zip(*columns))


EXPECTED = [(3, -1, "a", None), (None, 2**40, "é", "05db9164"), (0, None, None, "x\ty")]


@pytest.mark.parametrize("library", [pl.DataFrame, pd.DataFrame])
@pytest.mark.parametrize(
    "integers",
    [
        ([3, None, 0], [-1, 2**40, None]),
        ([3.0, math.nan, 0.0], [-1.0, float(2**40), math.nan]),
        (["3", "", "0.0"], ["-1", "1099511627776", ""]),
        (["3.0", None, "+0"], ["-1.", "1099511627776.00", None]),
    ],
)
def test_a_data_frame_may_have_its_values_in_several_types(library, integers):
    frame = library(
        {
            "C2": ["", "05db9164", "x\ty"],
            "I2": integers[1],
            "unknown": [[], [], []],
            "I1": integers[0],
            "C1": ["a", "é", None],
        }
    )
    assert rows_of(read_frame(frame, SCHEMA)) == EXPECTED


def test_pandas_types_with_nulls_of_their_own_are_read():
    frame = pd.DataFrame(
        {
            "I1": pd.array([3, None, 0], dtype="Int64"),
            "I2": pd.array([-1, 2**40, None], dtype="Int64"),
            "C1": pd.array(["a", "é", None], dtype="string"),
            "C2": pd.Categorical(["", "05db9164", "x\ty"]),
        }
    )
    assert rows_of(read_frame(frame, SCHEMA)) == EXPECTED


def test_whole_numbers_stand_for_categories_of_their_digits():
    frame = pl.DataFrame({"I1": [1], "I2": [2], "C1": [12345678], "C2": [7]})
    codes = read_frame(frame, SCHEMA)
    assert codes["C1"].to_list() == [0x12345678]  # a text of 8 hexadecimal digits is a code
    assert codes["C2"].to_list() == ["7"]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("I1", [1, 2.5], "row 2: I1 is 2.5; an integer lies between"),
        ("I2", [math.inf, 1.0], "row 1: I2 is inf; an integer"),
        ("I2", [1.0, 2.0**63], "row 2: I2 is "),
        ("I1", ["7", "x"], "row 2: I1 is x; an integer"),
        ("I1", [-(2**63), 0], "row 1: I1 is -9223372036854775808; an integer"),
        ("I1", [datetime.date(2014, 10, 21)] * 2, "column I1 has the type Date"),
        ("C1", [0.5, 1.0], "column C1 has the type Float64; a category is text"),
        ("C1", [b"a", b"b"], "column C1 has the type Binary"),
        ("C1", [["a"], ["b"]], "column C1 has the type List"),
    ],
)
def test_other_values_are_refused(name, values, message):
    columns = {"I1": [1, 2], "I2": [1, 2], "C1": ["a", "b"], "C2": ["a", "b"], name: values}
    with pytest.raises(UserError) as refused:
        read_frame(pl.DataFrame(columns, strict=False), SCHEMA)
    assert str(refused.value).startswith(message)


def test_a_column_of_several_types_is_refused():
    frame = pd.DataFrame({"I1": [1, 2], "I2": [1, 2], "C1": ["a", 7], "C2": ["a", "b"]})
    with pytest.raises(UserError, match=r"^column C1 has values of the types int, str; all text"):
        read_frame(frame, SCHEMA)


@pytest.mark.parametrize("library", [pl.DataFrame, pd.DataFrame])
@pytest.mark.parametrize("missing", [None, math.nan])
def test_a_column_without_any_value_is_missing(library, missing):
    """pandas reads an empty column of a CSV file as NaNs, polars as nulls."""
    frame = library({"I1": [missing] * 2, "I2": [1, 2], "C1": [missing] * 2, "C2": ["a", "b"]})
    assert rows_of(read_frame(frame, SCHEMA)) == [(None, 1, None, "a"), (None, 2, None, "b")]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["a", "b"])])
def test_categories_of_polars_are_text(dtype):
    categories = pl.Series(["b", None, "a"], dtype=dtype)
    frame = pl.DataFrame({"I1": [1, 2, 3], "I2": [1, 2, 3], "C1": categories, "C2": categories})
    assert [row[2:] for row in rows_of(read_frame(frame, SCHEMA))] == [("b", "b"), (None, None), ("a", "a")]


def test_a_column_that_is_there_twice_is_refused():
    frame = pd.DataFrame([[1, 2, "a", "b", "c"]], columns=["I1", "I2", "C1", "C2", "C1"])
    with pytest.raises(UserError, match=r"^the data frame has several columns C1; leave all but one out$"):
        read_frame(frame, SCHEMA)


@pytest.mark.parametrize("line", [None, 7, ["1", "2", "a", "b"]])
def test_a_line_that_is_no_text_is_refused(line):
    with pytest.raises(UserError, match=f"^row 2 is of the type {type(line).__name__}; a row is text or bytes$"):
        read_lines(["1\t2\ta\tb", line], SCHEMA)


def test_a_line_may_be_a_bytearray():
    assert rows_of(read_lines([bytearray(b"3\t-1\ta\t\n")], SCHEMA)) == [EXPECTED[0]]


def test_a_column_that_is_missing_is_named():
    with pytest.raises(UserError, match="has no column C1; a row has I1 to C2"):
        read_frame(pl.DataFrame({"I1": [1], "I2": [1], "C2": ["a"]}), SCHEMA)


def test_categories_that_are_ids_have_a_largest_one():
    schema = FieldSchema.criteo(0, 2, categories_are_ids=True, largest_id=9)
    found = read_frame(pl.DataFrame({"C1": ["0", "9.0"], "C2": ["1", "2"]}), schema)
    assert found["C1"].to_list() == [0, 9] and found["C1"].dtype == pl.Int32
    for wrong in (10, -1, None):
        with pytest.raises(BadRowsError, match=f"row 1: C2 is {wrong}; a category is an id from 0 to 9"):
            read_frame(pl.DataFrame({"C1": [1], "C2": [wrong]}), schema)


@pytest.mark.parametrize("label", ["", "1\t"])
@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\r"])
def test_lines_may_have_a_label_and_an_ending(label, as_bytes, ending):
    lines = [f"{label}{line}{ending}" for line in ("3\t-1\ta\t", "\t1099511627776\té\t05db9164", "0\t\t\tx")]
    found = read_lines([line.encode() for line in lines] if as_bytes else lines, SCHEMA)
    assert rows_of(found) == [*EXPECTED[:2], (0, None, None, "x")]


def test_no_lines_give_no_rows():
    assert read_lines([], SCHEMA).height == 0


def test_each_bad_line_has_its_reason():
    with pytest.raises(BadRowsError) as refused:
        read_lines([b"1\t2\ta\tb", b"1\t2\ta", b"x\t2\ta\tb", b"1\t2\t\xff\tb", b"1\t2\ta\tb\tc"], SCHEMA)
    faults = refused.value.faults
    assert list(faults) == [2, 3, 4, 5] and refused.value.count == 4
    assert "has 3 columns" in faults[2] and 'I1 is "x"' in faults[3] and "not UTF-8" in faults[4]
    assert str(refused.value).endswith("; and 3 more") and "\n" not in str(refused.value)


def test_text_that_is_no_utf8_is_a_bad_row():
    with pytest.raises(BadRowsError, match="line 1: C1 is"):
        read_lines(["1\t2\t\ud800\tb"], SCHEMA)


def test_a_line_within_a_line_is_refused():
    with pytest.raises(BadRowsError, match="row 2: holds a line's end"):
        read_lines(["1\t2\ta\tb", "1\t2\ta\tb\n1\t2\ta\tb"], SCHEMA)


def test_only_the_first_bad_lines_are_listed():
    with pytest.raises(BadRowsError) as refused:
        read_lines(["x"] * 500, SCHEMA)
    assert list(refused.value.faults) == list(range(1, 21)) and refused.value.count == 500


@pytest.mark.parametrize(
    ("widths", "expected"),
    [([5], True), ([4], False), ([4, 5], True), ([5, 4, 4], False), ([1, 9, 4], False), ([], True), ([7], True)],
)
def test_the_more_frequent_width_tells_whether_rows_have_a_label(widths, expected):
    data = b"".join(b"\t" * (width - 1) + b"\n" for width in widths)
    assert rows_have_label(data, SCHEMA) is expected


def test_only_the_first_thousand_lines_count():
    data = b"\t\t\t\n" * 501 + b"\t\t\t\t\n" * 5000
    assert rows_have_label(data, SCHEMA) is False


def test_large_integers_of_any_type_are_exact():
    largest = 2**63 - 1
    for values in ([largest], [str(largest)], np.array([largest], np.uint64)):
        frame = pl.DataFrame({"I1": values, "I2": [None], "C1": [None], "C2": [None]})
        assert read_frame(frame, SCHEMA)["I1"].to_list() == [largest]
    with pytest.raises(BadRowsError, match="row 1: I1 is 9223372036854775808"):
        read_frame(pl.DataFrame({"I1": np.array([2**63], np.uint64), "I2": [1], "C1": ["a"], "C2": ["a"]}), SCHEMA)
