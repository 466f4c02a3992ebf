# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest

from src.common.encoded_rows import NO_VALUE
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.distributed.process_group import ProcessGroup
from src.evaluation.field_sample import InputField, RowSampler, input_fields
from tests.list_records import write_folder
from tests.records import read_rows, read_weights

BATCH = 50


def sample_of(data, most_rows, ranks=None, split="test"):
    """Return the FieldSample of a split."""
    sampler = RowSampler(ranks or ProcessGroup(), most_rows)
    dense_count = int(len(data.dense_fields) > 0)
    for batch in create_dataset(data, split, BATCH).create_tuple_iterator(num_epochs=1, output_numpy=True):
        sampler.add(list(batch[: 1 + dense_count]), *batch[1 + dense_count :])
    return sampler.sample()


@pytest.mark.parametrize("most_rows", [1, 49, 70, 100_000])
def test_the_first_rows_are_the_sample(dataset, most_rows):
    sample = sample_of(DatasetMeta.load(dataset), most_rows)
    sparse_ids, dense_values, labels = (column[:most_rows] for column in read_rows(dataset, "test"))
    np.testing.assert_array_equal(sample.sparse_ids, sparse_ids)
    np.testing.assert_array_equal(sample.dense_values, dense_values)
    np.testing.assert_array_equal(sample.labels, labels)
    assert (sample.weights, sample.batch_rows, sample.row_count) == (None, BATCH, len(labels))
    assert 0 < len(sample.real_rows) == len(labels)  # without the padding of the last batch


def test_rows_of_weight_0_are_left_out(weighted_dataset):
    sample = sample_of(DatasetMeta.load(weighted_dataset), 100_000)
    weights = read_weights(weighted_dataset, "test")
    assert (weights == 0).any()
    np.testing.assert_array_equal(sample.weights, weights[weights > 0])
    np.testing.assert_array_equal(sample.sparse_ids, read_rows(weighted_dataset, "test")[0][weights > 0])


class Larger(ProcessGroup):
    """The first of two ranks, of which the other one has more rows."""

    def __init__(self, rows):
        super().__init__()
        self.count, self._rows = 2, rows

    def gather(self, column):
        return np.append(column, np.full_like(column, self._rows))


def test_all_ranks_have_as_many_rows_some_of_them_padding(dataset):
    data = DatasetMeta.load(dataset)
    row_count = data.splits["test"].rows
    sample = sample_of(data, 100_000, Larger(row_count + 7))
    assert (sample.row_count, len(sample.real_rows)) == (row_count + 7, row_count)
    np.testing.assert_array_equal(sample.labels[row_count:], -1)
    sample = sample_of(data, 61, Larger(31))  # half of the rows, rounded up
    np.testing.assert_array_equal(sample.labels, read_rows(dataset, "test")[2][:31])


def test_without_rows_there_is_no_sample(weighted_dataset):
    data = DatasetMeta.load(weighted_dataset)
    assert sample_of(data, 0) is None
    sampler = RowSampler(ProcessGroup(), 100)
    columns = np.zeros((3, 2), np.int32), np.ones((3, 1), np.float32), np.zeros((3, 1), np.float32)
    sampler.add([columns[0]], *columns[1:])
    assert sampler.sample() is None  # all weigh 0


def test_a_number_with_a_value_and_a_bucket_is_one_field(dataset):
    data = DatasetMeta.load(dataset)  # log+bucket
    assert data.sparse_fields == ("I1", "I2", "I3", "C1", "C2", "C3", "C4")
    fields = input_fields(data)
    assert [field.name for field in fields] == list(data.sparse_fields)
    assert fields[1] == InputField("I2", range(1, 2), 1, 1)
    assert fields[3] == InputField("C1", range(3, 4), 3)
    values_only = dataclasses.replace(data, sparse_fields=data.sparse_fields[3:])
    assert input_fields(values_only)[:4] == [
        *(InputField(f"I{number + 1}", dense_index=number) for number in range(3)),
        InputField("C1", range(1), 0),
    ]


def test_a_multi_valued_field_has_all_its_columns(tmp_path):
    data = write_folder(tmp_path / "data", (50, 0, 0), 25)
    assert input_fields(data) == [
        InputField("D1", dense_index=0),
        InputField("D2", dense_index=1),
        InputField("row", range(1), 0),
        InputField("other", range(1, 2), 1),
        InputField("tags", range(2, 5), 2),
        InputField("ads", range(5, 6), 3),
        InputField("long", range(6, 15), 4),
    ]
    sample = sample_of(data, 50, split="train")
    assert sample.sparse_ids.shape == (50, 15)
    assert (sample.sparse_ids[:, 2:] == NO_VALUE).any()
