# SPDX-License-Identifier: Apache-2.0
"""The batches of a training."""

import itertools
from collections.abc import Iterator

import mindspore.dataset as ds
import numpy as np

from src.dataset import RowsOfRecords, open_records
from src.dataset_meta import DatasetMeta
from src.distributed.process_group import ProcessGroup
from src.training.shuffling import Shuffling
from src.training.value_statistics import fold_of_rows


class TrainingData:
    """The batches of the training split, whose rows are shuffled as shuffling.py says.

    A batch has the columns of create_dataset.  Together the ranks read the batches that one rank would read with a
    larger batch size.
    ranks: the processes that divide the records; all of them get the same number of batches.  None: this one alone.
    has_folds: whether batches have a last column, int32 [B, 1], of the folds of value_statistics.py.
    Raises UserError if the records cannot make such batches, or if the first rank finds them damaged.
    """

    def __init__(
        self,
        data: DatasetMeta,
        batch_size: int,
        seed: int,
        ranks: ProcessGroup | None = None,
        *,
        has_folds: bool = False,
    ):
        ranks = ranks or ProcessGroup()
        records_per_batch = data.records_per_batch("train", batch_size, training_ranks=ranks.count)
        if ranks.rank == 0:
            data.check_content("train")
        records = data.splits["train"].records
        self._data, self._rank, self._has_folds = data, ranks.rank, has_folds
        self._shuffling = Shuffling(records, data.rows_per_record, records_per_batch, ranks.count, seed)

    def get_dataset_size(self) -> int:
        """Return the number of batches of an epoch; the name is that of MindSpore's datasets, for callbacks."""
        return self._shuffling.steps_per_epoch

    def from_step(self, step: int, epochs: int) -> ds.Dataset:
        """Return the dataset of all batches that are left after `step` steps of `epochs` epochs.

        A pass over it is the rest of the training: it does not matter how often MindSpore begins one, as it does to
        find the shapes of the batches.
        """
        source = _Steps(self._data, self._shuffling, self._rank, step, epochs, has_folds=self._has_folds)
        return ds.GeneratorDataset(source, source.names, shuffle=False, python_multiprocessing=False)


class _Steps:
    """The batches of all steps from one on, in the form that GeneratorDataset takes."""

    def __init__(self, data, shuffling, rank, first_step, epochs, *, has_folds):
        self._data, self._shuffling, self._rank = data, shuffling, rank
        self._first_step, self._epochs = first_step, epochs
        self._rows, self._has_folds = RowsOfRecords(data), has_folds
        self.names = [*self._rows.names, *(["fold"] if has_folds else [])]

    def __len__(self):
        return self._epochs * self._shuffling.steps_per_epoch - self._first_step

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        first_epoch, passed = divmod(self._first_step, self._shuffling.steps_per_epoch)
        for epoch in range(first_epoch, self._epochs):
            yield from self._epoch(epoch, passed)
            passed = 0

    def _epoch(self, epoch, passed):
        windows = self._shuffling.windows()
        first = next(index for index, window in enumerate(windows) if passed in window)
        records = self._shuffling.records_of_windows(epoch, self._rank)[first:]
        batches = self._read(np.concatenate(records))
        for window, read in zip(windows[first:], records):
            parts = itertools.islice(batches, len(window))
            columns = self._rows(*(np.concatenate(column) for column in zip(*parts)))
            if self._has_folds:
                columns = *columns, self._folds(read)
            steps = self._shuffling.rows_of_steps(epoch, window, self._rank)
            for index in steps[max(passed - window.start, 0) :]:
                yield tuple(column.take(index, axis=0) for column in columns)

    def _folds(self, records):
        """Return the folds of the rows of records, int32 [rows, 1]."""
        size = self._data.rows_per_record
        return fold_of_rows((records[:, None] * size + np.arange(size)).ravel())[:, None]

    def _read(self, records):
        """Return an iterator over the columns of records, in their order, in batches."""
        sampler = ds.SubsetSampler(records.tolist())
        dataset = open_records(self._data, "train", self._shuffling.records_per_batch, shuffle=None, sampler=sampler)
        return dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
