# SPDX-License-Identifier: Apache-2.0
import hashlib
import itertools

import numpy as np
import pytest
from mindspore.mindrecord import FileReader

from src.dataset_meta import DatasetMeta, SplitMeta
from src.preprocessing.record_writer import SplitWriter
from tests.list_records import LENGTHS, draw_rows
from tests.raw_data import digests
from tests.records import read_rows


def columns(start, end, dense_size=2):
    """Return rows numbered from `start` to `end`, whose cells tell their number."""
    numbers = np.arange(start, end)
    rows = {"sparse_ids": np.stack([numbers, numbers * 10], axis=1).astype(np.int32)}
    if dense_size:
        rows["dense_values"] = np.repeat(numbers[:, None] / 4, dense_size, axis=1).astype(np.float32)
    return {**rows, "label": (numbers % 3 == 0).astype(np.float32)}


def records_of(folder, meta):
    """Return the records of all shards as dicts of bytes."""
    records = []
    for file in meta.files:
        reader = FileReader(str(folder / file.name), num_consumer=1)
        records += [{name: bytes(value) for name, value in record.items()} for record in reader.get_next()]
        reader.close()
    return records


def write(folder, chunks, rows_per_record=4):
    folder.mkdir()
    writer = SplitWriter(folder, "train", rows_per_record)
    for chunk in chunks:
        writer.add(chunk)
    return writer.finish()


def test_rows_are_packed_in_order_and_the_last_record_is_padded(tmp_path):
    # Of 10 rows of 4 a record, 2 are padding; rows 0, 3, 6 and 9 are clicks.
    meta = write(tmp_path / "a", [columns(0, 10)])
    assert (meta.rows, meta.positives, meta.padded_rows, meta.records) == (10, 4, 2, 3)
    expected = columns(0, 10)
    records = records_of(tmp_path / "a", meta)
    labels = np.frombuffer(b"".join(record["label"] for record in records), np.float32)
    assert labels.tolist() == [*expected["label"], -1, -1]
    ids = np.frombuffer(b"".join(record["sparse_ids"] for record in records), np.int32).reshape(-1, 2)
    assert ids.tolist() == [*expected["sparse_ids"].tolist(), [0, 0], [0, 0]]
    values = np.frombuffer(b"".join(record["dense_values"] for record in records), np.float32).reshape(-1, 2)
    assert values.tolist() == [*expected["dense_values"].tolist(), [0, 0], [0, 0]]


def test_the_bytes_do_not_depend_on_the_calls(tmp_path, monkeypatch):
    monkeypatch.setattr("src.preprocessing.sizes.SHARD_ROWS", 40)
    one = write(tmp_path / "one", [columns(0, 101)])
    many = write(tmp_path / "many", [columns(0, 1), columns(1, 1), columns(1, 57), columns(57, 101)])
    assert digests(tmp_path / "one") == digests(tmp_path / "many")
    assert one == many
    assert [file.records for file in one.files] == [10, 10, 6]


def test_the_metadata_of_a_shard_are_those_of_its_file(tmp_path):
    (shard,) = write(tmp_path / "a", [columns(0, 9)]).files
    content = (tmp_path / "a" / shard.name).read_bytes()
    assert shard.name == "train_input_part.mindrecord00"
    assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_without_dense_values_a_record_has_two_columns(tmp_path):
    meta = write(tmp_path / "a", [columns(0, 4, dense_size=0)])
    (record,) = records_of(tmp_path / "a", meta)
    assert record.keys() == {"sparse_ids", "label"}


def test_a_split_without_rows_has_no_shard(tmp_path):
    assert write(tmp_path / "a", []) == SplitMeta(0, 0, 0, 0, ())
    assert write(tmp_path / "b", [columns(0, 0)]) == SplitMeta(0, 0, 0, 0, ())
    assert digests(tmp_path / "b") == {}


def test_an_error_of_mindrecord_is_one_line_with_the_path(tmp_path):
    writer = SplitWriter(tmp_path / "absent", "train", 4)
    with pytest.raises(
        OSError, match=r"absent/train_input_part\.mindrecord00: MindRecord could not write it"
    ) as caught:
        writer.add(columns(0, 10))
        writer.finish()
    assert "\n" not in str(caught.value)


def test_many_shards_hold_the_same_rows_as_one(make_dataset, dataset, monkeypatch):
    monkeypatch.setattr("src.preprocessing.sizes.SHARD_ROWS", 150)
    folder = make_dataset()
    files = DatasetMeta.load(folder).splits["train"].files
    assert [file.records for file in files[:-1]] == [3] * (len(files) - 1)
    assert len(files) == -(-DatasetMeta.load(dataset).splits["train"].records // 3)
    for one, many in zip(read_rows(dataset, "train"), read_rows(folder, "train")):
        assert np.array_equal(one, many)


def write_lists(folder, chunks, **options):
    folder.mkdir()
    writer = SplitWriter(folder, "train", 4, tuple(LENGTHS.values()), **options)
    for chunk in chunks:
        writer.add(chunk)
    return writer.finish()


def unpacked(packed, row_count):
    """Return the rows of packed lists, value by value."""
    counts, rest = packed[: row_count * len(LENGTHS)], np.frombuffer(packed[row_count * len(LENGTHS) :], np.int32)
    rest, rows = iter(rest.tolist()), []
    for row in range(row_count):
        ids = []
        for field, length in enumerate(LENGTHS.values()):
            count = counts[row * len(LENGTHS) + field]
            ids += [*(next(rest) for _ in range(count)), *[-1] * (length - count)]
        rows.append(ids)
    assert next(rest, None) is None
    return rows


def test_lists_and_weights_are_packed_in_order_and_padded(tmp_path):
    meta = write_lists(tmp_path / "a", [draw_rows(0, 10)])
    assert (meta.rows, meta.padded_rows, meta.records) == (10, 2, 3)
    expected, records = draw_rows(0, 10), records_of(tmp_path / "a", meta)
    lists = [row for record in records for row in unpacked(record["list_ids"], 4)]
    assert lists == [*expected["list_ids"].tolist(), [-1] * 13, [-1] * 13]
    weights = np.frombuffer(b"".join(record["weight"] for record in records), np.float32)
    assert weights.tolist() == [*expected["weight"].tolist(), 0, 0]
    is_click = expected["label"] == 1
    assert meta.mean_weight == pytest.approx(expected["weight"].mean(), rel=1e-6)
    assert meta.base_rate == pytest.approx(expected["weight"][is_click].sum() / expected["weight"].sum(), rel=1e-6)


def test_the_bytes_of_lists_and_the_sums_of_weights_do_not_depend_on_the_calls(tmp_path, monkeypatch):
    # A full shard then takes two calls of MindRecord.
    monkeypatch.setattr("src.preprocessing.record_writer.PAGE_BYTES", 20_000)
    options = {"shard_records": 100}
    one = write_lists(tmp_path / "one", [draw_rows(0, 803)], **options)
    cuts = [0, 1, 1, 57, 58, 460, 803]
    many = write_lists(tmp_path / "many", [draw_rows(*cut) for cut in itertools.pairwise(cuts)], **options)
    assert digests(tmp_path / "one") == digests(tmp_path / "many")
    assert one == many
    assert [file.records for file in one.files] == [100, 100, 1]
