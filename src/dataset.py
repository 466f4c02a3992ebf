# SPDX-License-Identifier: Apache-2.0
"""Batches from a MindRecord folder."""

import os

import mindspore.dataset as ds
import numpy as np

from src.dataset_meta import PADDING_LABEL, DatasetMeta, SplitMeta
from src.distributed.process_group import ProcessGroup

MOST_WORKERS = 8


def create_dataset(
    data: DatasetMeta, split: str, batch_size: int, *, shuffle: bool = False, ranks: ProcessGroup | None = None
) -> ds.Dataset:
    """Return a dataset of batches (sparse_ids, dense_values, labels) of a split; without dense_values if it has none.

    sparse_ids: int32 [B, S].  dense_values: float32 [B, N].  labels: float32 [B, 1], -1 for padding.  B: batch_size.
    shuffle: for training: complete records in an order that mindspore.dataset.config.set_seed fixes, another one each
    epoch, without those that do not fill a batch of every rank; together the ranks read the batches that one rank would
    read with a larger batch size.  Otherwise every row comes once, and the last batches are padded.
    ranks: the processes that divide the records; all of them get the same number of batches.  None: this one alone.
    Raises UserError if the records cannot make such batches, or if the first rank finds them damaged.
    """
    ranks = ranks or ProcessGroup()
    split_meta = data.splits[split]
    records_per_batch = data.records_per_batch(split, batch_size, training_ranks=ranks.count if shuffle else None)
    records_per_step = records_per_batch * ranks.count
    if ranks.rank == 0:
        data.check_content(split)
    columns = ["sparse_ids", *(["dense_values"] if data.dense_fields else []), "label"]
    padding = {} if shuffle else _padding(data, split_meta, columns, records_per_step)
    workers = _worker_count()
    dataset = ds.MindDataset(
        [str(data.path / file.name) for file in split_meta.files],
        columns_list=columns,
        shuffle=shuffle,
        num_shards=ranks.count,
        shard_id=ranks.rank,
        num_parallel_workers=workers,
        **padding,
    )
    dataset = dataset.batch(records_per_batch, drop_remainder=shuffle, num_parallel_workers=workers)
    if shuffle and ranks.count > 1:  # records that do not divide among the ranks come twice
        dataset = dataset.take(split_meta.records // records_per_step)
    shapes = {
        "sparse_ids": (np.int32, len(data.sparse_fields)),
        "dense_values": (np.float32, len(data.dense_fields)),
        "label": (np.float32, 1),
    }
    for column in columns:
        dataset = dataset.map(_Unpack(*shapes[column]), input_columns=[column], num_parallel_workers=1)
    return dataset


class _Unpack:
    """Turns the bytes of a batch of records into its rows, [B, width]."""

    def __init__(self, dtype, width):
        self._dtype, self._width = dtype, width

    def __call__(self, records):
        return records.view(self._dtype).reshape(-1, self._width)


def _padding(data: DatasetMeta, split_meta: SplitMeta, columns: list[str], records_per_step: int) -> dict:
    """Return the arguments of MindDataset that pad the last step with records of padding."""
    missing = -split_meta.records % records_per_step
    if not missing:
        return {}
    rows = data.rows_per_record
    sample = {
        "sparse_ids": np.zeros((rows, len(data.sparse_fields)), np.int32),
        "dense_values": np.zeros((rows, len(data.dense_fields)), np.float32),
        "label": np.full(rows, PADDING_LABEL, np.float32),
    }
    return {"num_padded": missing, "padded_sample": {name: sample[name].tobytes() for name in columns}}


def _worker_count() -> int:
    """Return the number of reading threads; MindSpore refuses more than there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores))
