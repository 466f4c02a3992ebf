# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.distributed.process_group import ProcessGroup
from src.evaluation import slices
from src.evaluation.metrics import log_loss, roc_auc
from src.evaluation.slices import (
    FieldSlices,
    information_on_clicks,
    metrics_by_id,
    most_informative_fields,
    name_values,
)
from src.preprocessing.vocabulary import Vocabulary
from tests.records import read_rows

BATCH = 50


@pytest.fixture(scope="module")
def data(dataset):
    return DatasetMeta.load(dataset)


@pytest.fixture(scope="module")
def rows(dataset):
    """sparse_ids [n, 7] and labels [n] of the training set, of 1,000 rows or a few less."""
    sparse_ids, _, labels = read_rows(dataset, "train")
    return sparse_ids, labels


def collect(field_slices, sparse_ids, labels):
    """Add rows batch by batch; the last batch is padded, as all batches of a dataset have the same size."""
    padding = -len(labels) % BATCH
    sparse_ids = np.pad(sparse_ids, ((0, padding), (0, 0)))
    labels = np.pad(labels, (0, padding), constant_values=-1)[:, np.newaxis]
    for start in range(0, len(labels), BATCH):
        field_slices.add(sparse_ids[start : start + BATCH], labels[start : start + BATCH])
    return field_slices


def most_frequent(ids):
    """Return ids with those that are not among the 20 most frequent replaced by -1."""
    values, counts = np.unique(ids, return_counts=True)
    kept = values[np.lexsort((values, -counts))][:20]
    return np.where(np.isin(ids, kept), ids, -1)


def expected_fields(data, sparse_ids, labels):
    """Return the six fields of the largest mutual information with the click, by scikit-learn."""
    information = [mutual_info_score(labels, most_frequent(ids)) for ids in sparse_ids.T]
    return [data.sparse_fields[index] for index in sorted(range(7), key=lambda index: -information[index])[:6]]


def test_information_is_that_of_scikit_learn():
    random = np.random.default_rng(1)
    ids = random.integers(100, 115, 3000, dtype=np.int32)
    labels = (random.random(3000) < (ids - 95) / 30).astype(np.float32)
    assert information_on_clicks(labels, ids) == pytest.approx(mutual_info_score(labels, ids))


def test_rare_values_count_as_one():
    # A field with a value of its own in each row would determine every click if its rare values were told apart.
    labels = np.tile(np.array([1, 0], np.float32), 500)
    assert information_on_clicks(labels, np.arange(1000, dtype=np.int32)) < 0.02


def test_the_most_informative_fields_come_first(data, rows):
    sparse_ids, labels = rows
    columns = dict(zip(data.sparse_fields, sparse_ids.T))
    assert most_informative_fields(labels, columns) == expected_fields(data, sparse_ids, labels)


@pytest.mark.parametrize("sample_rows", [1, 60, 10_000])
@pytest.mark.parametrize("by_field", [None, "I1", "C3"])
def test_fields_are_chosen_by_the_first_rows_and_evaluated_on_all(data, rows, monkeypatch, sample_rows, by_field):
    monkeypatch.setattr(slices, "SAMPLE_ROWS", sample_rows)
    sparse_ids, labels = rows
    probabilities = np.linspace(0, 1, len(labels), dtype=np.float32)
    field_slices = FieldSlices(data, ProcessGroup(), by_field=by_field, informative=True)
    found = collect(field_slices, *rows).metrics(probabilities)
    sampled = min(-(-sample_rows // BATCH) * BATCH, len(labels))  # whole batches
    chosen = expected_fields(data, sparse_ids[:sampled], labels[:sampled])
    assert list(found) == ([by_field] if by_field else []) + [field for field in chosen if field != by_field]
    for field, frame in found.items():
        expected = metrics_by_id(labels, probabilities, sparse_ids[:, data.sparse_fields.index(field)])
        assert frame.drop("value").equals(expected)


def test_only_the_ids_of_chosen_fields_are_kept(data, rows, monkeypatch):
    monkeypatch.setattr(slices, "SAMPLE_ROWS", BATCH)
    field_slices = collect(FieldSlices(data, ProcessGroup(), by_field="C3"), *rows)
    kept = [column for _, *columns in field_slices._ids.batches for column in columns]
    assert all(column.base is None and column.shape == (BATCH,) for column in kept)
    assert len(kept) == -(-len(rows[1]) // BATCH)


def test_metrics_are_those_of_the_rows_of_each_value():
    labels, probabilities = np.array([1, 0, 1, 0, 1.0]), np.array([0.5, 0.25, 0.75, 0.5, 0.5])
    first, second = metrics_by_id(labels, probabilities, np.array([7, 7, 7, 3, 3])).iter_rows(named=True)
    assert first == {
        "id": 7, "rows": 3, "click_rate": pytest.approx(2 / 3), "mean_prediction": 0.5, "auc": 1.0,
        "log_loss": log_loss(labels[:3], probabilities[:3]), "calibration": 0.75,
    }  # fmt: skip
    assert (second["id"], second["auc"]) == (3, roc_auc(labels[3:], probabilities[3:]))


def test_values_are_named_by_the_vocabulary(data, rows):
    sparse_ids, labels = rows
    probabilities = np.linspace(0, 1, len(labels), dtype=np.float32)
    found = collect(FieldSlices(data, ProcessGroup(), by_field="C3"), *rows).metrics(probabilities)
    vocabulary = Vocabulary.load(data.path / VOCABULARY_NAME)
    assert list(found) == ["C3"]
    assert found["C3"].equals(name_values(metrics_by_id(labels, probabilities, sparse_ids[:, 5]), vocabulary))
    assert {"<OOV>", "(missing)", "a"} <= set(found["C3"]["value"])


def test_a_row_of_weight_k_tells_as_much_as_k_rows():
    random = np.random.default_rng(2)
    ids = random.integers(0, 15, 3000, dtype=np.int32)
    labels = (random.random(3000) < (ids + 5) / 30).astype(np.float32)
    repeats = random.integers(0, 5, 3000)
    expected = mutual_info_score(np.repeat(labels, repeats), np.repeat(ids, repeats))
    assert information_on_clicks(labels, ids, repeats.astype(np.float32)) == pytest.approx(expected)
    assert information_on_clicks(labels, ids, np.ones(3000)) == information_on_clicks(labels, ids)


def test_slices_of_weighted_rows_have_weighted_metrics(data, rows):
    sparse_ids, labels = rows
    random = np.random.default_rng(3)
    probabilities, weights = random.random((2, len(labels)), np.float32)
    weights[random.random(len(labels)) < 0.2] = 0
    field_slices = FieldSlices(data, ProcessGroup(), by_field="C3", informative=True)
    field_slices.add(sparse_ids, labels[:, np.newaxis], weights[:, np.newaxis])
    found = field_slices.metrics(probabilities, weights)
    columns = dict(zip(data.sparse_fields, sparse_ids.T))
    assert set(found) == {"C3", *most_informative_fields(labels, columns, weights)}
    ids = sparse_ids[:, 5]
    for row in found["C3"].iter_rows(named=True):
        own = (ids == row["id"]) & (weights > 0)
        slice_ = labels[own], probabilities[own], weights[own]
        assert row["rows"] == own.sum()
        assert row["click_rate"] == pytest.approx(np.average(slice_[0], weights=slice_[2]))
        assert row["mean_prediction"] == pytest.approx(np.average(slice_[1], weights=slice_[2]))
        assert (row["auc"], row["log_loss"]) == pytest.approx((roc_auc(*slice_), log_loss(*slice_)), nan_ok=True)


def test_rows_that_all_weigh_0_have_no_slices(data, rows):
    sparse_ids, labels = rows
    field_slices = FieldSlices(data, ProcessGroup(), by_field="C3")
    field_slices.add(sparse_ids, labels[:, np.newaxis])
    zeros = np.zeros(len(labels), np.float32)
    assert field_slices.metrics(zeros, zeros)["C3"].height == 0


def test_without_fields_there_are_no_slices(data, rows):
    assert collect(FieldSlices(data, ProcessGroup()), *rows).metrics(np.zeros(len(rows[1]), np.float32)) == {}
