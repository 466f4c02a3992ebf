# SPDX-License-Identifier: Apache-2.0
"""Batches from a MindRecord folder."""

import os
from typing import Any

import mindspore.dataset as ds
import numpy as np

from src.common.encoded_rows import NO_VALUE
from src.common.records import DENSE_VALUES, LABEL, LIST_IDS, SPARSE_IDS, WEIGHT, pack_lists, unpack_lists
from src.dataset_meta import PADDING_LABEL, DatasetMeta, SplitMeta
from src.distributed.process_group import ProcessGroup

MOST_WORKERS = 8


EVALUATION_ROWS = 4000  # of a batch on a CPU, where larger ones take longer, and their padding, too


def evaluation_batch_size(data: DatasetMeta, batch_size: int, target: str) -> int:
    """Return the rows of a batch that is only predicted; on a CPU few, but at least one record.

    batch_size: that of training, which is the limit.  target: the device.
    """
    rows = data.rows_per_record
    if target != "CPU" or batch_size <= EVALUATION_ROWS or batch_size % rows:
        return batch_size
    return max(EVALUATION_ROWS // rows, 1) * rows


def create_dataset(data: DatasetMeta, split: str, batch_size: int, ranks: ProcessGroup | None = None) -> ds.Dataset:
    """Return a dataset of batches (sparse_ids, dense_values, labels, weights) of all rows of a split, in their order.

    sparse_ids: int32 [B, S], in the last columns the ids of multi-valued fields, NO_VALUE behind those of a row.
    dense_values: float32 [B, N]; left out if N is 0.  labels: float32 [B, 1], -1 for padding.  weights: float32 [B, 1];
    left out if rows have none.  B: batch_size.  The last batches are padded.
    ranks: the processes that divide the records; all of them get the same number of batches.  None: this one alone.
    Raises UserError if the records cannot make such batches, or if the first rank finds them damaged.
    """
    ranks = ranks or ProcessGroup()
    records_per_batch = data.records_per_batch(split, batch_size)
    if ranks.rank == 0:
        data.check_content(split)
    rows = RowsOfRecords(data)
    padding = _padding(data, data.splits[split], rows.columns, records_per_batch * ranks.count)
    dataset = open_records(data, split, records_per_batch, num_shards=ranks.count, shard_id=ranks.rank, **padding)
    return dataset.map(rows, list(rows.columns), rows.names, num_parallel_workers=1)


def open_records(data: DatasetMeta, split: str, records_per_batch: int, **how: Any) -> ds.Dataset:
    """Return a dataset of the columns of record_columns, in batches of records; how: arguments of MindDataset."""
    workers = _worker_count()
    names = list(record_columns(data))
    files = [str(data.path / file.name) for file in data.splits[split].files]
    dataset = ds.MindDataset(files, columns_list=names, num_parallel_workers=workers, **{"shuffle": False, **how})
    if data.list_lengths:
        unpack = _UnpackLists(data.rows_per_record, tuple(data.list_lengths.values()))
        dataset = dataset.map(unpack, input_columns=[LIST_IDS], num_parallel_workers=1)
    return dataset.batch(records_per_batch, num_parallel_workers=workers)


def record_columns(data: DatasetMeta) -> dict[str, tuple[type, int]]:
    """Return the type and the width of the columns of records by name, in the order of a batch."""
    columns: dict[str, tuple[type, int]] = {}
    if data.single_fields:
        columns[SPARSE_IDS] = np.int32, len(data.single_fields)
    if data.list_lengths:
        columns[LIST_IDS] = np.int32, data.list_width
    if data.dense_fields:
        columns[DENSE_VALUES] = np.float32, len(data.dense_fields)
    columns[LABEL] = np.float32, 1
    if data.has_weights:
        columns[WEIGHT] = np.float32, 1
    return columns


class RowsOfRecords:
    """Turns the columns of a batch of records, the bytes of each one, into those of its rows, [rows, width].

    columns: those of records.  names: those of the rows, in which sparse_ids are the ids of all fields.
    """

    def __init__(self, data: DatasetMeta):
        self.columns = record_columns(data)
        self.names = [SPARSE_IDS, *(name for name in self.columns if name not in (SPARSE_IDS, LIST_IDS))]

    def __call__(self, *records: np.ndarray) -> tuple[np.ndarray, ...]:
        forms = self.columns.values()
        rows: list[np.ndarray] = [
            column.view(dtype).reshape(-1, width) for column, (dtype, width) in zip(records, forms)
        ]
        id_columns = len(rows) - len(self.names) + 1
        ids = np.hstack(rows[:id_columns]) if id_columns > 1 else rows[0]
        return ids, *rows[id_columns:]


class _UnpackLists:
    """Turns the packed ids of a record's multi-valued fields into int32 [R, width]."""

    def __init__(self, row_count, lengths):
        self._row_count, self._lengths = row_count, lengths

    def __call__(self, packed):
        return unpack_lists(packed.view(np.uint8), self._row_count, self._lengths)


def _padding(
    data: DatasetMeta, split_meta: SplitMeta, columns: dict[str, tuple[type, int]], records_per_step: int
) -> dict:
    """Return the arguments of MindDataset that pad the last step with records of padding."""
    missing = -split_meta.records % records_per_step
    if not missing:
        return {}
    rows = data.rows_per_record
    sample = {name: np.zeros((rows, width), dtype).tobytes() for name, (dtype, width) in columns.items()}
    sample[LABEL] = np.full(rows, PADDING_LABEL, np.float32).tobytes()
    if data.list_lengths:
        lengths = tuple(data.list_lengths.values())
        sample[LIST_IDS] = pack_lists(np.full((rows, data.list_width), NO_VALUE, np.int32), lengths)
    return {"num_padded": missing, "padded_sample": sample}


def _worker_count() -> int:
    """Return the number of reading threads; MindSpore refuses more than there are cores."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_WORKERS, cores))
