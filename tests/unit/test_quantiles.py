# SPDX-License-Identifier: Apache-2.0
import bisect
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.preprocessing.quantiles import BUCKETS, count_quantiles, fit_edges, quantile_of
from src.preprocessing.value_counts import COUNT, VALUE
from tests.plain_encoder import edges_of

NUMBERS = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, 5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 0.1, 1e300]),
    st.integers(-3, 3).map(float),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.0),
)


def counts_of(numbers, seed=0):
    """Return the counts of numbers, in a random order."""
    counts = list(Counter(numbers).items())
    order = np.random.default_rng(seed).permutation(len(counts))
    values, times = zip(*(counts[index] for index in order)) if counts else ((), ())
    return pl.DataFrame({VALUE: values, COUNT: times}, schema={VALUE: pl.Float64, COUNT: pl.Int64})


@settings(max_examples=150, deadline=None)
@given(numbers=st.lists(NUMBERS, max_size=300), seed=st.integers(0, 9))
def test_the_edges_are_those_of_the_sorted_rows(numbers, seed):
    assert fit_edges(counts_of(numbers, seed)) == edges_of(numbers)


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 1000, 12_345])
def test_the_edges_of_different_values_and_of_ties(count):
    numbers = np.random.default_rng(1).normal(0, 1, count).tolist()
    assert fit_edges(counts_of(numbers)) == edges_of(numbers)
    ties = np.random.default_rng(2).integers(0, 7, count).astype(float).tolist()
    assert fit_edges(counts_of(ties)) == edges_of(ties)


def test_the_buckets_of_different_values_have_about_equally_many_rows():
    numbers = np.random.default_rng(3).lognormal(0, 2, 10_000)
    buckets = Counter(quantile_of(numbers, fit_edges(counts_of(numbers.tolist()))).tolist())
    assert buckets == dict.fromkeys(range(BUCKETS), 100)


def test_a_value_of_most_rows_is_a_bucket_of_its_own():
    # Of 1,000 rows 900 are 0: the 5 % below and the 5 % above it keep their buckets of ten rows each.
    numbers = [*(-float(number) for number in range(1, 51)), *[0.0] * 900, *map(float, range(1, 51))]
    edges = fit_edges(counts_of(numbers))
    assert edges == [-40, -30, -20, -10, 0, 1, 11, 21, 31, 41]


@pytest.mark.parametrize("numbers", [[], [7.5], [0.0] * 40])
def test_without_two_values_there_is_one_bucket(numbers):
    edges = fit_edges(counts_of(numbers))
    assert edges == []
    assert quantile_of(np.array([-1.0, 7.5, 1e300]), edges).tolist() == [0, 0, 0]


def test_a_column_without_values_has_the_counts_of_no_text():
    nothing = pl.DataFrame(schema={VALUE: pl.String, COUNT: pl.Int64})  # as count_values gives them
    assert fit_edges(nothing) == []
    counted = count_quantiles(nothing, [])
    assert (counted.height, counted.schema) == (0, {VALUE: pl.String, COUNT: pl.Int64})


@settings(max_examples=100, deadline=None)
@given(numbers=st.lists(NUMBERS, min_size=1), edges=st.lists(NUMBERS, unique=True).map(sorted))
def test_a_value_is_in_the_bucket_of_the_last_edge_that_is_not_larger(numbers, edges):
    expected = [bisect.bisect_right(edges, number) for number in numbers]
    assert quantile_of(np.array(numbers), edges).tolist() == expected
    counted = count_quantiles(counts_of(numbers), edges)
    assert dict(counted.rows()) == {str(bucket): count for bucket, count in Counter(expected).items()}
