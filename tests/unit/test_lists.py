# SPDX-License-Identifier: Apache-2.0
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.preprocessing.lists import counted_values, longest_list, split_lists
from tests.plain_encoder import values_of

CELLS = st.lists(
    st.one_of(st.sampled_from(["", "|", "||", "a", "|a", "a|", "a||b", "a|a", " ", "é|中文", "05db9164|ffffffff"]),
              st.text("ab |\x00", max_size=9)), max_size=20)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(cells=CELLS)
def test_the_values_of_all_cells_in_their_order(cells):
    column = pl.Series("tags", cells, dtype=pl.String)
    rows, values = split_lists(column, "|")
    expected = [(row, value) for row, cell in enumerate(cells) for value in cell.split("|") if value]
    assert list(zip(rows.tolist(), values.to_list())) == expected
    assert values.dtype == pl.String
    per_row = Counter(row for row, _ in expected)
    assert longest_list(column, "|") == max(per_row.values(), default=0)
    counted = counted_values(column, {"tags": "|"})
    assert Counter(counted.to_list()) == Counter(value for cell in cells for value in values_of(cell, "|"))
    assert (counted.name, counted.dtype) == ("tags", pl.String)


@pytest.mark.parametrize("separator", [".", "*", "\\", "$", "[", " ", ";"])
def test_a_separator_is_no_pattern(separator):
    _, values = split_lists(pl.Series(["a|b" + separator + "c"]), separator)
    assert values.to_list() == ["a|b", "c"]


def test_other_columns_are_counted_as_they_are():
    column = pl.Series("brand", ["a|b", ""])
    assert counted_values(column, {"tags": "|"}) is column


def test_a_cell_of_ten_thousand_values():
    column = pl.Series(["", "|".join(f"v{number}" for number in range(10_000)), "x"])
    rows, values = split_lists(column, "|")
    assert longest_list(column, "|") == 10_000
    assert rows.tolist() == [1] * 10_000 + [2] and values[-2:].to_list() == ["v9999", "x"]
