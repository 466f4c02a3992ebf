# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from src.dataset import create_dataset
from src.dataset_meta import VOCABULARY_NAME, DatasetMeta
from src.distributed.process_group import ProcessGroup
from src.evaluation.evaluate import ScoredSplit
from src.evaluation.metrics import log_loss, roc_auc
from src.evaluation.slices import (
    information_on_clicks,
    name_values,
    read_ids,
    score_by_id,
    score_values,
    strongest_fields,
)
from src.preprocessing.vocabulary import Vocabulary
from tests.records import read_rows


def test_information_is_that_of_scikit_learn():
    random = np.random.default_rng(1)
    ids = random.integers(100, 115, 3000, dtype=np.int32)
    labels = (random.random(3000) < (ids - 95) / 30).astype(np.float32)
    assert information_on_clicks(labels, ids) == pytest.approx(mutual_info_score(labels, ids))


def test_rare_values_count_as_one():
    # A field with a value of its own in each row would know every click, were its rare values told apart.
    labels = np.tile(np.array([1, 0], np.float32), 500)
    assert information_on_clicks(labels, np.arange(1000, dtype=np.int32)) < 0.02


@pytest.mark.parametrize("row_limit", [1, 60, 10_000])
def test_ids_come_in_the_order_of_the_records(dataset, row_limit):
    meta = DatasetMeta.load(dataset)
    sparse_ids, _, expected = read_rows(dataset, "valid")
    labels, *columns = read_ids(create_dataset(meta, "valid", 50), [0, 6], ProcessGroup(), row_limit)
    count = min(-(-row_limit // 50) * 50, meta.splits["valid"].rows)
    np.testing.assert_array_equal(labels, expected[:count])
    np.testing.assert_array_equal(np.column_stack(columns), sparse_ids[:count, [0, 6]])


def test_the_strongest_fields_come_first(dataset):
    meta = DatasetMeta.load(dataset)
    sparse_ids, _, labels = read_rows(dataset, "train")
    expected = [mutual_info_score(labels, commonest(ids)) for ids in sparse_ids.T]
    found = strongest_fields(create_dataset(meta, "train", 50), meta.sparse_fields, ProcessGroup())
    assert found == sorted(range(7), key=lambda field: -expected[field])[:6]


def commonest(ids):
    """Return ids with those that are not among the 20 commonest replaced by -1."""
    values, counts = np.unique(ids, return_counts=True)
    kept = values[np.lexsort((values, -counts))][:20]
    return np.where(np.isin(ids, kept), ids, -1)


def test_scores_are_those_of_the_rows_of_each_value():
    labels, probabilities = np.array([1, 0, 1, 0, 1.0]), np.array([0.5, 0.25, 0.75, 0.5, 0.5])
    first, second = score_by_id(labels, probabilities, np.array([7, 7, 7, 3, 3])).iter_rows(named=True)
    assert first == {
        "id": 7, "rows": 3, "click_rate": pytest.approx(2 / 3), "mean_prediction": 0.5, "AUC": 1.0,
        "log_loss": log_loss(labels[:3], probabilities[:3]), "calibration": 0.75,
    }  # fmt: skip
    assert (second["id"], second["AUC"]) == (3, roc_auc(labels[3:], probabilities[3:]))


def test_values_are_named_by_the_vocabulary(dataset):
    meta = DatasetMeta.load(dataset)
    sparse_ids, _, labels = read_rows(dataset, "valid")
    probabilities = np.linspace(0, 1, len(labels), dtype=np.float32)
    split = ScoredSplit("valid", labels, probabilities, {})
    data = create_dataset(meta, "valid", 50)
    found = score_values(split, data, [5], meta, ProcessGroup())
    expected = score_by_id(labels, probabilities, sparse_ids[:, 5])
    vocabulary = Vocabulary.load(dataset / VOCABULARY_NAME)
    assert list(found) == ["C3"]
    assert found["C3"].equals(name_values(expected, vocabulary))
    assert {"<OOV>", "(missing)", "a"} <= set(found["C3"]["value"])
    assert score_values(split, data, [], meta, ProcessGroup()) == {}
