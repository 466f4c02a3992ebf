# SPDX-License-Identifier: Apache-2.0
"""The bucket and the bin of an integer x of 64 bits.

Bucket: floor(ln(x)^2) above 2, else x itself, as in published benchmarks.  It is 1 for 3 and 4, and 2 for 5, so these
share a bucket with 1 and 2, which are far more frequent.
Bin: the smallest of the integers above 2 that have the same floor(ln(x)^2), else x itself.
"""

import decimal
import functools
import itertools
from collections.abc import Callable

import numpy as np
import polars as pl

from src.preprocessing.value_counts import COUNT, VALUE

BUCKET_DIGITS = 50  # of the decimals that tell apart all buckets of 64-bit integers


def bucket_of(integers: np.ndarray) -> np.ndarray:
    """Return the buckets, int64 [n], of integers [n]."""
    return np.where(integers > 2, np.searchsorted(bucket_starts(), integers, side="right"), integers)


def bin_of(integers: np.ndarray) -> np.ndarray:
    """Return the bins, int64 [n], of integers [n]."""
    last_starts = np.searchsorted(bucket_starts(), integers, side="right") - 1
    return np.where(integers > 2, bucket_starts()[last_starts], integers)


@functools.cache
def bucket_starts() -> np.ndarray:
    """Return the smallest int64 of each bucket from 1 on.

    They are exact.  Logarithms in float64 would be one bucket off near some of them, from 2,416,049,438,547 on.
    """
    with decimal.localcontext() as context:
        context.prec = BUCKET_DIGITS
        starts = (int(decimal.Decimal(bucket).sqrt().exp()) + 1 for bucket in itertools.count(1))
        return np.array(list(itertools.takewhile(lambda start: start < 2**63, starts)))


def count_buckets(counts: pl.DataFrame, function: Callable[[np.ndarray], np.ndarray]) -> pl.DataFrame:
    """Return the counts of buckets, as text, from the counts of integers; function: bucket_of or bin_of."""
    buckets = pl.Series(VALUE, function(counts[VALUE].cast(pl.Int64).to_numpy()))
    return counts.with_columns(buckets).group_by(VALUE).agg(pl.col(COUNT).sum()).cast({VALUE: pl.String})
