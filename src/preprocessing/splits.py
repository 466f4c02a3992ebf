# SPDX-License-Identifier: Apache-2.0
"""The split and the order of the rows, by a key.

The order of the keys is the order of the rows in the result; the ends of the key range are the validation and the test
split.  In a random split the key is SplitMix64 of the line number.  If other things decide on the split, as the time,
this key is mapped into the range of the row's split.  So neither depends on the size of the chunks, on the packing of
the file or on the machine.
"""

import dataclasses
import enum
import itertools

import numpy as np
import polars as pl

from src.common.splitmix import splitmix64
from src.dataset_meta import SPLITS
from src.preprocessing.schema import KEY, KEY_BITS, LABEL, LINE_NUMBER, TIME

END = 2**KEY_BITS
SAMPLE_SEED = 0xA0761D6478BD642F  # combined with that of the keys, so that sample and split are unrelated
HALF_BITS = np.uint64(KEY_BITS // 2)
LEAST_WIDTH = 2**33  # of the range of a split into which keys are mapped
TRAIN, VALID, TEST = range(len(SPLITS))


class SplitBy(str, enum.Enum):
    """What decides on the split of a row."""

    KEY = "key"
    ROW = "row"
    TIME = "time"


@dataclasses.dataclass(frozen=True)
class KeySplits:
    """The split and the key of each row.

    seed: of the keys.  valid_start, test_start: the smallest keys of the validation and of the test split, 2^64 if it
    is empty.
    by: what decides on the split of a row, unless its file does.  valid_from, test_from: the first key of a random
    split, row number or time of the validation and of the test split; None if no row gets there by it.
    is_mapped: whether keys are mapped into the range of their split; if not, they are in it already.
    keep_below: rows of the training split without a click are left out unless their hash is below this.
    """

    seed: int
    valid_start: int
    test_start: int
    by: SplitBy = SplitBy.KEY
    valid_from: int | None = None
    test_from: int | None = None
    is_mapped: bool = False
    keep_below: int = END

    @classmethod
    def from_ratios(
        cls, seed: int, valid_ratio: float, test_ratio: float, negative_keep_rate: float = 1.0
    ) -> "KeySplits":
        """Return a random split.  valid_ratio, test_ratio: together 1 at most."""
        test_start = END - round(test_ratio * END)
        valid_start = max(test_start - round(valid_ratio * END), 0)  # 0.1 + 0.9 is more than 1, as floats are
        return cls(
            seed,
            valid_start,
            test_start,
            valid_from=valid_start if valid_ratio else None,
            test_from=test_start if test_ratio else None,
            keep_below=round(negative_keep_rate * END),
        )

    def with_files(self, valid_fraction: float, test_fraction: float) -> "KeySplits":
        """Return the same split of the other rows if some splits have files of their own.

        valid_fraction, test_fraction: roughly, of all rows, of those in such files.
        """
        valid_own, test_own = self._fractions
        rest = 1 - valid_fraction - test_fraction
        return self._mapped(valid_own * rest + valid_fraction, test_own * rest + test_fraction)

    @classmethod
    def from_dict(cls, content: dict) -> "KeySplits":
        """Return the splits of which dataclasses.asdict, perhaps by way of JSON, has made `content`."""
        return cls(**{**content, "by": SplitBy(content["by"])})

    def by_row(self, row_count: int, valid_ratio: float, test_ratio: float) -> "KeySplits":
        """Return the split of which the last of row_count rows are the test split, and those before it validation."""
        test_from = row_count - round(test_ratio * row_count)
        valid_from = max(test_from - round(valid_ratio * row_count), 0)
        return self._with_bounds(SplitBy.ROW, valid_from, test_from, valid_ratio, test_ratio)

    def by_time(self, times: pl.DataFrame, valid_ratio: float, test_ratio: float) -> "KeySplits":
        """Return the split by time whose fractions are nearest to the ratios; rows of one time are in one split.

        times: a frame of all times, `value` (Int64), and the number of rows of each, `count`.
        """
        ordered = times.sort("value")
        values = ordered["value"].to_list()
        before = np.concatenate([[0], np.cumsum(ordered["count"].to_numpy())])  # rows before each time, and all of them

        def first_time(rows):
            """Return the time before which there are about so many rows; None if that is nearest to all of them."""
            index = int(np.argmin(np.abs(before - rows)))
            return values[index] if index < len(values) else None

        total = int(before[-1])
        test_from = first_time(total - round(test_ratio * total))
        valid_from = first_time(total - round(test_ratio * total) - round(valid_ratio * total))
        return self._with_bounds(SplitBy.TIME, valid_from, test_from, valid_ratio, test_ratio)

    def _with_bounds(self, by, valid_from, test_from, valid_ratio, test_ratio):
        return self._mapped(
            *self._fractions,
            by=by,
            valid_from=valid_from if valid_ratio else None,
            test_from=test_from if test_ratio else None,
        )

    @property
    def _fractions(self):
        """The fractions of the keys in the ranges of the validation and of the test split."""
        return (self.test_start - self.valid_start) / END, (END - self.test_start) / END

    def _mapped(self, valid_fraction, test_fraction, **changes):
        """Return splits whose keys are mapped into ranges of about these fractions of all keys.

        Each range, that of the training split too, has at least LEAST_WIDTH keys.
        """
        most = END - len(SPLITS) * LEAST_WIDTH
        test_start = END - LEAST_WIDTH - round(test_fraction * most)
        valid_start = max(test_start - LEAST_WIDTH - round(valid_fraction * most), LEAST_WIDTH)
        return dataclasses.replace(self, valid_start=valid_start, test_start=test_start, is_mapped=True, **changes)

    def keys(self, line_numbers: np.ndarray) -> np.ndarray:
        """Return the keys in a random split, uint64 [n], of lines numbered from 0, uint64 [n]."""
        return splitmix64(self.seed, line_numbers)

    def with_keys(self, frame: pl.DataFrame, file_split: int = TRAIN) -> pl.DataFrame:
        """Return the rows of `frame` sorted by KEY, which takes the place of LINE_NUMBER and TIME.

        file_split: the split of all rows of their file; TRAIN if that does not decide on it.
        """
        lines = frame[LINE_NUMBER].to_numpy()
        keys = self.keys(lines)
        splits = self._splits_of(frame, keys, file_split) if self.is_mapped or self.keep_below < END else None
        if self.is_mapped:
            keys = self._into_ranges(keys, splits)
        rows = frame.drop(LINE_NUMBER, TIME, strict=False).with_columns(pl.Series(KEY, keys))
        if self.keep_below < END:
            hashes = splitmix64(self.seed ^ SAMPLE_SEED, lines)
            is_left_out = (splits == TRAIN) & (hashes >= np.uint64(self.keep_below)) & (frame[LABEL] == 0).to_numpy()
            rows = rows.filter(~is_left_out)
        # In one thread, as several chunks are parsed at the same time.
        return rows.sort(KEY, multithreaded=False)

    def _splits_of(self, frame, keys, file_split):
        """Return the split of each row, TRAIN, VALID or TEST, int8 [n]."""
        if file_split != TRAIN:
            return np.full(frame.height, file_split, np.int8)
        columns = {SplitBy.ROW: LINE_NUMBER, SplitBy.TIME: TIME}
        values = keys if self.by is SplitBy.KEY else frame[columns[self.by]].to_numpy()
        splits = np.zeros(frame.height, np.int8)
        for bound, split in ((self.valid_from, VALID), (self.test_from, TEST)):
            if bound is not None:
                splits[values >= bound] = split
        return splits

    def _into_ranges(self, keys, splits):
        """Return keys, uint64 [n], mapped into the ranges of their splits, in the same order within each."""
        bounds = [0, self.valid_start, self.test_start, END]
        starts = np.array(bounds[:-1], np.uint64)[splits]
        widths = np.array([(end - start) >> int(HALF_BITS) for start, end in itertools.pairwise(bounds)], np.uint64)
        widths = widths[splits]
        # start + key * width / 2^64, without the lower half of the width, in 64 bits
        high, low = keys >> HALF_BITS, keys & np.uint64(2 ** int(HALF_BITS) - 1)
        return starts + high * widths + (low * widths >> HALF_BITS)

    def split(self, sorted_keys: np.ndarray) -> dict[str, slice]:
        """Return for each split its slice of `sorted_keys`, uint64 [n]."""
        valid, test = (
            int(np.searchsorted(sorted_keys, np.uint64(start))) if start < END else len(sorted_keys)
            for start in (self.valid_start, self.test_start)
        )
        return {"train": slice(0, valid), "valid": slice(valid, test), "test": slice(test, len(sorted_keys))}
