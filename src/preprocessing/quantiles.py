# SPDX-License-Identifier: Apache-2.0
"""The buckets of a column of floats: about equally many rows of the training set in each."""

import numpy as np
import polars as pl

from src.preprocessing.value_counts import COUNT, VALUE

BUCKETS = 100  # at most


def fit_edges(counts: pl.DataFrame) -> list[float]:
    """Return the smallest value of each bucket but the first, in rising order, from the counts of the values.

    Bucket k of BUCKETS ends with the value at which k / BUCKETS of the rows are reached; a value is in one bucket.
    """
    ordered = counts.cast({VALUE: pl.Float64}).sort(VALUE)
    values, reached = ordered[VALUE].to_numpy(), np.cumsum(ordered[COUNT].to_numpy())
    if not len(values):
        return []
    # In whole numbers: at the k-th bucket's end BUCKETS * reached >= k * rows.
    last = np.searchsorted(BUCKETS * reached, np.arange(1, BUCKETS) * reached[-1])
    starts = np.unique(last) + 1
    return values[starts[starts < len(values)]].tolist()


def quantile_of(numbers: np.ndarray, edges: list[float]) -> np.ndarray:
    """Return the buckets, int64 [n], of finite floats [n]: the number of edges that are not larger."""
    return np.searchsorted(np.array(edges, np.float64), numbers, side="right")


def count_quantiles(counts: pl.DataFrame, edges: list[float]) -> pl.DataFrame:
    """Return the counts of buckets, as text, from the counts of floats."""
    buckets = pl.Series(VALUE, quantile_of(counts[VALUE].cast(pl.Float64).to_numpy(), edges))
    return counts.with_columns(buckets).group_by(VALUE).agg(pl.col(COUNT).sum()).cast({VALUE: pl.String})
