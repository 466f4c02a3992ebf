# SPDX-License-Identifier: Apache-2.0
"""Columns of the rows of a split, collected batch by batch by every rank."""

import numpy as np

from src.dataset_meta import PADDING_LABEL
from src.distributed.process_group import ProcessGroup


class Columns:
    """Labels and other columns of the same rows; a batch may end in padding, so that all ranks have as many rows."""

    def __init__(self, ranks: ProcessGroup):
        self._ranks = ranks
        self.batches: list[tuple[np.ndarray, ...]] = []
        self.row_count = 0  # of this rank, with the padding

    def add(self, labels: np.ndarray, *columns: np.ndarray) -> None:
        """Add a batch of columns, each [b] or [b, 1]."""
        self.batches.append((labels, *columns))
        self.row_count += len(labels)

    def gather(self) -> tuple[np.ndarray, ...]:
        """Return labels and the other columns of all ranks, each [n], without padding; to be called by all ranks."""
        return drop_padding(*(self._ranks.gather(concatenate(column)) for column in zip(*self.batches)))


def concatenate(arrays: list[np.ndarray]) -> np.ndarray:
    """Return the elements of all arrays, [n]."""
    return np.concatenate([array.ravel() for array in arrays])


def drop_padding(labels: np.ndarray, *columns: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return labels and other columns, all [n] or [n, 1], as [m], without the rows whose label is PADDING_LABEL."""
    labels, *others = map(np.ravel, (labels, *columns))
    if any(column.shape != labels.shape for column in others):
        raise ValueError(f"{labels.size} labels but {' and '.join(str(column.size) for column in others)} of others")
    real = labels != PADDING_LABEL
    return labels[real], *(column[real] for column in others)
