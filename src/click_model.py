# SPDX-License-Identifier: Apache-2.0
"""A click model with known parameters, and rows that look like Criteo's.

The cardinalities of the 26 categories are those published for the Kaggle Display Advertising Challenge, of 45,840,617
rows.  Values follow Zipf's law; columns of many values have a long tail of rare ones.  Integers are lognormal.

Every cell is a function of (seed, row, column), so rows can be drawn in chunks of any size.
"""

import dataclasses

import numpy as np
import polars as pl

from src.common.splitmix import splitmix64, to_unit_interval
from src.preprocessing.raw_columns import to_texts


@dataclasses.dataclass(frozen=True)
class IntegerColumn:
    """A column of lognormal integers; `spread` is the standard deviation of the logarithm."""

    median: int
    spread: float
    smallest: int
    largest: int
    missing_rate: float


@dataclasses.dataclass(frozen=True)
class CategoryColumn:
    """A column of `cardinality` distinct values, the first of them the most frequent."""

    cardinality: int
    missing_rate: float


INTEGER_COLUMNS = tuple(
    IntegerColumn(*column)
    for column in (
        (1, 1.2, 0, 5775, 0.45),
        (3, 2.0, -3, 257675, 0.0),
        (6, 1.3, 0, 65535, 0.21),
        (4, 1.0, 0, 969, 0.22),
        (2800, 2.2, 0, 23159456, 0.03),
        (32, 1.6, 0, 431037, 0.22),
        (3, 1.5, 0, 56311, 0.04),
        (7, 1.1, 0, 6047, 0.0),
        (38, 1.5, 0, 29019, 0.04),
        (1, 0.5, 0, 11, 0.45),
        (1, 0.9, 0, 231, 0.04),
        (1, 1.0, 0, 4008, 0.77),
        (4, 1.2, 0, 7393, 0.22),
    )
)
CATEGORY_COLUMNS = tuple(
    CategoryColumn(*column)
    for column in (
        (1460, 0.0),
        (583, 0.0),
        (10131227, 0.03),
        (2202608, 0.03),
        (305, 0.0),
        (24, 0.12),
        (12517, 0.0),
        (633, 0.0),
        (3, 0.0),
        (93145, 0.0),
        (5683, 0.0),
        (8351593, 0.03),
        (3194, 0.0),
        (27, 0.0),
        (14992, 0.0),
        (5461306, 0.03),
        (10, 0.0),
        (5652, 0.0),
        (2173, 0.44),
        (4, 0.44),
        (7046547, 0.03),
        (18, 0.76),
        (15, 0.0),
        (286181, 0.03),
        (105, 0.44),
        (142572, 0.44),
    )
)
LARGE_CARDINALITY = 50_000
TAIL_FRACTION = 0.45  # of the rows of a column of large cardinality: drawn evenly from all its values
CLICK_RATE = 0.256
CALIBRATION_ROWS = 50_000
SIGNAL_VALUES = 8  # of each category, the most frequent ones: as many as can be learned from 200,000 rows
LATENT_SIZE = 2
LINEAR_SCALE = 0.2
LATENT_SCALE = 0.5
LATENT_INTEGERS = (0, 5, 6, 10)
LATENT_CATEGORIES = (1, 4, 5, 7, 8, 13, 16, 19, 22)
STREAM_COUNT = 1000  # of random numbers; more than are used


class ClickModel:
    """A factorization machine with known parameters, and the rows whose clicks it decides.

    logit = bias + sum_i w_i + sum_{i<j} <v_i, v_j>.  A category contributes the w and v of its value, zero unless the
    value is one of the SIGNAL_VALUES most frequent; an integer the w and v of its column times its standardised
    logarithm.
    """

    def __init__(self, seed: int):
        self._stream_seeds = splitmix64(seed, np.arange(STREAM_COUNT, dtype=np.uint64))
        self._next_stream = iter(range(STREAM_COUNT))
        self._integer_streams = [self._take_streams(3) for _ in INTEGER_COLUMNS]
        self._category_streams = [self._take_streams(3) for _ in CATEGORY_COLUMNS]
        (self._click_stream,) = self._take_streams(1)
        self.integer_weights = LINEAR_SCALE * self._normal_parameters(len(INTEGER_COLUMNS))
        self.category_weights = LINEAR_SCALE * self._normal_parameters(len(CATEGORY_COLUMNS), SIGNAL_VALUES)
        self.integer_vectors = LATENT_SCALE * self._normal_parameters(len(LATENT_INTEGERS), LATENT_SIZE)
        self.category_vectors = LATENT_SCALE * self._normal_parameters(
            len(LATENT_CATEGORIES), SIGNAL_VALUES, LATENT_SIZE
        )
        self.bias = self._find_bias()

    def sample(self, rows: np.ndarray) -> tuple[pl.DataFrame, np.ndarray]:
        """Return the rows of these numbers, uint64 [n], as a frame of raw columns, and their probabilities [n]."""
        integers, popularities = self.draw_integers(rows), self.draw_popularities(rows)
        probabilities = _sigmoid(self.bias + self.logits_without_bias(integers, popularities))
        columns = {"label": (_uniform(self._click_stream, rows) < probabilities).astype(np.int8)}
        for number, values in enumerate(integers, 1):
            columns[f"I{number}"] = pl.Series(values, nan_to_null=True).cast(pl.Int64)
        for field, popularity in enumerate(popularities):
            texts = category_texts(field, np.maximum(popularity, 0).astype(np.uint32))
            columns[f"C{field + 1}"] = texts.set(pl.Series(popularity < 0), None)
        return pl.DataFrame(columns), probabilities

    def draw_integers(self, rows: np.ndarray) -> list[np.ndarray]:
        """Draw the integer columns: float64 [n] each, NaN for a missing value."""
        drawn = []
        for column, streams in zip(INTEGER_COLUMNS, self._integer_streams):
            normal = _normal(streams[:2], rows)
            values = np.floor((column.median + 0.7) * np.exp(column.spread * normal)) + column.smallest
            values = np.minimum(values, column.largest)
            values[_uniform(streams[2], rows) < column.missing_rate] = np.nan
            drawn.append(values)
        return drawn

    def draw_popularities(self, rows: np.ndarray) -> list[np.ndarray]:
        """Draw the categories: int64 [n] each, 0 for the column's most frequent value, -1 for a missing one."""
        drawn = []
        for column, streams in zip(CATEGORY_COLUMNS, self._category_streams):
            uniform = _uniform(streams[0], rows)
            popularity = np.exp(uniform * np.log(column.cardinality + 1)).astype(np.int64) - 1
            if column.cardinality > LARGE_CARDINALITY:
                tail = _uniform(streams[1], rows) < TAIL_FRACTION
                popularity[tail] = (uniform[tail] * column.cardinality).astype(np.int64)
            popularity = np.minimum(popularity, column.cardinality - 1)
            popularity[_uniform(streams[2], rows) < column.missing_rate] = -1
            drawn.append(popularity)
        return drawn

    def logits_without_bias(self, integers: list[np.ndarray], popularities: list[np.ndarray]) -> np.ndarray:
        """Return the logits [n], without the bias, of columns as draw_integers and draw_popularities give them."""
        standard = [standardise(column, values) for column, values in zip(INTEGER_COLUMNS, integers)]
        logits = sum(weight * values for weight, values in zip(self.integer_weights, standard))
        logits = logits + sum(
            _look_up(weights, popularity) for weights, popularity in zip(self.category_weights, popularities)
        )
        vectors = [np.outer(standard[column], vector) for column, vector in zip(LATENT_INTEGERS, self.integer_vectors)]
        vectors += [
            _look_up(table, popularities[field]) for field, table in zip(LATENT_CATEGORIES, self.category_vectors)
        ]
        square_of_sum = np.square(sum(vectors))
        sum_of_squares = sum(np.square(vector) for vector in vectors)
        return logits + 0.5 * (square_of_sum - sum_of_squares).sum(axis=1)

    def _find_bias(self):
        """Return the bias at which CLICK_RATE of the rows are clicks, by bisection over the first rows."""
        rows = np.arange(CALIBRATION_ROWS, dtype=np.uint64)
        logits = self.logits_without_bias(self.draw_integers(rows), self.draw_popularities(rows))
        low, high = -20.0, 20.0
        while high - low > 1e-6:
            middle = (low + high) / 2
            low, high = (middle, high) if _sigmoid(middle + logits).mean() < CLICK_RATE else (low, middle)
        return low

    def _take_streams(self, count):
        return [self._stream_seeds[next(self._next_stream)] for _ in range(count)]

    def _normal_parameters(self, *shape):
        index = np.arange(np.prod(shape), dtype=np.uint64)
        return _normal(self._take_streams(2), index).reshape(shape)


def standardise(column: IntegerColumn, values: np.ndarray) -> np.ndarray:
    """Map integers to a logarithm with mean about 0 and deviation about 1, clipped; a missing one to 0."""
    logarithm = np.log1p(values - column.smallest) - np.log1p(column.median)
    return np.nan_to_num(np.clip(logarithm / column.spread, -2, 2))


def category_texts(field: int, popularity: np.ndarray) -> pl.Series:
    """Map popularities, uint32 [n], to 8 hex digits each; a bijection for each field (the finaliser of MurmurHash3)."""
    codes = popularity + np.uint32(0x9E3779B9 * (field + 1) & 0xFFFFFFFF)
    codes ^= codes >> np.uint32(16)
    codes *= np.uint32(0x85EBCA6B)
    codes ^= codes >> np.uint32(13)
    codes *= np.uint32(0xC2B2AE35)
    codes ^= codes >> np.uint32(16)
    return to_texts(pl.Series(codes))


def _look_up(table, popularity):
    """Return the table's row for each popularity, and zeros for one that the table does not hold."""
    padded = np.concatenate([table, np.zeros_like(table[:1])])
    return padded[np.where((popularity >= 0) & (popularity < len(table)), popularity, len(table))]


def _uniform(stream, index):
    """Draw uniform values of [0, 1), [n]."""
    return to_unit_interval(splitmix64(stream, index))


def _normal(streams, index):
    """Draw standard normal values [n] by the method of Box and Muller."""
    radius = np.sqrt(-2 * np.log1p(-_uniform(streams[0], index)))
    return radius * np.cos(2 * np.pi * _uniform(streams[1], index))


def _sigmoid(logits):
    return 1 / (1 + np.exp(-logits))
