# SPDX-License-Identifier: Apache-2.0
import datetime

import polars as pl
import pytest

from src.preprocessing.schema_inference.column_types import describe_column
from src.preprocessing.schema_inference.roles import assign_roles

ROWS = 20
DIFFERENT = [f"u{row}" for row in range(ROWS)]


def keys_of(**columns):
    roles = assign_roles([describe_column(pl.Series(name, cells)) for name, cells in columns.items()])
    return [role.key for role in roles.others]


@pytest.mark.parametrize(
    ("name", "cells", "key"),
    [
        ("a", [row // 2 for row in range(ROWS)], "integers"),
        ("a", [row % 2 + 5 for row in range(ROWS)], "categories"),  # 2 values in 20 rows
        ("a", [row % 3 for row in range(ROWS)], "integers"),  # 3 are more than one in ten rows
        ("user_id", [row // 2 for row in range(ROWS)], "categories"),
        ("userId", [row // 2 for row in range(ROWS)], "categories"),
        ("paid", [row // 2 for row in range(ROWS)], "integers"),
        ("a", [f"00{row // 2}" for row in range(ROWS)], "categories"),
        ("user_id", [float(row // 2) for row in range(ROWS)], "integers"),  # categories are not floats
        ("a", [row / 8 for row in range(ROWS)], "floats"),
        ("a", ["x", "y"] * (ROWS // 2), "categories"),
        ("a", DIFFERENT, "ignored"),
        ("a", [*DIFFERENT[1:], None], "categories"),
        ("a", list(range(7, 7 + ROWS)), "ignored"),  # a count of the rows
        ("a", [row * row for row in range(ROWS)], "integers"),
        ("a", [3 * 10**9 + row * row for row in range(ROWS)], "ignored"),
        ("a", [str(10**19 + row) for row in range(ROWS)], "ignored"),
        ("a", [str(10**19 + row // 2) for row in range(ROWS)], "categories"),
        ("a", [None] * ROWS, "ignored"),
        ("a", [{"x": 1}] * ROWS, "ignored"),
        ("a", [["x"], ["y", "z"]] * (ROWS // 2), "multi_valued"),
        ("day", [datetime.date(2014, 10, 21)] * ROWS, "time"),
        ("Sample_Weight", [0.5, 1.0] * (ROWS // 2), "weight"),
        ("weight", ["light", "heavy"] * (ROWS // 2), "categories"),
    ],
)
def test_a_key_follows_from_the_values_and_the_name(name, cells, key):
    assert keys_of(**{name: cells}) == [key]


def test_ten_rows_that_all_differ_are_the_least_that_make_an_id():
    assert (keys_of(a=DIFFERENT[:10]), keys_of(a=DIFFERENT[:9])) == (["ignored"], ["categories"])


def test_a_second_label_time_or_weight_is_ignored():
    assert keys_of(label=[0, 1], click=[1, 1], day=["2014-10-21"] * 2, ts=["2014-10-21"] * 2) == [
        "ignored", "time", "ignored",
    ]  # fmt: skip
