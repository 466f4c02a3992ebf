# SPDX-License-Identifier: Apache-2.0
"""Columns of random values, each cell a function of (seed, row, column), and the parts of a click model of them."""

import numpy as np
import polars as pl

from src.common.splitmix import splitmix64, to_unit_interval
from src.preprocessing.raw_columns import to_texts

LARGE_CARDINALITY = 50_000
TAIL_FRACTION = 0.45  # of the rows of a column of large cardinality: drawn evenly from all its values


class Streams:
    """Streams of random numbers, each named by the seed of its own."""

    def __init__(self, seed: int):
        self._seed, self._taken = seed, 0

    def take(self, count: int) -> np.ndarray:
        """Return the next streams, uint64 [count]."""
        self._taken += count
        return splitmix64(self._seed, np.arange(self._taken - count, self._taken, dtype=np.uint64))

    def normal_parameters(self, *shape: int) -> np.ndarray:
        """Draw standard normal values of this shape, from streams of their own."""
        index = np.arange(np.prod(shape), dtype=np.uint64)
        return normal(self.take(2), index).reshape(shape)


def uniform(stream: np.uint64, index: np.ndarray) -> np.ndarray:
    """Draw uniform values of [0, 1), [n].  index: uint64 [n], as that of the rows."""
    return to_unit_interval(splitmix64(int(stream), index))


def normal(streams: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Draw standard normal values [n], of two streams, by the method of Box and Muller."""
    radius = np.sqrt(-2 * np.log1p(-uniform(streams[0], index)))
    return radius * np.cos(2 * np.pi * uniform(streams[1], index))


def zipf(streams: np.ndarray, index: np.ndarray, cardinality: int, tail_fraction: float) -> np.ndarray:
    """Draw values by Zipf's law, of two streams: int64 [n], 0 for the most frequent one.

    tail_fraction: of the values: drawn evenly from all.
    """
    position = uniform(streams[0], index)
    popularity = np.exp(position * np.log(cardinality + 1)).astype(np.int64) - 1
    if tail_fraction:
        tail = uniform(streams[1], index) < tail_fraction
        popularity[tail] = (position[tail] * cardinality).astype(np.int64)
    return np.minimum(popularity, cardinality - 1)


def tail_fraction_of(cardinality: int) -> float:
    """Return the fraction of the rows that the long tail of a column has, 0 if its cardinality is not large."""
    return TAIL_FRACTION if cardinality > LARGE_CARDINALITY else 0.0


def hexadecimal_texts(field: int, popularity: np.ndarray) -> pl.Series:
    """Map popularities, uint32 [n], to 8 hex digits each; a bijection for each field (the finaliser of MurmurHash3)."""
    codes = popularity + np.uint32(0x9E3779B9 * (field + 1) & 0xFFFFFFFF)
    codes ^= codes >> np.uint32(16)
    codes *= np.uint32(0x85EBCA6B)
    codes ^= codes >> np.uint32(13)
    codes *= np.uint32(0xC2B2AE35)
    codes ^= codes >> np.uint32(16)
    return to_texts(pl.Series(codes))


def look_up(table: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """Return the table's row for each popularity, and zeros for one that the table does not hold."""
    padded = np.concatenate([table, np.zeros_like(table[:1])])
    return padded[np.where((popularity >= 0) & (popularity < len(table)), popularity, len(table))]


def second_order(vectors: list[np.ndarray]) -> np.ndarray:
    """Return the sum of the inner products of all pairs of vectors of a row, [n].

    vectors: of each field, [n, D].
    """
    square_of_sum = np.square(sum(vectors))
    sum_of_squares = sum(np.square(vector) for vector in vectors)
    return 0.5 * (square_of_sum - sum_of_squares).sum(axis=1)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of logits."""
    return 1 / (1 + np.exp(-logits))


def find_bias(logits: np.ndarray, click_rate: float) -> float:
    """Return the bias that makes click_rate the mean probability of rows with these logits, by bisection."""
    low, high = -20.0, 20.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if sigmoid(middle + logits).mean() < click_rate else (low, middle)
    return low
