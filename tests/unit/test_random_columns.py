# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.random_columns import Streams, find_bias, hexadecimal_texts, second_order, sigmoid, zipf
from tests import oracles


def test_texts_of_a_column_differ():
    popularity = np.arange(300_000, dtype=np.uint32)
    assert hexadecimal_texts(2, popularity).n_unique() == 300_000


def test_streams_differ_and_do_not_depend_on_how_they_are_taken():
    by_two, by_one = Streams(3), Streams(3)
    taken = [*by_two.take(2), *by_two.take(2)]
    assert taken == [by_one.take(1)[0] for _ in range(4)]
    assert len(set(taken)) == 4


def test_values_follow_zipfs_law():
    # P(value < k) = log(k + 1) / log(cardinality + 1); with a tail of one half, half of it and half of k / cardinality.
    index = np.arange(100_000, dtype=np.uint64)
    streams = Streams(1).take(2)
    head = np.log(10) / np.log(1001)
    assert (zipf(streams, index, 1000, 0) < 9).mean() == pytest.approx(head, abs=0.007)  # four standard deviations
    assert (zipf(streams, index, 1000, 0.5) < 9).mean() == pytest.approx(0.5 * head + 0.0045, abs=0.007)


def test_second_order_sums_the_products_of_all_pairs():
    vectors = list(np.random.default_rng(1).normal(size=(4, 3, 2)))
    for row in range(3):
        assert second_order(vectors)[row] == pytest.approx(oracles.second_order([vector[row] for vector in vectors]))


def test_the_bias_gives_the_click_rate():
    logits = np.random.default_rng(2).normal(size=1000)
    assert sigmoid(find_bias(logits, 0.03) + logits).mean() == pytest.approx(0.03, abs=1e-6)
