# SPDX-License-Identifier: Apache-2.0
"""Batches from a MindRecord folder."""

import os

import mindspore.dataset as ds
import numpy as np

from src.common.errors import UserError
from src.dataset_meta import PADDING_LABEL, DatasetMeta

MOST_WORKERS = 8


def create_dataset(path, split, batch_size, training=False, rank=0, rank_count=1):
    """Return a dataset of batches (sparse_ids, dense_values, labels) of a split; without dense_values if it has none.

    sparse_ids: int32 [B, S].  dense_values: float32 [B, N].  labels: float32 [B, 1], -1 for padding.  B: batch_size.
    training: whole records in an order that mindspore.dataset.config.set_seed fixes, another one each epoch, without
    those that do not fill a batch of every rank; all ranks together read what one would with larger batches.
    Otherwise every row once, the last batches filled up with padding.
    rank, rank_count: this reader's share of the records; every rank gets the same number of batches.
    Raises UserError if the records cannot make such batches, or the first rank finds them damaged.
    """
    meta = DatasetMeta.load(path)
    split_meta = meta.splits[split]
    records_per_batch = _records_per_batch(meta, split, batch_size, rank_count if training else None)
    if rank == 0:
        meta.check_content(path, split)
    columns = ["sparse_ids", *(["dense_values"] if meta.dense_fields else []), "label"]
    padding = {} if training else _padding(meta, split_meta, columns, records_per_batch * rank_count)
    workers = _worker_count()
    dataset = ds.MindDataset(
        [os.path.join(path, file.name) for file in split_meta.files],
        columns_list=columns,
        shuffle=training,
        num_shards=rank_count,
        shard_id=rank,
        num_parallel_workers=workers,
        **padding,
    )
    dataset = dataset.batch(records_per_batch, drop_remainder=training, num_parallel_workers=workers)
    if training and rank_count > 1:  # records that do not divide among the ranks come twice
        dataset = dataset.take(split_meta.records // (records_per_batch * rank_count))
    shapes = {
        "sparse_ids": (np.int32, len(meta.sparse_fields)),
        "dense_values": (np.float32, len(meta.dense_fields)),
        "label": (np.float32, 1),
    }
    for column in columns:
        dataset = dataset.map(_Unpack(*shapes[column]), input_columns=[column], num_parallel_workers=1)
    return dataset


class _Unpack:
    """From the bytes of a batch of records to its rows [B, width]."""

    def __init__(self, dtype, width):
        self._dtype, self._width = dtype, width

    def __call__(self, records):
        return records.view(self._dtype).reshape(-1, self._width)


def _records_per_batch(meta, split, batch_size, training_ranks):
    rows = meta.rows_per_record
    if batch_size == 0:
        raise UserError("--batch_size=0 is for export.py alone")
    if batch_size % rows:
        raise UserError(
            f"--batch_size={batch_size} cannot be made of records of {rows} rows; use a multiple of {rows}, "
            f"or preprocess with a --line_per_sample that divides {batch_size}"
        )
    records = meta.splits[split].records
    if not records:
        raise UserError(f"the {split} split has no rows; preprocess with --{split}_ratio above 0")
    if training_ranks and batch_size * training_ranks > records * rows:
        largest = records // training_ranks * rows
        raise UserError(
            f"--batch_size={batch_size}: the {split} split has {records} records of {rows} rows; "
            f"use a multiple of {rows} up to {largest}, or preprocess with a smaller --line_per_sample"
        )
    return batch_size // rows


def _padding(meta, split_meta, columns, records_per_step):
    """Return the arguments of MindDataset that fill the last step up with records of padding."""
    missing = -split_meta.records % records_per_step
    if not missing:
        return {}
    rows = meta.rows_per_record
    sample = {
        "sparse_ids": np.zeros((rows, len(meta.sparse_fields)), np.int32),
        "dense_values": np.zeros((rows, len(meta.dense_fields)), np.float32),
        "label": np.full(rows, PADDING_LABEL, np.float32),
    }
    return {"num_padded": missing, "padded_sample": {name: sample[name].tobytes() for name in columns}}


def _worker_count():
    """Return how many reading threads this host bears; MindSpore refuses more than there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(MOST_WORKERS, cores))
