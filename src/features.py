# SPDX-License-Identifier: Apache-2.0
"""How a raw value becomes an id or a number: learn from the train rows, then encode any row.

Each sparse field has one id for every value outside its vocabulary (OOV).  Ids of the kept values follow, field by
field, by falling count in the train rows and then by value.  An empty category is a value like any other.
"""

import dataclasses
import math

import numpy as np
import polars as pl

KEY, LABEL = "key", "label"
VALUE, COUNT = "value", "count"
OOV = "<OOV>"
COMPACT_ROWS = 100_000


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
    """How often each value of each column occurs, missing ones included; exact, whatever the order of the rows."""

    def __init__(self, schema):
        self._names = [*schema.integer_names, *([] if schema.categories_are_ids else schema.category_names)]
        self._parts = {name: [] for name in self._names}

    def update(self, frame):
        """Count the values in the columns of `frame`."""
        counted = pl.collect_all([_count_values(frame.lazy(), name) for name in self._names])
        for name, counts in zip(self._names, counted):
            parts = self._parts[name]
            parts.append(counts)
            if sum(part.height for part in parts[1:]) > max(COMPACT_ROWS, parts[0].height):
                self._parts[name] = [_merge(parts)]

    def counts(self, name):
        """Return a frame of VALUE and COUNT, sorted by value; a missing value is a null."""
        return _merge(self._parts[name]).sort(VALUE)


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
    def build(cls, counts_by_field, threshold, first_id=0):
        """Keep the values that occur more than `threshold` times.

        counts_by_field: for each field a frame of VALUE (text) and COUNT.  Ids start at `first_id`.
        """
        kept = [
            counts.filter(pl.col(COUNT) > threshold)
            .sort([COUNT, VALUE], descending=[True, False])
            .select(pl.lit(field).alias("field"), VALUE, pl.col(COUNT).cast(pl.Int64))
            for field, counts in counts_by_field.items()
        ]
        oov = pl.DataFrame(
            {
                "field": list(counts_by_field),
                VALUE: [OOV] * len(kept),
                COUNT: [counts.filter(pl.col(COUNT) <= threshold)[COUNT].sum() for counts in counts_by_field.values()],
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

    def ids(self, field, values):
        """Return an expression for the ids, int32, of the text expression `values`."""
        kept = self._kept.get(field)
        if kept is None:
            return pl.lit(self._oov_ids[field], pl.Int32)
        return values.replace_strict(kept[VALUE], kept["id"], default=self._oov_ids[field], return_dtype=pl.Int32)


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
    def fit(cls, schema, stats, dense_encoding, threshold, first_id=0):
        """Learn the scales and the vocabulary from the counts of the train rows; its ids start at `first_id`."""
        scales = tuple(
            _fit_scale(stats.counts(name), dense_encoding)
            for name in schema.integer_names
            if dense_encoding != "bucket"
        )
        counts = {}
        if "bucket" in dense_encoding:
            counts.update((name, _count_buckets(stats.counts(name))) for name in schema.integer_names)
        if not schema.categories_are_ids:
            counts.update(
                (name, stats.counts(name).with_columns(pl.col(VALUE).fill_null(""))) for name in schema.category_names
            )
        return cls(schema, dense_encoding, scales, Vocabulary.build(counts, threshold, first_id))

    @property
    def sparse_names(self):
        """The columns that give a sparse id, in the order of the ids in a row."""
        return [*(self.schema.integer_names if "bucket" in self.dense_encoding else []), *self.schema.category_names]

    def encode(self, frame):
        """Return sparse_ids int32 [n, S] and dense_values float32 [n, N] of the raw columns of `frame`."""
        ids = frame.select(self._id_of(name).alias(name) for name in self.sparse_names)
        dense_values = np.empty((frame.height, len(self.dense_scales)), np.float32)
        for column, (name, scale) in enumerate(zip(self.schema.integer_names, self.dense_scales)):
            numbers = frame[name].cast(pl.Float64).to_numpy()
            dense_values[:, column] = np.nan_to_num(
                (_magnitude(numbers, self.dense_encoding) - scale.center) / scale.divisor
            )
        return np.ascontiguousarray(ids.to_numpy()), dense_values

    def _id_of(self, name):
        if name in self.schema.integer_names:
            return self.vocabulary.ids(name, _bucket(pl.col(name)))
        if self.schema.categories_are_ids:
            return pl.col(name).cast(pl.Int32)
        return self.vocabulary.ids(name, pl.col(name).fill_null(""))


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
    """Return an expression for the bucket of an integer expression, as text; of a missing one, the empty text."""
    logarithmic = (integers.log() ** 2).floor().cast(pl.Int64, strict=False)
    return pl.when(integers > 2).then(logarithmic).otherwise(integers).cast(pl.String).fill_null("")


def _count_buckets(counts):
    return counts.group_by(_bucket(pl.col(VALUE)).alias(VALUE)).agg(pl.col(COUNT).sum())
