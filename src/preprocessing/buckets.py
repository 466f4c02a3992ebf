# SPDX-License-Identifier: Apache-2.0
"""The bucket of an integer x of 64 bits: floor(ln(x)^2) above 2, else x itself."""

import decimal
import functools
import itertools

import numpy as np
import polars as pl

from src.preprocessing.value_counts import COUNT, VALUE

BUCKET_DIGITS = 50  # of the decimals that tell apart all buckets of 64-bit integers


def bucket_of(integers: np.ndarray) -> np.ndarray:
    """Return the buckets, int64 [n], of integers [n]."""
    return np.where(integers > 2, np.searchsorted(bucket_starts(), integers, side="right"), integers)


@functools.cache
def bucket_starts() -> np.ndarray:
    """Return the smallest int64 of each bucket from 1 on.

    They are exact.  Logarithms in float64 would be one bucket off near some of them, from 2,416,049,438,547 on.
    """
    with decimal.localcontext() as context:
        context.prec = BUCKET_DIGITS
        starts = (int(decimal.Decimal(bucket).sqrt().exp()) + 1 for bucket in itertools.count(1))
        return np.array(list(itertools.takewhile(lambda start: start < 2**63, starts)))


def count_buckets(counts: pl.DataFrame) -> pl.DataFrame:
    """Return the counts of buckets, as text, from the counts of integers."""
    buckets = pl.Series(VALUE, bucket_of(counts[VALUE].cast(pl.Int64).to_numpy()))
    return counts.with_columns(buckets).group_by(VALUE).agg(pl.col(COUNT).sum()).cast({VALUE: pl.String})
