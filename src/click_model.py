# SPDX-License-Identifier: Apache-2.0
"""A click model with known parameters, and rows that look like Criteo's.

The cardinalities of the 26 categories are those published for the Kaggle Display Advertising Challenge, of 45,840,617
rows.  Values follow Zipf's law; columns of many values have a long tail of rare ones.  Integers are lognormal.

Every cell is a function of (seed, row, column), so rows can be drawn in chunks of any size.
"""

import dataclasses

import numpy as np
import polars as pl

from src.random_columns import (
    Streams,
    find_bias,
    hexadecimal_texts,
    look_up,
    normal,
    second_order,
    sigmoid,
    tail_fraction_of,
    uniform,
    zipf,
)


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
CLICK_RATE = 0.256
CALIBRATION_ROWS = 50_000
SIGNAL_VALUES = 8  # of each category, the most frequent ones: as many as can be learned from 200,000 rows
LATENT_SIZE = 2
LINEAR_SCALE = 0.2
LATENT_SCALE = 0.5
LATENT_INTEGERS = (0, 5, 6, 10)
LATENT_CATEGORIES = (1, 4, 5, 7, 8, 13, 16, 19, 22)


class ClickModel:
    """A factorization machine with known parameters, and the rows whose clicks it decides.

    logit = bias + sum_i w_i + sum_{i<j} <v_i, v_j>.  A category contributes the w and v of its value, zero unless the
    value is one of the SIGNAL_VALUES most frequent; an integer the w and v of its column times its standardised
    logarithm.
    """

    def __init__(self, seed: int):
        streams = Streams(seed)
        self._integer_streams = [streams.take(3) for _ in INTEGER_COLUMNS]
        self._category_streams = [streams.take(3) for _ in CATEGORY_COLUMNS]
        (self._click_stream,) = streams.take(1)
        self.integer_weights = LINEAR_SCALE * streams.normal_parameters(len(INTEGER_COLUMNS))
        self.category_weights = LINEAR_SCALE * streams.normal_parameters(len(CATEGORY_COLUMNS), SIGNAL_VALUES)
        self.integer_vectors = LATENT_SCALE * streams.normal_parameters(len(LATENT_INTEGERS), LATENT_SIZE)
        self.category_vectors = LATENT_SCALE * streams.normal_parameters(
            len(LATENT_CATEGORIES), SIGNAL_VALUES, LATENT_SIZE
        )
        self.bias = self._find_bias()

    def sample(self, rows: np.ndarray) -> tuple[pl.DataFrame, np.ndarray]:
        """Return the rows of these numbers, uint64 [n], as a frame of raw columns, and their probabilities [n]."""
        integers, popularities = self.draw_integers(rows), self.draw_popularities(rows)
        probabilities = sigmoid(self.bias + self.logits_without_bias(integers, popularities))
        columns = {"label": (uniform(self._click_stream, rows) < probabilities).astype(np.int8)}
        for number, values in enumerate(integers, 1):
            columns[f"I{number}"] = pl.Series(values, nan_to_null=True).cast(pl.Int64)
        for field, popularity in enumerate(popularities):
            texts = hexadecimal_texts(field, np.maximum(popularity, 0).astype(np.uint32))
            columns[f"C{field + 1}"] = texts.set(pl.Series(popularity < 0), None)
        return pl.DataFrame(columns), probabilities

    def draw_integers(self, rows: np.ndarray) -> list[np.ndarray]:
        """Draw the integer columns: float64 [n] each, NaN for a missing value."""
        drawn = []
        for column, streams in zip(INTEGER_COLUMNS, self._integer_streams):
            exponents = column.spread * normal(streams[:2], rows)
            values = np.floor((column.median + 0.7) * np.exp(exponents)) + column.smallest
            values = np.minimum(values, column.largest)
            values[uniform(streams[2], rows) < column.missing_rate] = np.nan
            drawn.append(values)
        return drawn

    def draw_popularities(self, rows: np.ndarray) -> list[np.ndarray]:
        """Draw the categories: int64 [n] each, 0 for the column's most frequent value, -1 for a missing one."""
        drawn = []
        for column, streams in zip(CATEGORY_COLUMNS, self._category_streams):
            tail_fraction = tail_fraction_of(column.cardinality)
            popularity = zipf(streams[:2], rows, column.cardinality, tail_fraction)
            popularity[uniform(streams[2], rows) < column.missing_rate] = -1
            drawn.append(popularity)
        return drawn

    def logits_without_bias(self, integers: list[np.ndarray], popularities: list[np.ndarray]) -> np.ndarray:
        """Return the logits [n], without the bias, of columns as draw_integers and draw_popularities give them."""
        standard = [standardise(column, values) for column, values in zip(INTEGER_COLUMNS, integers)]
        logits = sum(weight * values for weight, values in zip(self.integer_weights, standard))
        logits = logits + sum(
            look_up(weights, popularity) for weights, popularity in zip(self.category_weights, popularities)
        )
        vectors = [np.outer(standard[column], vector) for column, vector in zip(LATENT_INTEGERS, self.integer_vectors)]
        vectors += [
            look_up(table, popularities[field]) for field, table in zip(LATENT_CATEGORIES, self.category_vectors)
        ]
        return logits + second_order(vectors)

    def _find_bias(self):
        """Return the bias at which CLICK_RATE of the first rows are clicks."""
        rows = np.arange(CALIBRATION_ROWS, dtype=np.uint64)
        logits = self.logits_without_bias(self.draw_integers(rows), self.draw_popularities(rows))
        return find_bias(logits, CLICK_RATE)


def standardise(column: IntegerColumn, values: np.ndarray) -> np.ndarray:
    """Map integers to a logarithm with mean about 0 and deviation about 1, clipped; a missing one to 0."""
    logarithm = np.log1p(values - column.smallest) - np.log1p(column.median)
    return np.nan_to_num(np.clip(logarithm / column.spread, -2, 2))
