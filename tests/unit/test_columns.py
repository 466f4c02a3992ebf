# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.distributed.process_group import ProcessGroup
from src.evaluation.columns import Columns, drop_padding


def test_columns_are_concatenated_in_the_order_of_the_batches_without_padding():
    columns = Columns(ProcessGroup())
    columns.add(np.array([[1], [0]], np.float32), np.array([7, 8], np.int32))
    columns.add(np.array([[0], [-1]], np.float32), np.array([9, 0], np.int32))
    assert columns.row_count == 4
    labels, ids = columns.gather()
    assert (labels.tolist(), labels.dtype) == ([1, 0, 0], np.float32)
    assert (ids.tolist(), ids.dtype) == ([7, 8, 9], np.int32)


class TwoRanks(ProcessGroup):
    """The first of two ranks; the other one has the columns `others`, in the order in which they are gathered."""

    def __init__(self, *others):
        super().__init__()
        self.count, self._others = 2, list(others)

    def gather(self, column):
        return np.concatenate([column, self._others.pop(0)])


def test_all_columns_of_both_ranks_keep_their_rows():
    others = [np.array([1, -1, -1], np.float32), np.array([4, 0, 0], np.float32), np.array([0.5, 0, 0], np.float32)]
    columns = Columns(TwoRanks(*others))
    columns.add(*(np.array([[first], [second]], np.float32) for first, second in ((0, 1), (2, 3), (7, 0.25))))
    columns.add(*(np.array([[each]], np.float32) for each in (-1, 0, 0)))
    labels, values, weights = columns.gather()
    assert labels.tolist() == [0, 1, 1]
    assert values.tolist() == [2, 3, 4]
    assert weights.tolist() == [7, 0.25, 0.5]


def test_padding_does_not_count():
    labels = np.array([[1], [-1], [0], [-1]], np.float32)
    probabilities = np.array([[0.7], [0.1], [0.2], [0.9]], np.float32)
    real_labels, real_probabilities = drop_padding(labels, probabilities)
    assert real_labels.tolist() == [1, 0]
    assert real_probabilities == pytest.approx([0.7, 0.2])


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="3 labels but 2 of others"):
        drop_padding(np.zeros(3), np.zeros(2))
