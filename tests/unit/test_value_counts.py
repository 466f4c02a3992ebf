# SPDX-License-Identifier: Apache-2.0
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


def plain(piece):
    """Return the values of a piece as integers or text, None where there is none."""
    values = [None if value == MISSING[piece.dtype] else value for value in piece.to_list()]
    return [f"{value:08x}" if piece.dtype == pl.UInt32 and value is not None else value for value in values]


@given(
    pieces=st.lists(st.one_of(INTEGERS, WIDE_INTEGERS), min_size=1) | st.lists(st.one_of(CODES, TEXTS), min_size=1),
    threshold=st.integers(0, 3),
    at_once=st.integers(1, 30),
)
def test_counts_agree_with_a_counter(pieces, threshold, at_once):
    expected = Counter(value for piece in pieces for value in plain(piece))
    counts = count_values(pieces, threshold, at_once)
    assert counts.missing == expected.pop(None, 0)
    assert counts.distinct == len(expected)
    got = counts.frequent.rows()
    assert len(got) == len(dict(got))
    assert dict(got) == {value: count for value, count in expected.items() if count > threshold}
