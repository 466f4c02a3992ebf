# SPDX-License-Identifier: Apache-2.0
"""From raw columns to ids and dense values: learn from the training set, then encode any row."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import polars as pl

from src.common.dense_encoding import DenseEncoding
from src.preprocessing.buckets import bucket_of, count_buckets
from src.preprocessing.raw_columns import MISSING
from src.preprocessing.schema import FieldSchema
from src.preprocessing.value_counts import COUNT, VALUE, ValueCounts
from src.preprocessing.vocabulary import Vocabulary

TABLE_ENTRIES = 1 << 14  # of a lookup: one for each integer below it


@dataclasses.dataclass(frozen=True)
class DenseScale:
    """A dense value is (x - center) / divisor, where x is the integer or its logarithm; 0 where it is missing."""

    center: float
    divisor: float


@dataclasses.dataclass(frozen=True)
class FeatureEncoder:
    """From raw columns to sparse ids and dense values.

    dense_encoding: MAX (value by the largest magnitude), LOG (sign-preserving log1p, standardised), BUCKET (a sparse
    field; see buckets.py) or LOG_BUCKET (both).
    """

    schema: FieldSchema
    dense_encoding: DenseEncoding
    dense_scales: tuple[DenseScale, ...]
    vocabulary: Vocabulary

    @classmethod
    def fit(
        cls,
        schema: FieldSchema,
        counts: dict[str, ValueCounts],
        row_count: int,
        dense_encoding: DenseEncoding,
        threshold: int,
        max_vocab_size: int = 0,
        first_id: int = 0,
    ) -> "FeatureEncoder":
        """Learn the scales and the vocabulary from the ValueCounts of each column in the training set.

        counts: by column; those of integers have all values.  row_count: of the training set.
        A value is kept if it occurs more than `threshold` times and, unless max_vocab_size is 0, is among that many
        most frequent ones of its field.  Ids start at `first_id`.
        """
        scaled = schema.integer_names if dense_encoding.has_dense_values else []
        scales = tuple(_fit_scale(counts[name].frequent.sort(VALUE), dense_encoding) for name in scaled)
        kept: dict[str, pl.DataFrame] = {}
        if dense_encoding.has_buckets:
            kept.update((name, count_buckets(counts[name].frequent)) for name in schema.integer_names)
        if not schema.categories_are_ids:
            kept.update((name, counts[name].frequent) for name in schema.category_names)
        for name, values in kept.items():
            missing = pl.DataFrame({VALUE: [""], COUNT: [counts[name].missing]})
            kept[name] = pl.concat([values, missing]).filter(pl.col(COUNT) > threshold)
        vocabulary = Vocabulary.build(kept, row_count, first_id, max_vocab_size)
        return cls(schema, dense_encoding, scales, vocabulary)

    @property
    def bucket_names(self) -> list[str]:
        """The integer columns that give a bucket."""
        return self.schema.integer_names if self.dense_encoding.has_buckets else []

    @property
    def sparse_names(self) -> list[str]:
        """The columns that give a sparse id, in the order of the ids in a row."""
        return [*self.bucket_names, *self.schema.category_names]

    @property
    def dense_names(self) -> list[str]:
        """The columns that give a dense value, in the order of the values in a row."""
        return self.schema.integer_names[: len(self.dense_scales)]

    def encode(self, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return sparse_ids int32 [n, S] and dense_values float32 [n, N] of the raw columns of `frame`."""
        integers = [_Integers(frame[name]) for name in self.schema.integer_names]
        values = [lookup(column) for lookup, column in zip(self._dense_value_lookups, integers)]
        buckets = [lookup(column) for lookup, column in zip(self._bucket_id_lookups, integers)]
        ids = [self._category_ids(frame[name]) for name in self.schema.category_names]
        return _as_matrix([*buckets, *ids], frame.height, np.int32), _as_matrix(values, frame.height, np.float32)

    @functools.cached_property
    def _dense_value_lookups(self):
        def value(scale, integers):
            return (_magnitude(integers, self.dense_encoding) - scale.center) / scale.divisor

        return [_Lookup(functools.partial(value, scale), 0.0, np.float32) for scale in self.dense_scales]

    @functools.cached_property
    def _bucket_id_lookups(self):
        def bucket_id(field, integers):
            return self.vocabulary.bucket_ids(field, bucket_of(integers))

        missing_id = self.vocabulary.missing_id
        return [_Lookup(functools.partial(bucket_id, name), missing_id(name), np.int32) for name in self.bucket_names]

    def _category_ids(self, column):
        return column if self.schema.categories_are_ids else self.vocabulary.category_ids(column.name, column)


class _Integers:
    """An integer column, most of whose values are small: those are indices of a table, the others are listed."""

    def __init__(self, column: pl.Series):
        values = column.to_numpy()
        # As unsigned numbers, negative ones are large: all integers that are not small get the last index of the table.
        unsigned = values.view(f"u{values.itemsize}")
        self.indices = np.empty(len(values), np.intp)
        # The minimum is taken in the unsigned type: a cast of a large number to an index first would make it negative.
        np.minimum(unsigned, TABLE_ENTRIES, out=self.indices, dtype=unsigned.dtype, casting="unsafe")
        self.other_rows = np.flatnonzero((self.indices == TABLE_ENTRIES) & (values != MISSING[column.dtype]))
        self.others = values[self.other_rows].astype(np.int64)


class _Lookup:
    """A function of an int64 array, looked up in a table where the integers are small or missing."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], missing: float, dtype: type):
        self._function = function
        self._table: np.ndarray = np.append(function(np.arange(TABLE_ENTRIES)), missing).astype(dtype)

    def __call__(self, integers: _Integers) -> pl.Series:
        values = self._table[integers.indices]
        values[integers.other_rows] = self._function(integers.others)
        return pl.Series(values)


def _as_matrix(columns: list[pl.Series], row_count: int, dtype: type) -> np.ndarray:
    """Return columns, Series of row_count values, as an array [row_count, columns]."""
    if not columns:
        return np.empty((row_count, 0), dtype)
    return pl.DataFrame([column.alias(str(index)) for index, column in enumerate(columns)]).to_numpy(order="c")


def _magnitude(numbers: np.ndarray, dense_encoding: DenseEncoding) -> np.ndarray:
    if dense_encoding is DenseEncoding.MAX:
        return numbers
    return np.sign(numbers) * np.log1p(np.abs(numbers))


def _fit_scale(counts: pl.DataFrame, dense_encoding: DenseEncoding) -> DenseScale:
    """Return the scale of a column from its values and their counts, sorted by value."""
    magnitudes = _magnitude(counts[VALUE].cast(pl.Float64).to_numpy(), dense_encoding)
    if not magnitudes.size:
        return DenseScale(0.0, 1.0)
    if dense_encoding is DenseEncoding.MAX:
        return DenseScale(0.0, float(np.abs(magnitudes).max()) or 1.0)
    if magnitudes.min() == magnitudes.max():  # the mean of equal numbers is not always exactly their value
        return DenseScale(float(magnitudes[0]), 1.0)
    weights = counts[COUNT].to_numpy()
    mean = np.average(magnitudes, weights=weights)
    return DenseScale(float(mean), math.sqrt(np.average((magnitudes - mean) ** 2, weights=weights)) or 1.0)
