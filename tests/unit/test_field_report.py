# SPDX-License-Identifier: Apache-2.0
import re

import numpy as np
import polars as pl
import pytest

from src.common.dense_encoding import DenseEncoding
from src.dataset_meta import DatasetMeta
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.field_report import IdCounter, describe_dataset, describe_estimate, report_fields
from src.preprocessing.schema import FieldSchema
from src.preprocessing.source import Source
from src.preprocessing.value_counts import count_values
from tests import oracles
from tests.conftest import make_rows
from tests.raw_data import parse_text
from tests.records import read_rows


def test_the_statistics_of_a_few_rows_by_hand():
    # C1 in train: a three times, b twice, c and the empty one once each; threshold 1 keeps a (id 1) and b (id 2).
    schema = FieldSchema.criteo(1, 1)
    frame = parse_text("\n".join(f"1\t{row % 3}\t{value}" for row, value in enumerate([*"aaabbc", ""])), schema)
    counts = {name: count_values([frame[name]], 0, max_batch=100) for name in schema.counted_names}
    encoder = FeatureEncoder.fit(schema, counts, DenseEncoding.LOG, threshold=1)
    counter = IdCounter(0, len(encoder.vocabulary))
    counter.add(np.array([[1], [1], [0], [0]], np.int32))  # test: a twice and two that are OOV
    integer, category = report_fields(counts, encoder.vocabulary, counter.counts, train_rows=7)
    assert (integer.name, integer.distinct, integer.missing_rate, integer.kept) == ("I1", 3, 0.0, None)
    assert (category.distinct, category.kept) == (3, 2)
    assert category.missing_rate == pytest.approx(1 / 7)
    assert category.oov_rate_train == pytest.approx(2 / 7)
    assert category.oov_rate_test == 0.5
    # |3/7 - 1/2| + |2/7 - 0| + |2/7 - 1/2|, halved
    assert category.drift == pytest.approx((1 / 14 + 2 / 7 + 3 / 14) / 2)


def test_all_statistics_agree_with_counts_of_the_rows(dataset):
    good, _ = oracles.parse_file(make_rows(1203, 3, 4, seed=5).encode(), 3, 4)
    train = oracles.split_rows(good, 2020, 0.1, 0.1)["train"]
    meta = DatasetMeta.load(dataset)
    test_ids = read_rows(dataset, "test")[0]
    assert [field["name"] for field in meta.fields] == ["I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    for column, field in enumerate(meta.fields):
        values = [(row["integers"] + row["categories"])[column] for row in train]
        present = [value for value in values if value not in (None, "")]
        assert field["distinct"] == len(set(present))
        assert field["missing_rate"] == pytest.approx(1 - len(present) / len(values))
        assert field["oov_rate_test"] == pytest.approx((test_ids[:, column] == column).mean())
        assert 0 < field["drift"] < 0.5


def test_ids_before_the_first_one_are_not_counted_nor_are_any_without_a_vocabulary():
    counter = IdCounter(5, 2)
    counter.add(np.array([[0, 5], [4, 6], [6, 6]], np.int32))
    assert counter.counts.tolist() == [1, 3]
    none = IdCounter(5, 0)
    none.add(np.array([[0, 4], [3, 2]], np.int32))
    assert none.counts.tolist() == []


def test_drift_is_the_distance_between_the_distributions():
    schema = FieldSchema.criteo(0, 1)
    counts = {"C1": count_values([pl.Series(["a"] * 50 + ["b"] * 50)], 0, max_batch=100)}
    encoder = FeatureEncoder.fit(schema, counts, DenseEncoding.MAX, threshold=1)
    for test_counts, drift in (([0, 50, 50], 0.0), ([0, 100, 0], 0.5), ([100, 0, 0], 1.0)):
        (report,) = report_fields(counts, encoder.vocabulary, np.array(test_counts), 100)
        assert report.drift == pytest.approx(drift)


def test_estimate_comes_close_to_the_number_of_rows(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text(make_rows(40_000, 3, 4, seed=1))
    text = describe_estimate(Source((path,)), FieldSchema.criteo(3, 4), 10, 4.0, tmp_path)
    assert max(map(len, text.splitlines())) <= 80
    line = text.replace("\n", " ")
    rows = int(re.match(r"about ([\d,]+) rows; preprocessing takes about \d+ s", line)[1].replace(",", ""))
    assert rows == pytest.approx(40_000, rel=0.05)
    assert re.search(r"[\d.]+ GiB of memory and at most [\d.]+ GB of disk", line)


def test_the_summary_has_a_line_for_each_split_and_field(dataset):
    text = describe_dataset(DatasetMeta.load(dataset), dataset, expected_lines=0)
    assert re.search(r"^train +966 rows, 388 clicks \(0\.4017\)", text, re.M)
    assert len(re.findall(r"^[IC]\d ", text, re.M)) == 7
    assert "largest drift from train to test: " in text
    assert max(map(len, text.split("\n")[1:])) <= 80
