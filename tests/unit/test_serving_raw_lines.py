# SPDX-License-Identifier: Apache-2.0
"""Tensors to the lines of a log."""

import math

import pytest

from src.package.rows import BadRowsError, read_lines
from src.preprocessing.schema import FieldSchema, TextFormat
from src.serving.infer_request import BYTES, FP64, INT64, SMALLEST_INT64, Tensor
from src.serving.raw_lines import to_lines
from src.serving.request_errors import MalformedRows, RequestError

SCHEMA = FieldSchema.criteo(2, 1)


def lines_of(*tensors, schema=SCHEMA):
    return to_lines(list(tensors), schema)


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


def test_columns_become_a_row_of_the_log_that_the_schema_describes():
    schema = FieldSchema(("I1",), ("C1",), file_columns=("C1", "skipped", "label", "I1"), text=TextFormat(","))
    lines = lines_of(Tensor("I1", INT64, [3, 4]), Tensor("C1", BYTES, [b"a,b", b'"c"\t']), schema=schema)
    assert lines == [b'"a,b",,3', b'"""c""\t",,4']
    bars = FieldSchema(("I1",), ("C1",), text=TextFormat("|"))
    with pytest.raises(MalformedRows) as error:
        lines_of(Tensor("I1", INT64, [3, 4]), Tensor("C1", BYTES, [b"a,b", b"a|b"]), schema=bars)
    assert error.value.faults == {2: "row 2: C1 holds | or a newline"}


SHOP = FieldSchema(
    ("age",), ("brand",), ("price",), ("tags",), ("|",), weight_name="w", text=TextFormat(",", missing=("NULL",)),
    file_columns=("w", "price", "tags", "click", "age", "brand"), label_name="click",
)  # fmt: skip


def test_floats_and_multi_valued_columns_become_cells_that_are_read_as_they_were():
    prices = [0.1, -0.0, 5e-324, 1.7976931348623157e308, math.nan, 1e22]
    tags = [b"a|b", b"", b"x,y|z", b"|", b"NULL", "é".encode()]
    lines = lines_of(
        Tensor("tags", BYTES, tags), Tensor("price", FP64, prices), Tensor("brand", BYTES, [b"a"] * 6),
        Tensor("age", INT64, [1] * 6), schema=SHOP,
    )  # fmt: skip
    frame = read_lines(lines, SHOP.to_score(0))
    assert frame["price"].to_list()[:4] == [0.1, 0.0, 5e-324, 1.7976931348623157e308]
    assert math.isnan(frame["price"][4]) and frame["price"][5] == 1e22
    assert frame["tags"].to_list() == ["a|b", "", "x,y|z", "|", "", "é"]
    assert lines_of(*columns_of(price=Tensor("price", BYTES, [b"1e-3"])), schema=SHOP) == [b",1e-3,a,1,b"]


def columns_of(**others):
    columns = {
        "age": Tensor("age", INT64, [1]),
        "price": Tensor("price", FP64, [0.5]),
        "brand": Tensor("brand", BYTES, [b"b"]),
        "tags": Tensor("tags", BYTES, [b"a"]),
    }
    return list({**columns, **others}.values())


@pytest.mark.parametrize(
    ("tensor", "part"),
    [
        (Tensor("price", INT64, [1]), "input price: its datatype must be FP64 or BYTES"),
        (Tensor("age", FP64, [1.0]), "input age: its datatype must be INT64 or BYTES"),
        (Tensor("tags", INT64, [1]), "input tags: its datatype must be BYTES"),
        (Tensor("brand", FP64, [1.0]), "input brand: its datatype must be BYTES"),
        (Tensor("price", FP64, [1.0, 2.0]), "same number"),
    ],
)
def test_a_column_of_another_type_is_refused(tensor, part):
    with pytest.raises(RequestError, match=part):
        lines_of(*columns_of(**{tensor.name: tensor}), schema=SHOP)


def test_an_infinite_float_is_a_malformed_row():
    (line,) = lines_of(*columns_of(price=Tensor("price", FP64, [math.inf])), schema=SHOP)
    with pytest.raises(BadRowsError, match='price is "inf"; a float is a finite number'):
        read_lines([line], SHOP.to_score(0))
