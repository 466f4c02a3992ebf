# SPDX-License-Identifier: Apache-2.0
import math
from collections import Counter

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from src.preprocessing.raw_columns import MISSING
from src.preprocessing.value_counts import count_values

INTEGERS = st.lists(st.sampled_from([None, 0, -1, 7, 2**31 - 1]), max_size=12).map(
    lambda values: pl.Series(values, dtype=pl.Int32).fill_null(MISSING[pl.Int32])
)
WIDE_INTEGERS = st.lists(st.sampled_from([None, 0, -1, 2**31, -(2**31)]), max_size=12).map(
    lambda values: pl.Series(values, dtype=pl.Int64).fill_null(MISSING[pl.Int64])
)
CODES = st.lists(st.sampled_from([None, 0, 255, 2**32 - 2]), max_size=12).map(
    lambda values: pl.Series(values, dtype=pl.UInt32).fill_null(MISSING[pl.UInt32])
)
TEXTS = st.lists(st.sampled_from(["", "x", "ffffffff", "000000ff", "000000FF", "fffffffe", "é"]), max_size=12).map(
    lambda values: pl.Series(values, dtype=pl.String)
)
FLOATS = st.lists(st.sampled_from([math.nan, 0.0, -1.5, 0.1, 5e-324, 1e300, 2.0**53]), max_size=12).map(
    lambda values: pl.Series(values, dtype=pl.Float64)
)


def plain(chunk):
    """Return the values of a chunk as numbers or text, None where there is none."""
    cells = [None if isinstance(value, float) and math.isnan(value) else value for value in chunk.to_list()]
    values = [None if value == MISSING[chunk.dtype] else value for value in cells]
    return [f"{value:08x}" if chunk.dtype == pl.UInt32 and value is not None else value for value in values]


@given(
    chunks=st.one_of(
        *(st.lists(st.one_of(*kinds), min_size=1) for kinds in ((INTEGERS, WIDE_INTEGERS), (CODES, TEXTS), (FLOATS,)))
    ),
    threshold=st.integers(0, 3),
    max_batch=st.integers(1, 30),
)
def test_counts_agree_with_a_counter(chunks, threshold, max_batch):
    expected = Counter(value for chunk in chunks for value in plain(chunk))
    counts = count_values(chunks, threshold, max_batch)
    assert counts.missing == expected.pop(None, 0)
    assert counts.distinct == len(expected)
    got = counts.frequent.rows()
    assert len(got) == len(dict(got))
    assert dict(got) == {value: count for value, count in expected.items() if count > threshold}


def test_no_values_are_a_frame_of_text_without_rows():
    counts = count_values([pl.Series([math.nan] * 3)], 0, 2)
    assert (counts.frequent.height, counts.distinct, counts.missing, counts.total) == (0, 0, 3, 3)
