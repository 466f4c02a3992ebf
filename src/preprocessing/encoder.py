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

from src.common.errors import UserError
from src.preprocessing.raw_columns import MISSING, read_codes
from src.preprocessing.schema import LARGEST_ID, FieldSchema
from src.preprocessing.value_counts import COUNT, VALUE

OOV = "<OOV>"
TABLE_SIZE = 1 << 14
BUCKET_DIGITS = 50  # of the decimals that tell apart all buckets of 64-bit integers


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
        self._kept_codes = {field: _coded(kept) for field, kept in self._kept.items()}

    @classmethod
    def build(cls, kept_by_field, row_count, first_id=0, max_size=0):
        """Give ids to the kept values of each field, from `first_id` on.

        kept_by_field: for each field a frame of VALUE (text) and COUNT.  row_count: how many rows were counted.
        max_size: how many values of a field may be kept, the most frequent ones; 0 for all of them.
        Raises UserError if there are more values than ids.
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
        check_ids(first_id, table.height)
        ids = pl.Series("id", np.arange(first_id, first_id + table.height, dtype=np.int64), dtype=pl.Int32)
        return cls(table.with_columns(ids).select("field", VALUE, "id", COUNT))

    @classmethod
    def load(cls, path):
        columns = {"field": pl.String, VALUE: pl.String, "id": pl.Int32, COUNT: pl.Int64}
        with open(path, "rb") as file:  # polars expands ~ and * in a path
            table = pl.read_csv(file, separator="\t", schema=columns, quote_char=None)
        return cls(table.with_columns(pl.col(VALUE).fill_null("")))

    def save(self, path):
        """Write the table as tab-separated text with a header; no value holds a tab or a line's end."""
        with open(path, "wb") as file:
            self.table.write_csv(file, separator="\t", quote_style="never")

    def __len__(self):
        return self.table.height

    def ids(self, field, values, dtype):
        """Return an expression for the ids, int32, of `values`: text, or codes if dtype is UInt32."""
        oov = pl.lit(self._oov_ids[field], pl.Int32)
        kept = (self._kept_codes if dtype == pl.UInt32 else self._kept).get(field)
        if kept is None or not kept.height:
            return oov
        return values.replace_strict(kept[VALUE], kept["id"], default=oov, return_dtype=pl.Int32)

    def bucket_ids(self, field, buckets):
        """Return the ids, int32 [n], of buckets, integers [n]."""
        kept = self._kept.get(field, self.table.clear())
        kept = kept.filter(pl.col(VALUE) != "").select(pl.col(VALUE).cast(pl.Int64), "id").sort(VALUE)
        if not kept.height:
            return np.full(buckets.shape, self._oov_ids[field], np.int32)
        values, ids = kept[VALUE].to_numpy(), kept["id"].to_numpy()
        places = np.minimum(np.searchsorted(values, buckets), len(values) - 1)
        return np.where(values[places] == buckets, ids[places], self._oov_ids[field]).astype(np.int32)

    def missing_id(self, field):
        """Return the id of a missing value."""
        kept = self._kept.get(field, self.table.clear())
        return next(iter(kept.filter(pl.col(VALUE) == "")["id"]), self._oov_ids[field])


def check_ids(first_id, count):
    """Raise UserError unless `count` ids from first_id on are int32.  first_id: 1 more than the largest category id."""
    if first_id + count <= LARGEST_ID + 1:
        return
    if first_id == 0:
        raise UserError(
            f"the vocabulary has {count:,} values, and ids go up to {LARGEST_ID}; keep fewer values by a higher "
            "--threshold or by --max_vocab_size"
        )
    raise UserError(
        f"--skip_id_convert=1: the largest category id is {first_id - 1}; the buckets of the integers take at least "
        f"{count} ids after it, and an id is at most {LARGEST_ID}. Number the categories from 0, or choose "
        "--dense_encoding=log or max, which need no ids"
    )


def _coded(kept):
    """Return those rows of a frame of VALUE (text) that are missing or a code, as such, UInt32."""
    codes, are_codes = read_codes(kept[VALUE])
    return kept.with_columns(pl.Series(VALUE, codes)).filter(are_codes | (kept[VALUE] == "").to_numpy())


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
        return self.vocabulary.ids(name, pl.col(name), dtype)


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
