# SPDX-License-Identifier: Apache-2.0
"""The order in which training reads rows: another one each epoch, a function of the seed and the epoch.

Rows are stored in records.  The records of an epoch are put into a random order and read in windows of some steps; in a
window the rows of each record, in a random order too, are dealt to the steps in turn.  So a batch has rows of all
records of a window, and of a record at most one row more than its part.

Ranks divide the records of a window, and a row comes in the same step however many ranks there are.
"""

import itertools
from dataclasses import dataclass

import numpy as np

WINDOW_ROWS = 2**18  # of all ranks; a row of Criteo's 39 columns has 160 bytes
LEAST_STEPS = 8  # of a window, even if those have more rows


@dataclass(frozen=True)
class Shuffling:
    """How `record_count` records of `rows_per_record` rows become the batches of `rank_count` ranks.

    records_per_batch: of one rank.  Records that do not fill a step of all ranks are left out, other ones each epoch.
    """

    record_count: int
    rows_per_record: int
    records_per_batch: int
    rank_count: int
    seed: int

    @property
    def records_per_step(self) -> int:
        """The number of records of a step of all ranks."""
        return self.records_per_batch * self.rank_count

    @property
    def steps_per_epoch(self) -> int:
        """The number of steps in an epoch."""
        return self.record_count // self.records_per_step

    def windows(self) -> list[range]:
        """Return the steps of each window of an epoch; the numbers of steps differ by at most one."""
        most_steps = max(WINDOW_ROWS // (self.records_per_step * self.rows_per_record), LEAST_STEPS)
        count = -(-self.steps_per_epoch // most_steps)
        bounds = (self.steps_per_epoch * window // count for window in range(count + 1))
        return [range(*pair) for pair in itertools.pairwise(bounds)]

    def records_of_windows(self, epoch: int, rank: int) -> list[np.ndarray]:
        """Return the indices of the records that a rank reads in each window of an epoch, int64 [n], in their order."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.record_count)
        starts = (window.start * self.records_per_step for window in self.windows())
        counts = [len(window) * self.records_per_batch for window in self.windows()]
        return [order[start + rank * count :][:count] for start, count in zip(starts, counts)]

    def rows_of_steps(self, epoch: int, window: range, rank: int) -> np.ndarray:
        """Return which of the rows that a rank reads in a window make each batch, int64 [steps, B].

        Row r of the record that is read as the i-th one, from 0 on, has the index i * rows_per_record + r.
        """
        steps, rows = len(window), self.rows_per_record
        records = steps * self.records_per_batch
        row_numbers = np.tile(np.arange(rows, dtype=np.int32), (records * self.rank_count, 1))
        # All ranks draw for all records, so that a record's rows are dealt alike however many ranks there are.
        dealt = np.random.default_rng([self.seed, epoch, window.start]).permuted(row_numbers, axis=1)
        dealt = dealt[rank * records : (rank + 1) * records]
        records_read = np.arange(records)[:, None]
        # A record begins with the step after that of the record before, as `steps` may not divide its rows.
        step_of = (records_read + np.arange(rows)) % steps
        by_step = step_of.astype(np.int32).argsort(axis=None, kind="stable")
        return (records_read * rows + dealt).ravel()[by_step].reshape(steps, -1)
