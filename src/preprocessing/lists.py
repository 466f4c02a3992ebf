# SPDX-License-Identifier: Apache-2.0
"""Multi-valued categories: the values in each cell, whose order is kept; empty ones are left out."""

import numpy as np
import polars as pl

MOST_VALUES = 64  # of a row that a model uses, the first ones: each takes the memory of an embedding


def split_lists(column: pl.Series, separator: str) -> tuple[np.ndarray, pl.Series]:
    """Return the values of all cells, and the row of each, int64, in rising order."""
    lists = column.str.split(separator)
    rows = np.repeat(np.arange(len(column)), lists.list.len().to_numpy())
    values = lists.explode()
    is_value = (values != "").to_numpy()
    return rows[is_value], values.filter(is_value)


def counted_values(column: pl.Series, separators: dict[str, str]) -> pl.Series:
    """Return the values of a column that are counted: those in all cells, and an empty text for each cell without one.

    separators: of the multi-valued categories, by name; of any other column each cell is a value.
    """
    if column.name not in separators:
        return column
    rows, values = split_lists(column, separators[column.name])
    missing = len(column) - len(np.unique(rows))
    return pl.concat([values, pl.Series(column.name, [""] * missing, dtype=pl.String)])


def longest_list(column: pl.Series, separator: str) -> int:
    """Return the largest number of values in a cell."""
    rows, _ = split_lists(column, separator)
    return int(np.bincount(rows, minlength=1).max())
