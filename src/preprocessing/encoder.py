# SPDX-License-Identifier: Apache-2.0
"""How a raw value becomes an id or a number: learn from the train rows, then encode any row.

Each sparse field has one id for every value outside its vocabulary (OOV).  Ids of the kept values follow, field by
field, by falling count in the train rows and then by value.  An empty category is a value like any other.
"""

import dataclasses
import decimal
import functools
import itertools
import math

import numpy as np
import polars as pl

from src.preprocessing.raw_columns import MISSING
from src.preprocessing.schema import FieldSchema
from src.preprocessing.value_counts import COUNT, VALUE
from src.preprocessing.vocabulary import Vocabulary

TABLE_SIZE = 1 << 14
BUCKET_DIGITS = 50  # of the decimals that tell apart all buckets of 64-bit integers


@dataclasses.dataclass(frozen=True)
class DenseScale:
    """A dense value is (x - center) / divisor, where x is the integer or its logarithm; 0 where it is missing."""

    center: float
    divisor: float


@dataclasses.dataclass(frozen=True)
class FeatureEncoder:
    """From raw columns to sparse ids and dense values.

    dense_encoding: "max" (value by the largest magnitude), "log" (sign-preserving log1p, standardised), "bucket"
    (floor(ln(x)^2) above 2, else x itself: a sparse field) or "log+bucket" (both).
    """

    schema: FieldSchema
    dense_encoding: str
    dense_scales: tuple
    vocabulary: Vocabulary

    @classmethod
    def fit(cls, schema, counts, row_count, dense_encoding, threshold, max_vocab_size=0, first_id=0):
        """Learn the scales and the vocabulary from the ValueCounts of each column in the train rows.

        counts: by column; those of integers have all values.  row_count: of the train rows.
        A value is kept if it occurs more than `threshold` times and, unless max_vocab_size is 0, is among that many
        most frequent ones of its field.  Ids start at `first_id`.
        """
        scaled = schema.integer_names if dense_encoding != "bucket" else []
        scales = tuple(_fit_scale(counts[name].frequent.sort(VALUE), dense_encoding) for name in scaled)
        kept = {}
        if "bucket" in dense_encoding:
            kept.update((name, _count_buckets(counts[name].frequent)) for name in schema.integer_names)
        if not schema.categories_are_ids:
            kept.update((name, counts[name].frequent) for name in schema.category_names)
        for name, values in kept.items():
            missing = pl.DataFrame({VALUE: [""], COUNT: [counts[name].missing]})
            kept[name] = pl.concat([values, missing]).filter(pl.col(COUNT) > threshold)
        vocabulary = Vocabulary.build(kept, row_count, first_id, max_vocab_size)
        return cls(schema, dense_encoding, scales, vocabulary)

    @property
    def sparse_names(self):
        """The columns that give a sparse id, in the order of the ids in a row."""
        return [*(self.schema.integer_names if "bucket" in self.dense_encoding else []), *self.schema.category_names]

    def encode(self, frame):
        """Return sparse_ids int32 [n, S] and dense_values float32 [n, N] of the raw columns of `frame`."""
        integers = [_Integers(frame[name]) for name in self.schema.integer_names]
        values = [lookup(column) for lookup, column in zip(self._to_dense_value, integers)]
        buckets = [lookup(column) for lookup, column in zip(self._to_bucket_id, integers)]
        ids = frame.select(
            self._category_id(name, frame.schema[name]).alias(name) for name in self.schema.category_names
        )
        return _as_matrix([*buckets, *ids], frame.height, np.int32), _as_matrix(values, frame.height, np.float32)

    @functools.cached_property
    def _to_dense_value(self):
        def value(scale, integers):
            return (_magnitude(integers, self.dense_encoding) - scale.center) / scale.divisor

        return [_Lookup(functools.partial(value, scale), 0.0, np.float32) for scale in self.dense_scales]

    @functools.cached_property
    def _to_bucket_id(self):
        def id_(field, integers):
            return self.vocabulary.bucket_ids(field, _bucket(integers))

        missing_id = self.vocabulary.missing_id
        names = self.schema.integer_names if "bucket" in self.dense_encoding else []
        return [_Lookup(functools.partial(id_, name), missing_id(name), np.int32) for name in names]

    def _category_id(self, name, dtype):
        if self.schema.categories_are_ids:
            return pl.col(name)
        return self.vocabulary.category_ids(name, pl.col(name), dtype)


class _Integers:
    """An integer column, most of whose values are small: these are places in a table, the others stand apart."""

    def __init__(self, column):
        values = column.to_numpy()
        # As unsigned numbers, negative ones are large: all integers that are not small get the last index of the table.
        unsigned = values.view(f"u{values.itemsize}")
        self.places = np.empty(len(values), np.intp)
        # The minimum is taken in the unsigned type: a cast of a large number to an index first would make it negative.
        np.minimum(unsigned, TABLE_SIZE, out=self.places, dtype=unsigned.dtype, casting="unsafe")
        self.other_rows = np.flatnonzero((self.places == TABLE_SIZE) & (values != MISSING[column.dtype]))
        self.others = values[self.other_rows].astype(np.int64)


class _Lookup:
    """A function of an int64 array, looked up in a table where the integers are small or missing."""

    def __init__(self, function, missing, dtype):
        self._function = function
        self._table = np.append(function(np.arange(TABLE_SIZE)), missing).astype(dtype)

    def __call__(self, integers):
        """Return what the function gives for _Integers, a Series."""
        values = self._table[integers.places]
        values[integers.other_rows] = self._function(integers.others)
        return pl.Series(values)


def _as_matrix(columns, row_count, dtype):
    """Return columns, Series of row_count values or one for all rows, as an array [row_count, columns]."""
    if not columns:
        return np.empty((row_count, 0), dtype)
    columns = [column if len(column) == row_count else column.new_from_index(0, row_count) for column in columns]
    return pl.DataFrame([column.alias(str(place)) for place, column in enumerate(columns)]).to_numpy(order="c")


def _magnitude(numbers, dense_encoding):
    return numbers if dense_encoding == "max" else np.sign(numbers) * np.log1p(np.abs(numbers))


def _fit_scale(counts, dense_encoding):
    magnitudes = _magnitude(counts[VALUE].cast(pl.Float64).to_numpy(), dense_encoding)
    if not magnitudes.size:
        return DenseScale(0.0, 1.0)
    if dense_encoding == "max":
        return DenseScale(0.0, float(np.abs(magnitudes).max()) or 1.0)
    if magnitudes.min() == magnitudes.max():  # the mean of equal numbers is not always exactly their value
        return DenseScale(float(magnitudes[0]), 1.0)
    weights = counts[COUNT].to_numpy()
    mean = np.average(magnitudes, weights=weights)
    return DenseScale(float(mean), math.sqrt(np.average((magnitudes - mean) ** 2, weights=weights)) or 1.0)


def _bucket(integers):
    """Return the buckets, int64 [n], of integers [n]."""
    return np.where(integers > 2, np.searchsorted(_bucket_starts(), integers, side="right"), integers)


@functools.cache
def _bucket_starts():
    """Return the smallest int64 of each bucket from 1 on.

    They are exact.  Logarithms in float64 would be one bucket off near such a start, from 2,416,049,438,547 on.
    """
    with decimal.localcontext() as context:
        context.prec = BUCKET_DIGITS
        starts = (int(decimal.Decimal(bucket).sqrt().exp()) + 1 for bucket in itertools.count(1))
        return np.array(list(itertools.takewhile(lambda start: start < 2**63, starts)))


def _count_buckets(counts):
    """Return from a frame of integers and counts one of their buckets, as text, and counts."""
    buckets = pl.Series(VALUE, _bucket(counts[VALUE].to_numpy()))
    return counts.with_columns(buckets).group_by(VALUE).agg(pl.col(COUNT).sum()).cast({VALUE: pl.String})
