# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from src.preprocessing.schema_inference.column_types import describe_column
from src.preprocessing.schema_inference.label import find_label


def label_of(**columns):
    return find_label([describe_column(pl.Series(name, cells)) for name, cells in columns.items()])


@pytest.mark.parametrize(
    ("columns", "name", "clicks", "fraction"),
    [
        ({"is_new": ["0", "1"], "Click": ["0", "0"]}, "Click", (), 0),
        ({"click": ["0", "1"], "label": ["0", "1"]}, "label", (), 1 / 2),
        ({"target": ["a.com", "b.com"], "c2": ["1", "0"]}, "c2", (), 1 / 2),  # the name alone is not enough
        ({"c1": ["1", "1"], "c2": ["-1", "1"], "c3": ["0", "1"]}, "c2", ("1",), 1 / 2),
        ({"label": ["-1", "-1"]}, "label", ("1",), 0),
        ({"label": [-1.0, 1.0, 1.0]}, "label", ("1.0",), 2 / 3),
        ({"label": [True, False, None]}, "label", (), 1 / 2),
        ({"click": ["yes", "no", "no", "No"]}, "click", ("yes",), 1 / 4),
        ({"clicks": ["0", "0", "3", "1"]}, "clicks", ("1", "3"), 1 / 2),
    ],
)
def test_the_label_is_found_by_its_name_then_by_its_values(columns, name, clicks, fraction):
    label = label_of(**columns)
    assert (label.column.name, label.clicks, label.click_fraction) == (name, clicks, fraction)


def test_other_columns_of_0_and_1_are_named():
    assert label_of(a=["0", "1"], b=["1", "0"], c=["x", "y"]).reason.endswith("; it may also be b")


@pytest.mark.parametrize("cells", [["0", "0"], ["0", "1", None], ["0", "1", "2"], ["true", "false"]])
def test_without_a_name_a_label_is_0_and_1_in_each_row(cells):
    assert label_of(c1=cells) is None
