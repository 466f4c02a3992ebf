# SPDX-License-Identifier: Apache-2.0
import datetime
import decimal

import polars as pl
import pytest

from src.preprocessing.schema_inference.column_types import Kind, describe_column, find_missing_texts


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["5", "-3", None], Kind.INTEGER),
        (["3.0", "1e2"], Kind.INTEGER),  # as pandas and Spark write integers
        (["3.5", "4", "1e-2"], Kind.FLOAT),
        (["10000000000000000000", "5"], Kind.TEXT),  # 20 digits: not of 64 bits
        (["5", "x"], Kind.TEXT),
        ([" 5", " 6"], Kind.TEXT),  # which the reader of integers refuses
        (["inf", "1.5"], Kind.TEXT),
        (["2014-10-21"], Kind.TIME),
        (["a|b", "a|c|b", "c"], Kind.LIST),
        ([None, "", "NULL"], Kind.EMPTY),
        ([1, 2], Kind.INTEGER),
        ([1.0, None], Kind.INTEGER),
        ([1.5, float("nan")], Kind.FLOAT),
        ([decimal.Decimal("1.5")], Kind.FLOAT),
        ([float("nan")], Kind.EMPTY),
        ([True, False], Kind.TEXT),
        ([datetime.date(2014, 10, 21)], Kind.TIME),
        ([["a"], ["b", "c"]], Kind.LIST),
        ([[0.5]], Kind.OTHER),
        ([{"a": 1}, None], Kind.OTHER),
        ([b"\xff"], Kind.OTHER),
    ],
)
def test_the_type_is_that_of_all_values(cells, kind):
    assert describe_column(pl.Series("c", cells), ["NULL"]).kind is kind


def test_values_are_counted():
    column = describe_column(pl.Series("c", ["007", "7", "007", "NA", None]), ["NA"])
    assert (column.rows, column.missing, column.distinct, column.counts) == (5, 2, 2, {"007": 2, "7": 1})
    assert (column.examples, column.smallest, column.largest) == (("007", "7"), 7, 7)
    assert column.has_leading_zeros
    assert not column.are_all_different
    many = describe_column(pl.Series("c", range(101)))
    assert (many.distinct, many.counts, many.largest) == (101, {}, 100)
    assert many.are_all_different


def test_a_text_between_numbers_is_told():
    assert describe_column(pl.Series("c", ["5"] * 95 + ["none yet"] * 5)).stray == "none yet"
    assert describe_column(pl.Series("c", ["5"] * 94 + ["none yet"] * 6)).stray == ""


def test_missing_values_have_the_texts_that_logs_use():
    frame = pl.DataFrame({"a": ["NULL", "x", r"\N"], "b": ["NaN", "nano", None], "c": [1, 2, 3]})
    assert find_missing_texts(frame) == ("NULL", "NaN", r"\N")
