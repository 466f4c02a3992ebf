# SPDX-License-Identifier: Apache-2.0
"""Rows of a split on which the effects of fields are measured, and the columns that each field has in them."""

import dataclasses
import itertools

import numpy as np
from mindspore.dataset import Dataset

from src.dataset_meta import PADDING_LABEL, DatasetMeta
from src.distributed.process_group import ProcessGroup


@dataclasses.dataclass(frozen=True)
class InputField:
    """A column of the raw rows, and its parts in the network: a dense value, an id, or both, or several ids.

    ids: its columns of sparse_ids.  sparse_index, dense_index: its number among the sparse and among the dense fields
    of the network; None if it is not one of them.
    """

    name: str
    ids: range = range(0)
    sparse_index: int | None = None
    dense_index: int | None = None


@dataclasses.dataclass(frozen=True)
class FieldSample:
    """The rows of one rank: all ranks have as many, those that have fewer with padding behind them.

    sparse_ids: int32 [n, I].  dense_values: float32 [n, N], or None if N is 0.  labels: float32 [n], PADDING_LABEL for
    padding.  weights: float32 [n], above 0 but for padding, or None.
    batch_rows: of a batch of the dataset, for which the network is compiled.
    """

    sparse_ids: np.ndarray
    dense_values: np.ndarray | None
    labels: np.ndarray
    weights: np.ndarray | None
    batch_rows: int

    @property
    def row_count(self) -> int:
        """The number n of rows of this rank, with the padding."""
        return len(self.labels)

    @property
    def real_rows(self) -> np.ndarray:
        """The positions of the rows that are not padding."""
        return np.flatnonzero(self.labels != PADDING_LABEL)


def input_fields(data: DatasetMeta) -> list[InputField]:
    """Return the fields of data: numbers, then categories; a number that gives a value and a bucket is one field."""
    widths = [data.list_lengths.get(name, 1) for name in data.sparse_fields]
    blocks = [range(end - width, end) for end, width in zip(itertools.accumulate(widths), widths)]
    ids = dict(zip(data.sparse_fields, blocks))
    sparse, dense = ({name: index for index, name in enumerate(names)} for names in (ids, data.dense_fields))
    names = dict.fromkeys([*data.dense_fields, *data.sparse_fields])
    return [InputField(name, ids.get(name, range(0)), sparse.get(name), dense.get(name)) for name in names]


def read_sample(dataset: Dataset, ranks: ProcessGroup, most_rows: int, *, has_dense_values: bool) -> FieldSample:
    """Return the first rows of a dataset, of all ranks together at most most_rows; rows of weight 0 are left out.

    The order of the rows in MindRecord is random, so the first ones are a random sample.  Collective.
    dataset: of create_dataset.
    """
    most_of_rank = -(-most_rows // ranks.count)
    batches, row_count = [], 0
    for batch in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True):
        batches.append(batch)
        row_count += len(batch[0])
        if row_count >= most_of_rank:
            break
    columns = [np.concatenate(parts) for parts in zip(*batches)]
    inputs, (labels, *weights) = columns[: 1 + has_dense_values], columns[1 + has_dense_values :]
    counts = (labels != PADDING_LABEL) & np.all([weight > 0 for weight in weights], axis=0)
    own = np.array([min(np.count_nonzero(counts), most_of_rank)], np.int32)
    kept = np.argsort(~counts.ravel(), kind="stable")[: ranks.gather(own).max()]
    sparse_ids, *dense_values = (column[kept] for column in inputs)
    return FieldSample(
        sparse_ids,
        dense_values[0] if has_dense_values else None,
        np.where(counts, labels, PADDING_LABEL)[kept, 0],
        weights[0][kept, 0] if weights else None,
        len(batches[0][0]),
    )
