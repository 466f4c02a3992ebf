# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest

from src.preprocessing.schema_inference.cell_lists import list_separator, text_lists


@pytest.mark.parametrize(
    ("values", "file_separator", "separator"),
    [
        (["a|b", "c", "a|b|c"], ",", "|"),
        (["a|b", "c", "a|b|c"], "|", ""),  # a cell cannot hold it
        (["a,b", "b,c", "a,c", "a,b,c"], ",", ","),  # in quotes
        (["12 7", "7 9 12", "9", "12"], "\t", " "),
        (["new york", "new delhi", "york", "new"], "\t", ""),  # prose
        (["a, b", "b, c", "a, b, c"], "\t", ""),
        (["300|250", "728|90", "300|90"], "\t", ""),  # two each: the form of one value
        (["0.5|0.25", "0.1|0.7|0.3"], "\t", ""),  # a vector
        (['["a","b","a"]', '["a"]', '["b"]'], "\t", ""),
        (["a;b", "c;d;e", "f"], "\t", ""),  # more values than cells
        (["a"] * 19 + ["a|b|c"], "\t", ""),  # in one cell of twenty
    ],
)
def test_cells_are_lists_if_many_hold_values_that_recur(values, file_separator, separator):
    assert list_separator(pl.Series(values), file_separator) == separator


@pytest.mark.parametrize(
    ("lists", "texts", "separator"),
    [
        (pl.Series([["a", "b"], None, []]), ["a|b", None, ""], "|"),
        (pl.Series([["a|b"], ["c", "d"]]), ["a|b", "c;d"], ";"),
        (pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)), ["1|2", "3|4"], "|"),
        (pl.Series([[0.5], None]), ["List(Float64)", None], ""),
        (pl.Series([["|;, "]]), ["List(String)"], ""),
    ],
)
def test_lists_of_parquet_are_joined_by_a_character_that_they_lack(lists, texts, separator):
    found, form = text_lists(lists)
    assert (found.to_list(), form) == (texts, separator)
