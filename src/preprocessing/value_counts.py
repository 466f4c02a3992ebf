# SPDX-License-Identifier: Apache-2.0
"""The number of times that each value of a column of raw rows occurs; exact, whatever chunks the column comes in."""

import dataclasses
from collections.abc import Iterable, Iterator

import polars as pl

from src.preprocessing.raw_columns import MISSING, read_codes, to_texts

VALUE, COUNT = "value", "count"


@dataclasses.dataclass(frozen=True)
class ValueCounts:
    """The values of a column.

    frequent: a frame of VALUE (Int64 or String) and COUNT, of the values that occur often enough, in any order.
    distinct: number of distinct values, a missing one not among them.  missing: number of rows without a value.
    """

    frequent: pl.DataFrame
    distinct: int
    missing: int


def count_values(chunks: Iterable[pl.Series], threshold: int, max_batch: int) -> ValueCounts:
    """Return the ValueCounts of a column; a value is frequent if it occurs more than `threshold` times.

    chunks: of the column, each with one of the types of raw_columns.py.  max_batch: number of values to count at once.
    """
    counts_by_dtype: dict[pl.DataType, pl.DataFrame] = {}
    for column in _batches(chunks, max_batch):
        counts = column.rename(VALUE).to_frame().lazy().group_by(VALUE).agg(pl.len().alias(COUNT).cast(pl.Int64))
        earlier = [counts_by_dtype[column.dtype]] if column.dtype in counts_by_dtype else []
        counts_by_dtype[column.dtype] = _add([*earlier, counts.collect(engine="streaming")])
    missing = 0
    for dtype, counts in counts_by_dtype.items():
        is_missing = pl.col(VALUE) == MISSING[dtype]
        missing += counts.filter(is_missing)[COUNT].sum()
        counts_by_dtype[dtype] = counts.filter(~is_missing)
    disjoint = _disjoint(counts_by_dtype)
    frequent = [_decode(counts.filter(pl.col(COUNT) > threshold)) for counts in disjoint]
    return ValueCounts(pl.concat(frequent), sum(counts.height for counts in disjoint), missing)


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


def _disjoint(counts_by_dtype: dict[pl.DataType, pl.DataFrame]) -> list[pl.DataFrame]:
    """Return the counts, without missing values, as frames of which no two have a value in common."""
    if pl.String in counts_by_dtype and pl.UInt32 in counts_by_dtype:
        texts = counts_by_dtype[pl.String]
        codes, are_codes = read_codes(texts[VALUE])
        coded = texts.with_columns(pl.Series(VALUE, codes)).filter(are_codes)
        return [_add([counts_by_dtype[pl.UInt32], coded]), texts.filter(~are_codes)]
    if pl.Int32 in counts_by_dtype and pl.Int64 in counts_by_dtype:
        return [_add([counts_by_dtype[pl.Int32].cast({VALUE: pl.Int64}), counts_by_dtype[pl.Int64]])]
    return list(counts_by_dtype.values())


def _decode(counts: pl.DataFrame) -> pl.DataFrame:
    """Return counts with codes as text and integers as Int64."""
    dtype = counts.schema[VALUE]
    if dtype == pl.UInt32:
        return counts.with_columns(to_texts(counts[VALUE]))
    return counts.cast({VALUE: pl.Int64}) if dtype == pl.Int32 else counts


def _add(counts: list[pl.DataFrame]) -> pl.DataFrame:
    """Return the sum of counts by value."""
    return counts[0] if len(counts) == 1 else pl.concat(counts).group_by(VALUE).agg(pl.col(COUNT).sum())
