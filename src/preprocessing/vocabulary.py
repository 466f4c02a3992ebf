# SPDX-License-Identifier: Apache-2.0
"""The ids of the values of sparse fields, and vocabulary.tsv.

Each field has one id for every value outside its vocabulary (OOV).  The ids of the kept values follow, field by field,
by falling count in the training set and then by value.  A missing value is a value like any other: the empty text.
"""

import pathlib
from typing import IO

import numpy as np
import polars as pl

from src.common.errors import UserError
from src.preprocessing.code_lookup import CodeLookup
from src.preprocessing.raw_columns import read_codes
from src.preprocessing.schema import LARGEST_ID
from src.preprocessing.value_counts import COUNT, VALUE

FIELD, ID = "field", "id"
OOV = "<OOV>"
TABLE_SCHEMA = {FIELD: pl.String, VALUE: pl.String, ID: pl.Int32, COUNT: pl.Int64}


class Vocabulary:
    """The ids of the values of each sparse field.

    table: a frame with the columns field, value, id, count, sorted by id; the first row of each field in `fields`, and
    the first rows of the table, are the OOV ids.
    """

    def __init__(self, table: pl.DataFrame):
        self.table = table
        self.fields = table[FIELD].unique(maintain_order=True).to_list()
        self._oov_ids = dict(zip(self.fields, table[ID]))
        self._kept = {
            field: kept for (field,), kept in table[len(self.fields) :].partition_by(FIELD, as_dict=True).items()
        }
        self._code_lookups: dict[str, CodeLookup] = {}  # those of the fields that have been encoded so far
        self._bucket_tables: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @classmethod
    def build(
        cls, kept_by_field: dict[str, pl.DataFrame], totals: dict[str, int], first_id: int = 0, max_size: int = 0
    ) -> "Vocabulary":
        """Give ids to the kept values of each field, from `first_id` on.

        kept_by_field: for each field a frame of VALUE (text) and COUNT.  totals: number of all values of each field.
        max_size: number of values of a field that may be kept, the most frequent ones; 0 for all of them.
        Raises UserError if there are more values than ids.
        """
        kept = [
            counts.sort([COUNT, VALUE], descending=[True, False])
            .head(max_size or counts.height)
            .select(pl.lit(field).alias(FIELD), VALUE, pl.col(COUNT).cast(pl.Int64))
            for field, counts in kept_by_field.items()
        ]
        oov = pl.DataFrame(
            {
                FIELD: list(kept_by_field),
                VALUE: [OOV] * len(kept),
                COUNT: [totals[field] - counts[COUNT].sum() for field, counts in zip(kept_by_field, kept)],
            },
            schema={FIELD: pl.String, VALUE: pl.String, COUNT: pl.Int64},
        )
        table = pl.concat([oov, *kept])
        check_ids(first_id, table.height)
        ids = pl.Series(ID, np.arange(first_id, first_id + table.height, dtype=np.int64), dtype=pl.Int32)
        return cls(table.with_columns(ids).select(FIELD, VALUE, ID, COUNT))

    @classmethod
    def load(cls, path: pathlib.Path) -> "Vocabulary":
        """Return the vocabulary in a file."""
        with open(path, "rb") as file:  # polars expands ~ and * in a path
            return cls.read(file)

    @classmethod
    def read(cls, file: IO[bytes]) -> "Vocabulary":
        """Return the vocabulary in an open file."""
        table = pl.read_csv(file, separator="\t", schema=TABLE_SCHEMA, quote_char=None)
        return cls(table.with_columns(pl.col(VALUE).fill_null("")))

    def save(self, path: pathlib.Path) -> None:
        """Write the table as tab-separated text with a header; no value holds a tab or a line's end."""
        with open(path, "wb") as file:
            self.table.write_csv(file, separator="\t", quote_style="never")

    def __len__(self):
        return self.table.height

    def category_ids(self, field: str, values: pl.Series) -> pl.Series:
        """Return the ids, Int32, of values: text, or codes in UInt32."""
        kept = self.kept(field)
        if values.dtype == pl.UInt32:
            if field not in self._code_lookups:
                codes, ids = _codes_of(kept)
                self._code_lookups[field] = CodeLookup(codes, ids, self._oov_ids[field])
            return pl.Series(self._code_lookups[field](values.to_numpy()))
        oov = pl.lit(self._oov_ids[field], pl.Int32)
        return values.replace_strict(kept[VALUE], kept[ID], default=oov, return_dtype=pl.Int32)

    def bucket_ids(self, field: str, buckets: np.ndarray) -> np.ndarray:
        """Return the ids, int32 [n], of buckets, integers [n]."""
        if field not in self._bucket_tables:
            kept = self.kept(field).filter(pl.col(VALUE) != "").select(pl.col(VALUE).cast(pl.Int64), ID).sort(VALUE)
            self._bucket_tables[field] = kept[VALUE].to_numpy(), kept[ID].to_numpy()
        values, ids = self._bucket_tables[field]
        if not len(values):
            return np.full(buckets.shape, self._oov_ids[field], np.int32)
        indices = np.minimum(np.searchsorted(values, buckets), len(values) - 1)
        return np.where(values[indices] == buckets, ids[indices], self._oov_ids[field]).astype(np.int32)

    def recounted(self, counts: pl.DataFrame, totals: dict[str, int]) -> "Vocabulary":
        """Return the vocabulary with the counts of other rows.

        counts: a frame of FIELD, VALUE (text) and COUNT.  totals: number of all values of each field.
        """
        table = self.table.drop(COUNT).join(counts, on=[FIELD, VALUE], how="left", maintain_order="left")
        is_kept = pl.int_range(pl.len()) >= len(self.fields)
        sums = dict(table.filter(is_kept).group_by(FIELD).agg(pl.col(COUNT).sum()).iter_rows())
        oov = pl.col(FIELD).replace_strict({field: totals[field] - sums.get(field, 0) for field in self.fields})
        return Vocabulary(table.with_columns(pl.when(is_kept).then(pl.col(COUNT).fill_null(0)).otherwise(oov)))

    def oov_id(self, field: str) -> int:
        """Return the id of every value of a field outside its vocabulary."""
        return self._oov_ids[field]

    def missing_id(self, field: str) -> int:
        """Return the id of a missing value."""
        return next(iter(self.kept(field).filter(pl.col(VALUE) == "")[ID]), self._oov_ids[field])

    def kept(self, field: str) -> pl.DataFrame:
        """Return the rows of a field's kept values in the table; an empty frame if there are none."""
        return self._kept.get(field, self.table.clear())


def check_ids(first_id: int, count: int) -> None:
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


def _codes_of(kept):
    """Return the codes, uint32 [n], and the ids, int32 [n], of the kept values that are missing or a code."""
    codes, are_codes = read_codes(kept[VALUE])
    is_kept = are_codes | (kept[VALUE] == "").to_numpy()
    return codes[is_kept], kept[ID].to_numpy()[is_kept]
