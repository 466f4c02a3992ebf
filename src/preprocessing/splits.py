# SPDX-License-Identifier: Apache-2.0
"""The split and the order of the rows, by a key: SplitMix64 of the line number.

The order of the keys is the order of the rows in the result; the ends of the key range are the validation and the test
split.  So neither depends on the size of the chunks, on the packing of the file or on the machine.
"""

import dataclasses

import numpy as np
import polars as pl

from src.common.splitmix import splitmix64
from src.preprocessing.schema import KEY, KEY_BITS, LINE_NUMBER


@dataclasses.dataclass(frozen=True)
class KeySplits:
    """The smallest keys of the validation and of the test split, 2^64 if it is empty; the seed of the keys."""

    seed: int
    valid_start: int
    test_start: int

    @classmethod
    def from_ratios(cls, seed: int, valid_ratio: float, test_ratio: float) -> "KeySplits":
        test_start = 2**KEY_BITS - round(test_ratio * 2**KEY_BITS)
        return cls(seed, test_start - round(valid_ratio * 2**KEY_BITS), test_start)

    def keys(self, line_numbers: np.ndarray) -> np.ndarray:
        """Return the keys, uint64 [n], of lines numbered from 0, uint64 [n]."""
        return splitmix64(self.seed, line_numbers)

    def with_keys(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of `frame` sorted by KEY, which takes the place of LINE_NUMBER."""
        keys = pl.Series(KEY, self.keys(frame[LINE_NUMBER].to_numpy()))
        # In one thread, as several chunks are parsed at the same time.
        return frame.drop(LINE_NUMBER).with_columns(keys).sort(KEY, multithreaded=False)

    def split(self, sorted_keys: np.ndarray) -> dict[str, slice]:
        """Return for each split its slice of `sorted_keys`, uint64 [n]."""
        valid, test = (
            int(np.searchsorted(sorted_keys, np.uint64(start))) if start < 2**KEY_BITS else len(sorted_keys)
            for start in (self.valid_start, self.test_start)
        )
        return {"train": slice(0, valid), "valid": slice(valid, test), "test": slice(test, len(sorted_keys))}
