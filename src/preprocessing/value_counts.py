# SPDX-License-Identifier: Apache-2.0
"""How often each value of a column of raw rows occurs; exact, whatever pieces the column comes in."""

import dataclasses

import polars as pl

from src.preprocessing.raw_columns import MISSING, read_codes, to_texts

VALUE, COUNT = "value", "count"


@dataclasses.dataclass(frozen=True)
class ValueCounts:
    """The values of a column.

    frequent: a frame of VALUE (Int64 or String), those that occur often enough, and COUNT, in no certain order.
    distinct: how many values there are, a missing one not among them.  missing: how often there is none.
    """

    frequent: pl.DataFrame
    distinct: int
    missing: int


def count_values(pieces, threshold, at_once):
    """Return the ValueCounts of a column; those are frequent that occur more than `threshold` times.

    pieces: Series, each in one of the ways of raw_columns.py.  at_once: how many values to count in one go.
    """
    counted = {}
    for column in _join(pieces, at_once):
        counts = column.rename(VALUE).to_frame().lazy().group_by(VALUE).agg(pl.len().alias(COUNT).cast(pl.Int64))
        earlier = [counted[column.dtype]] if column.dtype in counted else []
        counted[column.dtype] = _merge([*earlier, counts.collect(engine="streaming")])
    missing = 0
    for kind, counts in counted.items():
        is_missing = pl.col(VALUE) == MISSING[kind]
        missing += counts.filter(is_missing)[COUNT].sum()
        counted[kind] = counts.filter(~is_missing)
    parts = _disjoint(counted)
    frequent = [_plain(counts.filter(pl.col(COUNT) > threshold)) for counts in parts]
    return ValueCounts(pl.concat(frequent), sum(counts.height for counts in parts), missing)


def _join(pieces, at_once):
    """Yield the pieces, those of a type together, about `at_once` values at a time."""
    waiting, size = {}, 0
    for piece in pieces:
        waiting.setdefault(piece.dtype, []).append(piece)
        size += len(piece)
        if size >= at_once:
            yield from map(pl.concat, waiting.values())
            waiting, size = {}, 0
    yield from map(pl.concat, waiting.values())


def _disjoint(counted):
    """Return frames of VALUE and COUNT of which no two have a value in common, from such by type, none missing."""
    if pl.String in counted and pl.UInt32 in counted:
        texts = counted[pl.String]
        codes, are_codes = read_codes(texts[VALUE])
        coded = texts.with_columns(pl.Series(VALUE, codes)).filter(are_codes)
        return [_merge([counted[pl.UInt32], coded]), texts.filter(~are_codes)]
    if pl.Int32 in counted and pl.Int64 in counted:
        return [_merge([counted[pl.Int32].cast({VALUE: pl.Int64}), counted[pl.Int64]])]
    return list(counted.values())


def _plain(counts):
    kind = counts.schema[VALUE]
    if kind == pl.UInt32:
        return counts.with_columns(to_texts(counts[VALUE]))
    return counts.cast({VALUE: pl.Int64}) if kind == pl.Int32 else counts


def _merge(parts):
    return parts[0] if len(parts) == 1 else pl.concat(parts).group_by(VALUE).agg(pl.col(COUNT).sum())
