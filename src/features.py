# SPDX-License-Identifier: Apache-2.0
"""How a raw value becomes an id or a number: learn from the train rows, then encode any row.

Each sparse field has one id for every value outside its vocabulary (OOV).  Ids of the kept values follow, field by
field, by falling count in the train rows and then by value.  An empty category is a value like any other.
"""

import dataclasses
import functools
import math

import numpy as np
import polars as pl

from src.hex_codes import as_code, is_code, to_texts

KEY, LABEL = "key", "label"
VALUE, COUNT = "value", "count"
OOV = "<OOV>"
COMPACT_ROWS = 1_000_000
TABLE_SIZE = 1 << 14


@dataclasses.dataclass(frozen=True)
class FieldSchema:
    """The columns of a raw row: a label, `dense_dim` integers, `slot_dim` categories."""

    dense_dim: int
    slot_dim: int
    categories_are_ids: bool = False

    @property
    def integer_names(self):
        return [f"I{number}" for number in range(1, self.dense_dim + 1)]

    @property
    def category_names(self):
        return [f"C{number}" for number in range(1, self.slot_dim + 1)]

    @property
    def column_names(self):
        return [LABEL, *self.integer_names, *self.category_names]

    @property
    def column_count(self):
        return 1 + self.dense_dim + self.slot_dim


class FeatureStats:
    """How often each value of each column occurs, missing ones included; exact, whatever the order of the rows.

    Values are held as they come: integers, text, or codes (uint32) of text; the same text may come as either.
    """

    def __init__(self, schema):
        self.row_count = 0
        self.names = [*schema.integer_names, *([] if schema.categories_are_ids else schema.category_names)]
        self._parts = {name: {} for name in self.names}

    def update(self, frame):
        """Count the values in the columns of `frame`."""
        self.row_count += frame.height
        counted = pl.collect_all([_count_values(frame.lazy(), name) for name in self.names])
        for name, counts in zip(self.names, counted):
            kind = _kind(counts[VALUE].dtype)
            parts = self._parts[name].setdefault(kind, [])
            parts.append(counts.with_columns(pl.col(VALUE).cast(kind)))
            if sum(part.height for part in parts[1:]) > max(COMPACT_ROWS, parts[0].height):
                self._parts[name][kind] = [_merge(parts)]

    def integers(self, name):
        """Return a frame of VALUE and COUNT of an integer column, sorted by value; a missing value is a null."""
        return _merge(self._parts[name][pl.Int64]).sort(VALUE)

    def categories(self, name, threshold):
        """Return a frame of VALUE (text) and COUNT of the categories that occur more than `threshold` times.

        A missing value is the empty text.
        """
        kept = [counts.filter(pl.col(COUNT) > threshold) for counts in self._merged(name)]
        kept = [part.with_columns(to_texts(part[VALUE])) if part[VALUE].dtype == pl.UInt32 else part for part in kept]
        return pl.concat(kept).with_columns(pl.col(VALUE).fill_null(""))

    def distinct_and_missing(self, name):
        """Return how many values a column has, a missing one not among them, and in how many rows it is missing."""
        merged = self._merged(name)
        missing = sum(counts.filter(pl.col(VALUE).is_null())[COUNT].sum() for counts in merged)
        return sum(counts[VALUE].is_not_null().sum() for counts in merged), missing

    def _merged(self, name):
        """Return frames of VALUE and COUNT, one for each type of the values; no value is in two of them."""
        parts = dict(self._parts[name])
        if len(parts) > 1:
            texts = _merge(parts[pl.String])
            codes = pl.col(VALUE).is_null() | is_code(pl.col(VALUE))
            parts[pl.UInt32] = [*parts[pl.UInt32], texts.filter(codes).with_columns(as_code(pl.col(VALUE)))]
            parts[pl.String] = [texts.filter(~codes)]
        self._parts[name] = {kind: [_merge(part)] for kind, part in parts.items()}
        return [part for (part,) in self._parts[name].values()]


def _kind(dtype):
    """Return the type in which values of `dtype` are counted."""
    return dtype if dtype in (pl.String, pl.UInt32) else pl.Int64


def _count_values(frame, name):
    return frame.group_by(pl.col(name).alias(VALUE)).agg(pl.len().alias(COUNT))


def _merge(parts):
    return pl.concat(parts).group_by(VALUE).agg(pl.col(COUNT).sum())


class Vocabulary:
    """The ids of the values of each sparse field.

    table: a frame with the columns field, value, id, count, sorted by id; the first row of each field in `fields`, and
    the first rows of the table, are the OOV ids.
    """

    def __init__(self, table):
        self.table = table
        self.fields = table["field"].unique(maintain_order=True).to_list()
        self._oov_ids = dict(zip(self.fields, table["id"]))
        self._kept = {
            field: kept for (field,), kept in table[len(self.fields) :].partition_by("field", as_dict=True).items()
        }

    @classmethod
    def build(cls, kept_by_field, row_count, first_id=0, max_size=0):
        """Give ids to the kept values of each field, from `first_id` on.

        kept_by_field: for each field a frame of VALUE (text) and COUNT.  row_count: how many rows were counted.
        max_size: how many values of a field may be kept, the most frequent ones; 0 for all of them.
        """
        kept = [
            counts.sort([COUNT, VALUE], descending=[True, False])
            .head(max_size or counts.height)
            .select(pl.lit(field).alias("field"), VALUE, pl.col(COUNT).cast(pl.Int64))
            for field, counts in kept_by_field.items()
        ]
        oov = pl.DataFrame(
            {
                "field": list(kept_by_field),
                VALUE: [OOV] * len(kept),
                COUNT: [row_count - counts[COUNT].sum() for counts in kept],
            },
            schema={"field": pl.String, VALUE: pl.String, COUNT: pl.Int64},
        )
        table = pl.concat([oov, *kept])
        ids = pl.Series("id", np.arange(first_id, first_id + table.height, dtype=np.int64), dtype=pl.Int32)
        return cls(table.with_columns(ids).select("field", VALUE, "id", COUNT))

    @classmethod
    def load(cls, path):
        columns = {"field": pl.String, VALUE: pl.String, "id": pl.Int32, COUNT: pl.Int64}
        table = pl.read_csv(path, separator="\t", schema=columns, quote_char=None)
        return cls(table.with_columns(pl.col(VALUE).fill_null("")))

    def save(self, path):
        """Write the table as tab-separated text with a header; no value holds a tab or a line's end."""
        self.table.write_csv(path, separator="\t", quote_style="never")

    def __len__(self):
        return self.table.height

    def ids(self, field, values, dtype):
        """Return an expression for the ids, int32, of `values`: text, or codes of text if dtype is uint32."""
        oov = pl.lit(self._oov_ids[field], pl.Int32)
        kept = self._kept.get(field)
        if kept is None:
            return oov
        if dtype == pl.UInt32:
            kept = kept.filter((pl.col(VALUE) == "") | is_code(pl.col(VALUE))).with_columns(as_code(pl.col(VALUE)))
        else:
            values = values.fill_null("")
        if not kept.height:
            return oov
        return values.replace_strict(kept[VALUE], kept["id"], default=oov, return_dtype=pl.Int32)

    def bucket_ids(self, field, buckets):
        """Return the ids, int32 [n], of buckets, integers [n]; if that is None, the one id of a missing value."""
        kept = self._kept.get(field, self.table.clear())
        oov = self._oov_ids[field]
        if buckets is None:
            return next(iter(kept.filter(pl.col(VALUE) == "")["id"]), oov)
        kept = kept.filter(pl.col(VALUE) != "").select(pl.col(VALUE).cast(pl.Int64), "id").sort(VALUE)
        if not kept.height:
            return np.full(buckets.shape, oov, np.int32)
        values, ids = kept[VALUE].to_numpy(), kept["id"].to_numpy()
        places = np.minimum(np.searchsorted(values, buckets), len(values) - 1)
        return np.where(values[places] == buckets, ids[places], oov).astype(np.int32)


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
    def fit(cls, schema, stats, dense_encoding, threshold, max_vocab_size=0, first_id=0):
        """Learn the scales and the vocabulary from the counts of the train rows.

        A value is kept if it occurs more than `threshold` times and, unless max_vocab_size is 0, is among that many
        most frequent ones of its field.  Ids start at `first_id`.
        """
        integers = {name: stats.integers(name) for name in schema.integer_names}
        scales = tuple(_fit_scale(counts, dense_encoding) for counts in integers.values() if dense_encoding != "bucket")
        kept = {}
        if "bucket" in dense_encoding:
            buckets = {name: _count_buckets(counts) for name, counts in integers.items()}
            kept.update((name, counts.filter(pl.col(COUNT) > threshold)) for name, counts in buckets.items())
        if not schema.categories_are_ids:
            kept.update((name, stats.categories(name, threshold)) for name in schema.category_names)
        vocabulary = Vocabulary.build(kept, stats.row_count, first_id, max_vocab_size)
        return cls(schema, dense_encoding, scales, vocabulary)

    @property
    def sparse_names(self):
        """The columns that give a sparse id, in the order of the ids in a row."""
        return [*(self.schema.integer_names if "bucket" in self.dense_encoding else []), *self.schema.category_names]

    def encode(self, frame):
        """Return sparse_ids int32 [n, S] and dense_values float32 [n, N] of the raw columns of `frame`."""
        sparse_ids = np.empty((frame.height, len(self.sparse_names)), np.int32)
        dense_values = np.empty((frame.height, len(self.dense_scales)), np.float32)
        for column, name in enumerate(self.schema.integer_names):
            integers = _Integers(frame[name])
            if self.dense_scales:
                dense_values[:, column] = integers.map(functools.partial(self._dense_value, column), missing=0.0)
            if "bucket" in self.dense_encoding:
                missing = self.vocabulary.bucket_ids(name, None)
                sparse_ids[:, column] = integers.map(functools.partial(self._bucket_id, name), missing)
        ids = frame.select(
            self._category_id(name, frame.schema[name]).alias(name) for name in self.schema.category_names
        )
        sparse_ids[:, len(self.sparse_names) - self.schema.slot_dim :] = ids.to_numpy(order="c")
        return sparse_ids, dense_values

    def _dense_value(self, column, integers):
        scale = self.dense_scales[column]
        return (_magnitude(integers, self.dense_encoding) - scale.center) / scale.divisor

    def _bucket_id(self, name, integers):
        return self.vocabulary.bucket_ids(name, _bucket(integers))

    def _category_id(self, name, dtype):
        if self.schema.categories_are_ids:
            return pl.col(name).cast(pl.Int32)
        return self.vocabulary.ids(name, pl.col(name), dtype)


class _Integers:
    """An integer column, most of whose values are small: a function of them is mostly looked up in a table."""

    def __init__(self, column):
        self._missing = column.is_null().to_numpy()
        self._values = column.cast(pl.Int64).fill_null(0).to_numpy()
        small = (self._values >= 0) & (self._values < TABLE_SIZE)
        self._places = np.where(small, self._values, 0)
        self._others = np.flatnonzero(~small)

    def map(self, function, missing):
        """Return function(values), a function of arrays, with `missing` where there is no value."""
        mapped = function(np.arange(TABLE_SIZE))[self._places]
        mapped[self._others] = function(self._values[self._others])
        mapped[self._missing] = missing
        return mapped


def _magnitude(numbers, dense_encoding):
    return numbers if dense_encoding == "max" else np.sign(numbers) * np.log1p(np.abs(numbers))


def _fit_scale(counts, dense_encoding):
    counts = counts.drop_nulls()
    magnitudes = _magnitude(counts[VALUE].cast(pl.Float64).to_numpy(), dense_encoding)
    if not magnitudes.size:
        return DenseScale(0.0, 1.0)
    if dense_encoding == "max":
        return DenseScale(0.0, float(np.abs(magnitudes).max()) or 1.0)
    weights = counts[COUNT].to_numpy()
    mean = np.average(magnitudes, weights=weights)
    return DenseScale(float(mean), math.sqrt(np.average((magnitudes - mean) ** 2, weights=weights)) or 1.0)


def _bucket(integers):
    """Return the buckets, int64 [n], of integers [n]."""
    logarithmic = np.floor(np.log(np.maximum(integers, 1)) ** 2).astype(np.int64)
    return np.where(integers > 2, logarithmic, integers)


def _count_buckets(counts):
    """Return from a frame of integers and counts one of their buckets, as text, and counts."""
    present = counts.drop_nulls()
    buckets = pl.Series(VALUE, _bucket(present[VALUE].to_numpy()).astype(np.int64)).cast(pl.String)
    missing = counts.filter(pl.col(VALUE).is_null()).with_columns(pl.lit("").alias(VALUE))
    return _merge([present.with_columns(buckets), missing])
