# SPDX-License-Identifier: Apache-2.0
"""Rows of a split on which the effects of fields are measured, and the columns that each field has in them."""

import dataclasses
import itertools

import numpy as np

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


class RowSampler:
    """Collects the first rows of a split while it is predicted, so that they need not be read again.

    The order of the rows in MindRecord is random, so the first ones are a random sample.
    """

    def __init__(self, ranks: ProcessGroup, most_rows: int):
        """most_rows: of all ranks together, rounded up to as many of each."""
        self._ranks, self._most_rows = ranks, -(-most_rows // ranks.count)
        self._batches: list[tuple[list[np.ndarray], ...]] = []
        self._row_count = 0

    def add(self, inputs: list[np.ndarray], labels: np.ndarray, *weights: np.ndarray) -> None:
        """Add a batch, as src.evaluation.evaluate.predict gives it."""
        if self._row_count < self._most_rows:
            self._batches.append((inputs, [labels], [*weights]))
            self._row_count += len(labels)

    def sample(self) -> FieldSample | None:
        """Return the rows, without those of weight 0; None if no rank has any.  Collective."""
        if not self._batches:
            return None
        inputs, (labels,), weights = ([np.concatenate(column) for column in zip(*part)] for part in zip(*self._batches))
        counts = (labels != PADDING_LABEL) & np.all([weight > 0 for weight in weights], axis=0)
        own = np.array([min(np.count_nonzero(counts), self._most_rows)], np.int32)
        kept = np.argsort(~counts.ravel(), kind="stable")[: self._ranks.gather(own).max()]
        if not kept.size:
            return None
        sparse_ids, *dense_values = (column[kept] for column in inputs)
        return FieldSample(
            sparse_ids,
            dense_values[0] if dense_values else None,
            np.where(counts, labels, PADDING_LABEL)[kept, 0],
            weights[0][kept, 0] if weights else None,
            len(self._batches[0][1][0]),
        )
