# SPDX-License-Identifier: Apache-2.0
import dataclasses
import shutil

import mindspore.dataset as ds
import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from tests.records import read_rows


@dataclasses.dataclass(frozen=True)
class Reader:
    """One of `count` processes, as create_dataset sees it: ProcessGroups of more than one need communication."""

    rank: int
    count: int


def batches(dataset, epochs=1):
    return list(dataset.create_tuple_iterator(num_epochs=epochs, output_numpy=True))


def sorted_rows(*columns):
    rows = np.concatenate([column.reshape(len(columns[0]), -1) for column in columns], axis=1)
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("batch_size", [50, 150, 1000])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluation_reads_every_row_once_in_full_batches(dataset, split, batch_size):
    got = batches(create_dataset(DatasetMeta.load(dataset), split, batch_size))
    for sparse_ids, dense_values, labels in got:
        assert (sparse_ids.shape, sparse_ids.dtype) == ((batch_size, 7), np.int32)
        assert (dense_values.shape, dense_values.dtype) == ((batch_size, 3), np.float32)
        assert (labels.shape, labels.dtype) == ((batch_size, 1), np.float32)
    columns = [np.concatenate(column) for column in zip(*got)]
    real = columns[2].ravel() != -1
    for column, expected in zip(columns, read_rows(dataset, split)):
        assert np.array_equal(column[real].ravel(), expected.ravel())


def test_training_shuffles_whole_records_and_drops_what_fills_no_batch(dataset):
    records = DatasetMeta.load(dataset).splits["train"].records
    ds.config.set_seed(3)
    train_data = create_dataset(DatasetMeta.load(dataset), "train", 100, shuffle=True)
    assert train_data.get_dataset_size() == records // 2
    iterator = train_data.create_tuple_iterator(num_epochs=2, output_numpy=True)
    first, second = list(iterator), list(iterator)
    assert len(first) == len(second) == records // 2
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(first, second))
    everything = {row.tobytes() for row in np.concatenate(read_rows(dataset, "train")[:2], axis=1).astype(np.float64)}
    seen = np.concatenate(
        [np.concatenate(batch[:2], axis=1).astype(np.float64)[batch[2].ravel() >= 0] for batch in first]
    )
    assert {row.tobytes() for row in seen} <= everything


def test_the_seed_fixes_the_order(dataset):
    orders = []
    for seed in (3, 3, 4):
        ds.config.set_seed(seed)
        train_data = create_dataset(DatasetMeta.load(dataset), "train", 50, shuffle=True)
        orders.append(np.concatenate([sparse_ids for sparse_ids, *_ in batches(train_data)]))
    assert np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize("rank_count", [2, 3])
def test_ranks_share_the_rows_and_take_equally_many_steps(dataset, rank_count):
    data = DatasetMeta.load(dataset)
    readers = [Reader(rank, rank_count) for rank in range(rank_count)]
    shares = [batches(create_dataset(data, "valid", 50, ranks=reader)) for reader in readers]
    assert len({len(share) for share in shares}) == 1
    columns = [np.concatenate(column) for column in zip(*[batch for share in shares for batch in share])]
    real = columns[2].ravel() != -1
    got = sorted_rows(*[column[real] for column in columns])
    assert np.array_equal(got, sorted_rows(*read_rows(dataset, "valid")))
    sizes = {create_dataset(data, "train", 100, shuffle=True, ranks=reader).get_dataset_size() for reader in readers}
    assert len(sizes) == 1


def test_without_dense_fields_there_is_no_such_column(make_dataset):
    folder = make_dataset("--dense_encoding=bucket")
    (sparse_ids, labels), *_ = batches(create_dataset(DatasetMeta.load(folder), "test", 50))
    assert sparse_ids.shape == (50, 7)
    assert labels.shape == (50, 1)


@pytest.mark.parametrize(
    ("batch_size", "rank_count", "message"),
    [
        (75, 1, "--batch_size=75 cannot be made of records of 50 rows; use a multiple of 50"),
        (25, 1, "use a multiple of 50"),
        (5000, 1, "the train split has {records} records of 50 rows; use a multiple of 50 up to {rows}, or preprocess"),
        (500, 4, "use a multiple of 50 up to 250, or preprocess"),
    ],
)
def test_batches_that_the_records_cannot_make_are_refused(dataset, batch_size, rank_count, message):
    records = -(-len(read_rows(dataset, "train")[2]) // 50)
    assert 20 <= records < 24  # so that a rank of four has 5 records, 250 rows
    message = message.format(records=records, rows=50 * records)
    with pytest.raises(UserError, match=message):
        create_dataset(DatasetMeta.load(dataset), "train", batch_size, shuffle=True, ranks=Reader(0, rank_count))


def test_an_empty_split_is_refused(make_dataset):
    with pytest.raises(UserError, match="the test split has no rows; preprocess with --test_ratio above 0"):
        create_dataset(DatasetMeta.load(make_dataset("--test_ratio=0")), "test", 50)


def test_a_batch_of_any_number_of_rows_is_for_export_alone(dataset):
    with pytest.raises(UserError, match=r"--batch_size=0 is for export\.py alone"):
        create_dataset(DatasetMeta.load(dataset), "train", 0, shuffle=True)


@pytest.mark.parametrize("rank_count", [2, 3])
def test_ranks_together_read_the_batches_of_one(dataset, seeded, rank_count):
    def epochs(batch_size, rank, count):
        ds.config.set_seed(1)
        data = create_dataset(DatasetMeta.load(dataset), "train", batch_size, shuffle=True, ranks=Reader(rank, count))
        batches = data.create_tuple_iterator(num_epochs=2, output_numpy=True)
        return [[batch[0] for batch in batches] for _ in range(2)]

    alone = epochs(50 * rank_count, 0, 1)
    shares = [epochs(50, rank, rank_count) for rank in range(rank_count)]
    for epoch in range(2):
        assert len(alone[epoch]) > 3
        for step, batch in enumerate(alone[epoch]):
            together = np.concatenate([share[epoch][step] for share in shares])
            np.testing.assert_array_equal(together, batch)
        assert {len(share[epoch]) for share in shares} == {len(alone[epoch])}


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_shard_of_the_same_size_with_other_content_is_refused_by_the_first_rank(dataset, tmp_path, shuffle):
    folder = shutil.copytree(dataset, tmp_path / "mindrecord")
    path = folder / "train_input_part.mindrecord00"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train_input_part\.mindrecord00 is damaged or of other data: its SHA-256"):
        create_dataset(DatasetMeta.load(folder), "train", 50, shuffle=shuffle)
    create_dataset(DatasetMeta.load(folder), "test", 50)
