# SPDX-License-Identifier: Apache-2.0
import numpy as np
import polars as pl
import pytest

from src.preprocessing.buckets import bin_of, bucket_of, bucket_starts, count_buckets
from tests import oracles


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(-3, -3), (0, 0), (1, 1), (2, 2), (3, 1), (8, 4), (100, 21), (23159456, 287)],
)
def test_buckets_by_hand(value, bucket):
    # ln(3)^2 = 1.2, ln(8)^2 = 4.3, ln(100)^2 = 21.2, ln(23159456)^2 = 287.6
    assert bucket_of(np.array([value])).tolist() == [bucket]


@pytest.mark.parametrize(
    ("value", "bin_"),
    [(-(2**63), -(2**63)), (-3, -3), (0, 0), (2, 2), (3, 3), (4, 3), (5, 5), (6, 6), (7, 6), (8, 8), (9, 8), (10, 10),
     (12, 12), (14, 12), (15, 15), (100, 98)],
)  # fmt: skip
def test_bins_by_hand(value, bin_):
    assert bin_of(np.array([value])).tolist() == [bin_]


def test_every_bin_is_the_smallest_integer_of_its_bucket():
    starts = bucket_starts()
    integers = np.unique(np.concatenate([starts - 1, starts, starts + 1, np.arange(-5, 2000)]))
    assert bin_of(integers).tolist() == [int(oracles.bin_of(integer)) for integer in integers.tolist()]


def test_every_bucket_of_64_bit_integers_begins_where_exact_arithmetic_says():
    starts = bucket_starts()
    assert len(starts) == int(oracles.bucket(2**63 - 1)) == 1906
    for number, start in enumerate(starts.tolist(), 1):
        assert (oracles.bucket(start - 1), oracles.bucket(start)) == (str(number - 1 if start > 3 else 2), str(number))
    edges = np.unique(np.concatenate([starts - 1, starts]))
    assert bucket_of(edges).tolist() == [int(oracles.bucket(edge)) for edge in edges.tolist()]


def test_counts_of_integers_become_counts_of_their_buckets():
    # ln(7)^2 = 3.8 and ln(6)^2 = 3.2 are in bucket 3; -1 and 2 are their own buckets.
    counts = count_buckets(pl.DataFrame({"value": [7, 6, -1, 2], "count": [10, 5, 2, 1]}), bucket_of)
    assert dict(counts.rows()) == {"3": 15, "-1": 2, "2": 1}


def test_counts_of_integers_become_counts_of_their_bins():
    counts = count_buckets(pl.DataFrame({"value": [7, 6, 1, 3, 4], "count": [10, 5, 2, 1, 7]}), bin_of)
    assert dict(counts.rows()) == {"6": 15, "1": 2, "3": 8}
