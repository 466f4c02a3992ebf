# SPDX-License-Identifier: Apache-2.0
"""From raw columns to ids and dense values: learn from the training set, then encode any row."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import polars as pl

from src.common.dense_encoding import DenseEncoding
from src.common.encoded_rows import NO_VALUE
from src.preprocessing.buckets import bin_of, bucket_of, count_buckets
from src.preprocessing.lists import split_lists
from src.preprocessing.quantiles import count_quantiles, fit_edges, quantile_of
from src.preprocessing.raw_columns import MISSING
from src.preprocessing.schema import FieldSchema
from src.preprocessing.value_counts import COUNT, VALUE, ValueCounts
from src.preprocessing.vocabulary import FIELD, Vocabulary

UNWRITABLE = r"[\t\n]"
TABLE_ENTRIES = 1 << 14  # of a lookup: one for each integer below it
# Magnitude of the dense value of a float, to which larger ones are clipped.  Of a million training rows none is larger:
# there a MAX value is at most 1, and a LOG value at most the square root of the number of rows.
LARGEST_OF_FLOATS = 1e3


@dataclasses.dataclass(frozen=True)
class DenseScale:
    """A dense value is (x - center) / divisor, where x is the number or its logarithm; 0 where it is missing.

    That of a float is clipped to LARGEST_OF_FLOATS, as a float that is scored may be 1e300 times the largest of the
    training rows, and the squares in the network, of which small differences count, are float32.
    """

    center: float
    divisor: float


@dataclasses.dataclass(frozen=True)
class FeatureEncoder:
    """From raw columns to sparse ids and dense values.

    dense_encoding: MAX (value by the largest magnitude), LOG (sign-preserving log1p, standardised), BIN or BUCKET (a
    sparse field; see buckets.py), LOG_BIN or LOG_BUCKET (both).
    bucket_edges: of each column of floats that gives a bucket, by name; see quantiles.py.
    list_lengths: the number of ids of each multi-valued category, by name.
    """

    schema: FieldSchema
    dense_encoding: DenseEncoding
    dense_scales: tuple[DenseScale, ...]
    vocabulary: Vocabulary
    bucket_edges: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    list_lengths: dict[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        schema: FieldSchema,
        counts: dict[str, ValueCounts],
        dense_encoding: DenseEncoding,
        threshold: int,
        max_vocab_size: int = 0,
        first_id: int = 0,
        list_lengths: dict[str, int] | None = None,
    ) -> "FeatureEncoder":
        """Learn the scales, the edges and the vocabulary from the ValueCounts of each column in the training set.

        counts: by column; those of integers and floats have all values.
        A value is kept if it occurs more than `threshold` times, can be a cell of vocabulary.tsv, and, unless
        max_vocab_size is 0, is among that many most frequent ones of its field.  Ids start at `first_id`.
        """
        scaled = schema.dense_names if dense_encoding.has_dense_values else []
        scales = tuple(_fit_scale(counts[name].frequent.sort(VALUE), dense_encoding) for name in scaled)
        bucketed_floats = schema.float_names if dense_encoding.has_buckets else ()
        edges = {name: fit_edges(counts[name].frequent) for name in bucketed_floats}
        is_writable = ~pl.col(VALUE).str.contains(UNWRITABLE)
        kept = {
            # All buckets of floats are kept: each is made to be frequent.
            name: values.filter(is_writable & (pl.col(COUNT) > (0 if name in edges else threshold)))
            for name, values in _field_values(schema, counts, edges, dense_encoding).items()
        }
        totals = {name: counts[name].total for name in kept}
        vocabulary = Vocabulary.build(kept, totals, first_id, max_vocab_size)
        return cls(schema, dense_encoding, scales, vocabulary, edges, list_lengths or {})

    def recounted(self, counts: dict[str, ValueCounts]) -> Vocabulary:
        """Return the vocabulary with the counts of other rows, of which `counts` has all values."""
        values = _field_values(self.schema, counts, self.bucket_edges, self.dense_encoding)
        if not values:
            return self.vocabulary
        table = pl.concat([frame.select(pl.lit(name).alias(FIELD), VALUE, COUNT) for name, frame in values.items()])
        return self.vocabulary.recounted(table, {name: counts[name].total for name in values})

    @property
    def bucket_names(self) -> tuple[str, ...]:
        """The columns that give a bucket."""
        return self.schema.dense_names if self.dense_encoding.has_buckets else ()

    @property
    def sparse_names(self) -> list[str]:
        """The columns that give sparse ids, in the order of the ids in a row."""
        return [*self.bucket_names, *self.schema.sparse_names]

    @property
    def dense_names(self) -> tuple[str, ...]:
        """The columns that give a dense value, in the order of the values in a row."""
        return self.schema.dense_names[: len(self.dense_scales)]

    def encode(self, frame: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return sparse_ids int32 [n, S] and dense_values float32 [n, N] of the raw columns of `frame`.

        A multi-valued category has as many columns in sparse_ids as list_lengths says, of which the last ones are
        NO_VALUE if a row has fewer values.
        """
        schema = self.schema
        numbers: list[_Integers | _Floats] = [
            *(_Integers(frame[name]) for name in schema.integer_names),
            *(_Floats(frame[name]) for name in schema.float_names),
        ]
        values = [column.apply(lookup) for lookup, column in zip(self._dense_value_lookups, numbers)]
        buckets = [column.apply(lookup) for lookup, column in zip(self._bucket_id_lookups, numbers)]
        ids = [self._category_ids(frame[name]) for name in schema.category_names]
        sparse_ids = _as_matrix([*buckets, *ids], frame.height, np.int32)
        if schema.list_names:
            sparse_ids = np.hstack([sparse_ids, *map(self._list_ids, frame.select(schema.list_names))])
        return sparse_ids, _as_matrix(values, frame.height, np.float32)

    @functools.cached_property
    def _dense_value_lookups(self):
        def value(scale, numbers):
            return (_magnitude(numbers, self.dense_encoding) - scale.center) / scale.divisor

        def clipped_value(scale, numbers):
            with np.errstate(over="ignore"):
                return value(scale, numbers).clip(-LARGEST_OF_FLOATS, LARGEST_OF_FLOATS)

        functions = [clipped_value if name in self.schema.float_names else value for name in self.dense_names]
        pairs = zip(functions, self.dense_scales)
        return [_Lookup(functools.partial(function, scale), 0.0, np.float32) for function, scale in pairs]

    @functools.cached_property
    def _bucket_id_lookups(self):
        return [
            _Lookup(functools.partial(self._bucket_ids, name), self.vocabulary.missing_id(name), np.int32)
            for name in self.bucket_names
        ]

    def _bucket_ids(self, name, numbers):
        is_float = name in self.bucket_edges
        function = _integer_function(self.dense_encoding)
        buckets = quantile_of(numbers, self.bucket_edges[name]) if is_float else function(numbers)
        return self.vocabulary.bucket_ids(name, buckets)

    def _category_ids(self, column):
        return column if self.schema.categories_are_ids else self.vocabulary.category_ids(column.name, column)

    def _list_ids(self, column):
        """Return the ids of a multi-valued category, int32 [n, L]."""
        name = column.name
        rows, values = split_lists(column, self.schema.separators[name])
        positions = np.arange(len(rows)) - np.searchsorted(rows, rows)
        ids = np.full((len(column), self.list_lengths[name]), NO_VALUE, np.int32)
        is_first = positions < ids.shape[1]
        ids[rows[is_first], positions[is_first]] = self.vocabulary.category_ids(name, values).to_numpy()[is_first]
        ids[np.bincount(rows, minlength=len(column)) == 0, 0] = self.vocabulary.missing_id(name)
        return ids


def _integer_function(dense_encoding):
    return bin_of if dense_encoding.has_bins else bucket_of


def _field_values(schema, counts, edges, dense_encoding):
    """Return for each sparse field the counts of its values as text, those of missing ones under the empty text."""
    values: dict[str, pl.DataFrame] = {}
    if dense_encoding.has_buckets:
        function = _integer_function(dense_encoding)
        values |= {name: count_buckets(counts[name].frequent, function) for name in schema.integer_names}
        values |= {name: count_quantiles(counts[name].frequent, edges[name]) for name in schema.float_names}
    if not schema.categories_are_ids:
        values |= {name: counts[name].frequent for name in schema.sparse_names}
    return {
        name: pl.concat([frame, pl.DataFrame({VALUE: [""], COUNT: [counts[name].missing]})])
        for name, frame in values.items()
    }


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

    def apply(self, lookup: "_Lookup") -> pl.Series:
        """Return a function of the integers."""
        values = lookup.table[self.indices]
        values[self.other_rows] = lookup.function(self.others)
        return pl.Series(values)


class _Floats:
    """A column of floats."""

    def __init__(self, column: pl.Series):
        self.values = column.to_numpy()
        self.is_missing = np.isnan(self.values)

    def apply(self, lookup: "_Lookup") -> pl.Series:
        """Return a function of the floats."""
        values: np.ndarray = lookup.function(np.where(self.is_missing, 0.0, self.values)).astype(lookup.dtype)
        values[self.is_missing] = lookup.missing
        return pl.Series(values)


class _Lookup:
    """A function of an array of numbers, its value where a number is missing, and a table of it for small integers."""

    def __init__(self, function: Callable[[np.ndarray], np.ndarray], missing: float, dtype: type):
        self.function, self.missing, self.dtype = function, missing, dtype

    @functools.cached_property
    def table(self) -> np.ndarray:
        """The value for each integer below TABLE_ENTRIES, and behind them the one that a missing integer has."""
        return np.append(self.function(np.arange(TABLE_ENTRIES)), self.missing).astype(self.dtype)


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
