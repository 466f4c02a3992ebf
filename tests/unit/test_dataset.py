# SPDX-License-Identifier: Apache-2.0
import shutil
import types

import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset import create_dataset, evaluation_batch_size
from src.dataset_meta import META_NAME, DatasetMeta
from src.training.training_data import TrainingData
from tests.list_records import draw_rows, write_folder
from tests.ranks import Reader
from tests.records import read_rows


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


@pytest.mark.parametrize("rank_count", [2, 3])
def test_ranks_divide_the_rows_and_take_the_same_number_of_steps(dataset, rank_count):
    data = DatasetMeta.load(dataset)
    readers = [Reader(rank, rank_count) for rank in range(rank_count)]
    parts = [batches(create_dataset(data, "valid", 50, ranks=reader)) for reader in readers]
    assert len({len(part) for part in parts}) == 1
    columns = [np.concatenate(column) for column in zip(*[batch for part in parts for batch in part])]
    real = columns[2].ravel() != -1
    got = sorted_rows(*[column[real] for column in columns])
    assert np.array_equal(got, sorted_rows(*read_rows(dataset, "valid")))


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
        TrainingData(DatasetMeta.load(dataset), batch_size, 1, Reader(0, rank_count))


def test_an_empty_split_is_refused(make_dataset):
    with pytest.raises(UserError, match="the test split has no rows; preprocess with --test_ratio above 0"):
        create_dataset(DatasetMeta.load(make_dataset("--test_ratio=0")), "test", 50)


def test_a_dynamic_batch_size_is_for_export_alone(dataset):
    with pytest.raises(UserError, match=r"--batch_size=0 is for export\.py alone"):
        TrainingData(DatasetMeta.load(dataset), 0, 1)


def test_a_shard_of_the_same_size_with_other_content_is_refused_by_the_first_rank(dataset, tmp_path):
    folder = shutil.copytree(dataset, tmp_path / "mindrecord")
    path = folder / "train_input_part.mindrecord00"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"train_input_part\.mindrecord00 is damaged or of other data: its SHA-256"):
        create_dataset(DatasetMeta.load(folder), "train", 50)
    with pytest.raises(UserError, match=r"train_input_part\.mindrecord00 is damaged or of other data: its SHA-256"):
        TrainingData(DatasetMeta.load(folder), 50, 1)
    TrainingData(DatasetMeta.load(folder), 50, 1, Reader(1, 2))
    create_dataset(DatasetMeta.load(folder), "test", 50)


def test_the_metadata_of_a_folder_are_not_read_again_for_each_split(dataset, tmp_path):
    folder = shutil.copytree(dataset, tmp_path / "mindrecord")
    data = DatasetMeta.load(folder)
    (folder / META_NAME).unlink()
    for split in ("train", "valid"):
        assert len(batches(create_dataset(data, split, 50))) == data.splits[split].records


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """A folder of rows with multi-valued fields and weights; the last records are padded."""
    return write_folder(tmp_path_factory.mktemp("lists") / "mindrecord", (403, 57, 130), 10)


def rows_of(got):
    """Return the rows of batches that are no padding, [n, 19]: ids, dense values, label, weight."""
    columns = [np.concatenate(column).astype(np.float64) for column in zip(*got)]
    rows = np.hstack(columns)
    return rows[columns[2].ravel() != -1]


def expected_rows(row_count):
    columns = draw_rows(0, row_count)
    ids = np.hstack([columns["sparse_ids"], columns["list_ids"]])
    others = [columns["dense_values"], columns["label"][:, None], columns["weight"][:, None]]
    return np.hstack([ids, *others]).astype(np.float64)


@pytest.mark.parametrize("rank_count", [1, 2, 3])
@pytest.mark.parametrize(("split", "row_count"), [("valid", 57), ("test", 130)])
@pytest.mark.parametrize("batch_size", [10, 40, 500])
def test_lists_and_weights_come_out_as_they_went_in(lists, split, row_count, batch_size, rank_count):
    ranks = [Reader(rank, rank_count) for rank in range(rank_count)]
    parts = [batches(create_dataset(lists, split, batch_size, ranks=reader)) for reader in ranks]
    assert len({len(part) for part in parts}) == 1
    got = [batch for part in parts for batch in part]
    for sparse_ids, dense_values, labels, weights in got:
        assert (sparse_ids.shape, sparse_ids.dtype) == ((batch_size, 15), np.int32)
        assert dense_values.shape == (batch_size, 2) and labels.shape == weights.shape == (batch_size, 1)
        is_padding = labels.ravel() == -1
        assert (sparse_ids[is_padding, 2:] == -1).all() and not weights[is_padding].any()
    found = rows_of(got)
    assert np.array_equal(found[np.argsort(found[:, 0])], expected_rows(row_count))
    if rank_count == 1:
        assert np.array_equal(found, expected_rows(row_count))


def test_without_fields_of_one_value_the_ids_are_those_of_the_lists(tmp_path):
    data = write_folder(tmp_path / "mindrecord", (40, 57, 0), 10, has_single=False)
    found = rows_of(batches(create_dataset(data, "valid", 20)))
    assert np.array_equal(found, expected_rows(57)[:, 2:])
    assert len(batches(TrainingData(data, 20, 1).from_step(0, 1))) == 2


@pytest.mark.parametrize(
    "target, rows_per_record, batch_size, expected",
    [
        ("CPU", 1000, 16_000, 4000),
        ("CPU", 1000, 3000, 3000),
        ("CPU", 3000, 15_000, 3000),
        ("CPU", 8000, 16_000, 8000),
        ("CPU", 1000, 16_500, 16_500),  # which is refused as it is
        ("Ascend", 1000, 16_000, 16_000),
        ("GPU", 1000, 16_000, 16_000),
    ],
)
def test_a_cpu_evaluates_in_small_batches_of_complete_records(target, rows_per_record, batch_size, expected):
    data = types.SimpleNamespace(rows_per_record=rows_per_record)
    assert evaluation_batch_size(data, batch_size, target) == expected
