# SPDX-License-Identifier: Apache-2.0
"""The number of times that each value of a column of raw rows occurs; exact, whatever chunks the column comes in."""

import dataclasses
from collections.abc import Iterable, Iterator

import polars as pl

from src.preprocessing.raw_columns import MISSING, read_codes, to_texts, widen

VALUE, COUNT = "value", "count"
# The counts of the values of a column, a missing one among them: frames of VALUE and COUNT by the type of VALUE, which
# is Int64 for integers, Float64 for floats, UInt32 for codes, and String for categories that are none.
Tally = dict[pl.DataType, pl.DataFrame]


@dataclasses.dataclass(frozen=True)
class ValueCounts:
    """The values of a column.

    frequent: a frame of VALUE (Int64, Float64 or String) and COUNT: the values that occur often enough, in any order.
    distinct: number of distinct values, a missing one not among them.  missing: number of rows without a value.
    total: number of all values, missing ones among them: the rows, or more of a multi-valued category.
    """

    frequent: pl.DataFrame
    distinct: int
    missing: int
    total: int


def count_values(chunks: Iterable[pl.Series], threshold: int, max_batch: int) -> ValueCounts:
    """Return the ValueCounts of a column; a value is frequent if it occurs more than `threshold` times.

    chunks: of the column, each with one of the types of raw_columns.py.  max_batch: number of values to count at once.
    """
    return summarize(tally(chunks, max_batch), threshold)


def tally(chunks: Iterable[pl.Series], max_batch: int) -> Tally:
    """Return the Tally of a column, whose parameters count_values explains."""
    counts_by_dtype: Tally = {}
    for column in _batches(chunks, max_batch):
        earlier = [counts_by_dtype[column.dtype]] if column.dtype in counts_by_dtype else []
        counts_by_dtype[column.dtype] = _add([*earlier, _count(column)])
    return _disjoint(counts_by_dtype)


def add_tallies(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of the Tally of each part of a column."""
    parts: dict[pl.DataType, list[pl.DataFrame]] = {}
    for part in tallies:
        for dtype, counts in part.items():
            parts.setdefault(dtype, []).append(counts)
    return {dtype: _add(counts) for dtype, counts in parts.items()}


def summarize(counts_by_dtype: Tally, threshold: int) -> ValueCounts:
    """Return the ValueCounts of a column; a value is frequent if it occurs more than `threshold` times."""
    missing, distinct, total, frequent = 0, 0, 0, []
    for dtype, counts in counts_by_dtype.items():
        is_missing = pl.col(VALUE) == MISSING[dtype]
        missing += counts.filter(is_missing)[COUNT].sum()
        total += counts[COUNT].sum()
        present = counts.filter(~is_missing)
        distinct += present.height
        frequent.append(_decode(present.filter(pl.col(COUNT) > threshold)))
    return ValueCounts(concat_counts(frequent), distinct, missing, total)


def concat_counts(parts: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the counts of different values as one frame; an empty one, of text, if there are none."""
    return pl.concat(parts) if parts else pl.DataFrame(schema={VALUE: pl.String, COUNT: pl.Int64})


def _batches(chunks: Iterable[pl.Series], max_batch: int) -> Iterator[pl.Series]:
    """Yield the chunks, those of one type concatenated, about max_batch values at a time."""
    waiting: dict[pl.DataType, list[pl.Series]] = {}
    size = 0
    for chunk in chunks:
        waiting.setdefault(chunk.dtype, []).append(chunk)
        size += len(chunk)
        if size >= max_batch:
            yield from map(pl.concat, waiting.values())
            waiting, size = {}, 0
    yield from map(pl.concat, waiting.values())


def _count(column: pl.Series) -> pl.DataFrame:
    """Return the counts of the values of a column."""
    count = pl.len().alias(COUNT).cast(pl.Int64)
    if column.dtype == pl.String:
        return column.rename(VALUE).to_frame().lazy().group_by(VALUE).agg(count).collect(engine="streaming")
    # Numbers are sorted up to three times as fast as they are hashed.
    runs = column.sort().rle().struct.unnest()
    return runs.select(pl.col("value").alias(VALUE), pl.col("len").alias(COUNT).cast(pl.Int64))


def _disjoint(counts_by_dtype: Tally) -> Tally:
    """Return counts of any types of raw_columns.py as a Tally."""
    parts = []
    for dtype, counts in counts_by_dtype.items():
        if dtype == pl.Int32:
            parts.append({pl.Int64: counts.with_columns(widen(counts[VALUE]))})
        elif dtype == pl.String:
            codes, are_codes = read_codes(counts[VALUE])
            coded = counts.with_columns(pl.Series(VALUE, codes)).filter(are_codes)
            parts += [{pl.UInt32: coded}, {pl.String: counts.filter(~are_codes)}]
        else:
            parts.append({dtype: counts})
    return add_tallies(parts)


def _decode(counts: pl.DataFrame) -> pl.DataFrame:
    """Return counts with codes as text."""
    return counts.with_columns(to_texts(counts[VALUE])) if counts.schema[VALUE] == pl.UInt32 else counts


def _add(counts: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the sum of counts by value."""
    return counts[0] if len(counts) == 1 else pl.concat(counts).group_by(VALUE).agg(pl.col(COUNT).sum())
