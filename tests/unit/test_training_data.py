# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.dataset_meta import DatasetMeta
from src.training import shuffling
from src.training.training_data import TrainingData
from tests.list_records import draw_rows, write_folder
from tests.ranks import Reader
from tests.records import read_rows


def batches(train_data, step=0, epochs=1):
    return list(train_data.from_step(step, epochs).create_tuple_iterator(num_epochs=1, output_numpy=True))


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch):
    """Windows of four to five of the 20 steps."""
    monkeypatch.setattr(shuffling, "WINDOW_ROWS", 250)
    monkeypatch.setattr(shuffling, "LEAST_STEPS", 2)


def test_batches_have_the_rows_of_the_training_split(dataset):
    data = DatasetMeta.load(dataset)
    got = batches(TrainingData(data, 50, seed=3))
    assert len(got) == data.splits["train"].records
    for sparse_ids, dense_values, labels in got:
        assert (sparse_ids.shape, sparse_ids.dtype) == ((50, 7), np.int32)
        assert (dense_values.shape, dense_values.dtype) == ((50, 3), np.float32)
        assert (labels.shape, labels.dtype) == ((50, 1), np.float32)
    found = np.hstack([np.concatenate(column).astype(np.float64) for column in zip(*got)])
    found = found[found[:, -1] >= 0]
    expected = np.hstack([column.reshape(len(column), -1) for column in read_rows(dataset, "train")])
    assert not np.array_equal(found, expected)
    assert np.array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)].astype(np.float64))


@pytest.mark.parametrize("rank_count", [1, 2, 3])
def test_rows_with_lists_and_weights_stay_together(tmp_path, rank_count):
    data = write_folder(tmp_path / "mindrecord", (403, 0, 0), 10)
    parts = [batches(TrainingData(data, 20, 4, Reader(rank, rank_count))) for rank in range(rank_count)]
    assert {len(part) for part in parts} == {41 // (2 * rank_count)}  # of 41 records, two a batch
    columns = [np.concatenate(column) for column in zip(*(batch for part in parts for batch in part))]
    real = columns[2].ravel() != -1
    ids, dense_values, labels, weights = (column[real] for column in columns)
    numbers = ids[:, 0]  # the first id of a row is its number
    assert len(set(numbers.tolist())) == len(numbers) >= 403 - 20 * rank_count - 7
    expected = draw_rows(0, 403)
    assert np.array_equal(ids, np.hstack([expected["sparse_ids"], expected["list_ids"]])[numbers])
    assert np.array_equal(dense_values, expected["dense_values"][numbers])
    assert np.array_equal(labels.ravel(), expected["label"][numbers])
    assert np.array_equal(weights.ravel(), expected["weight"][numbers])


@pytest.mark.parametrize("rank_count", [2, 3])
def test_ranks_together_read_the_batches_of_one(dataset, rank_count):
    def epochs(batch_size, rank, count):
        return batches(TrainingData(DatasetMeta.load(dataset), batch_size, 1, Reader(rank, count)), epochs=2)

    alone = epochs(50 * rank_count, 0, 1)
    parts = [epochs(50, rank, rank_count) for rank in range(rank_count)]
    assert {len(part) for part in parts} == {len(alone)}
    assert len(alone) > 7
    for step, batch in enumerate(alone):
        for column, expected in zip(zip(*(part[step] for part in parts)), batch):
            # The rows of a rank come record by record, as those of one do: only ranks' parts follow each other.
            np.testing.assert_array_equal(np.concatenate(column), expected)


@pytest.mark.parametrize("step", [0, 1, 4, 5, 13, 20, 39])
def test_batches_from_a_step_on_are_those_of_a_complete_training(dataset, step):
    data = DatasetMeta.load(dataset)
    steps = TrainingData(data, 50, 1).get_dataset_size()
    complete = batches(TrainingData(data, 50, 1), epochs=2)
    rest = batches(TrainingData(data, 50, 1), step, epochs=2)
    assert len(complete) == 2 * steps
    assert len(rest) == 2 * steps - step
    for batch, expected in zip(rest, complete[step:]):
        for column, expected_column in zip(batch, expected):
            np.testing.assert_array_equal(column, expected_column)


def test_epochs_and_seeds_have_different_orders(dataset):
    data = DatasetMeta.load(dataset)
    steps = TrainingData(data, 50, 1).get_dataset_size()
    two_epochs = [batch[0] for batch in batches(TrainingData(data, 50, 1), epochs=2)]
    other_seed = [batch[0] for batch in batches(TrainingData(data, 50, 2))]
    for others in (two_epochs[steps:], other_seed):
        assert not any(np.array_equal(*pair) for pair in zip(two_epochs, others))
        assert len(others) == steps


def test_a_dataset_begins_from_its_step_each_time(dataset):
    # MindSpore begins a pass to find the shapes of the batches, before that which feeds the steps.
    rest = TrainingData(DatasetMeta.load(dataset), 50, 1).from_step(7, 1)
    assert rest.get_dataset_size() == 13
    first, second = (list(rest.create_tuple_iterator(num_epochs=1, output_numpy=True)) for _ in range(2))
    assert len(first) == 13
    assert all(np.array_equal(*columns) for batch in zip(first, second) for columns in zip(*batch))
