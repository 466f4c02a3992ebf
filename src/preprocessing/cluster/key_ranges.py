# SPDX-License-Identifier: Apache-2.0
"""Ranges of keys: the rows of a shard of MindRecord are found by them, wherever the rows are."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from src.preprocessing.schema import KEY_BITS
from src.preprocessing.splits import KeySplits


@dataclasses.dataclass(frozen=True)
class ShardRows:
    """The rows of a shard: `count` rows from row `skip` on of the ranges of keys from first_range to end_range.

    number: of the shard within its split, from 0.
    """

    split: str
    number: int
    first_range: int
    end_range: int
    skip: int
    count: int


@dataclasses.dataclass(frozen=True)
class KeyRanges:
    """2^bits ranges of keys of the same size, cut further where a split begins: each range is of one split."""

    splits: KeySplits
    bits: int

    @functools.cached_property
    def starts(self) -> np.ndarray:
        """The smallest key of each range, uint64 [ranges]."""
        equal = {number << (KEY_BITS - self.bits) for number in range(1 << self.bits)}
        bounds = equal | {self.splits.valid_start, self.splits.test_start}
        return np.array(sorted(bounds - {1 << KEY_BITS}), np.uint64)

    def first_rows(self, sorted_keys: np.ndarray) -> np.ndarray:
        """Return the index of the first row of each range, and the number of rows, uint32 [ranges + 1]."""
        return np.append(np.searchsorted(sorted_keys, self.starts), len(sorted_keys)).astype(np.uint32)

    def shards(self, row_counts: np.ndarray, shard_rows: int) -> Iterator[ShardRows]:
        """Yield the shards of all splits, each of shard_rows rows or, if it is the last of its split, fewer.

        row_counts: number of rows in each range, int64 [ranges].
        """
        for split, ranges in self.splits.split(self.starts).items():
            ends = np.cumsum(row_counts[ranges])
            row_count = int(ends[-1]) if len(ends) else 0
            for number, start in enumerate(range(0, row_count, shard_rows)):
                count = min(shard_rows, row_count - start)
                first = int(np.searchsorted(ends, start, side="right"))
                last = int(np.searchsorted(ends, start + count))
                skip = start - int(ends[first - 1]) if first else start
                yield ShardRows(split, number, ranges.start + first, ranges.start + last + 1, skip, count)


def portions(row_counts: np.ndarray, most_rows: int) -> Iterator[slice]:
    """Yield slices of consecutive ranges with at most most_rows rows together, or of one range; all of row_counts."""
    start = rows = 0
    for number, count in enumerate(row_counts.tolist()):
        if number > start and rows + count > most_rows:
            yield slice(start, number)
            start, rows = number, 0
        rows += count
    yield slice(start, len(row_counts))
