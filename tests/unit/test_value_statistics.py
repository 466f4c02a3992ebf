# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from src.common.encoded_rows import NO_VALUE
from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.distributed.process_group import ProcessGroup
from src.training.training_data import TrainingData
from src.training.value_statistics import (
    FOLDS,
    LIMIT,
    _rows_of_rank,
    compute_statistics,
    count_rows,
    fold_of_rows,
    learn_statistics,
)
from tests.list_records import draw_rows, write_folder
from tests.ranks import Reader
from tests.records import read_rows


def draw(rows=600, fields=3, values=9, seed=1):
    """Return ids, labels and folds of rows; the first `fields` ids are those outside the vocabulary."""
    random = np.random.default_rng(seed)
    first = fields + values * np.arange(fields)
    ids = np.minimum(random.geometric(0.3, (rows, fields)), values) - 1 + first
    ids[random.random((rows, fields)) < 0.05] = 0
    ids = np.where(ids == 0, np.arange(fields), ids).astype(np.int32)
    labels = (random.random(rows) < 0.2 + 0.04 * (ids[:, 0] - fields)).astype(np.float32)
    return ids, labels, random.integers(0, FOLDS, rows).astype(np.int32)


def statistics_of(ids, labels, folds, fields):
    size = ids.max() + 1
    counts = np.zeros((FOLDS, size, 2), np.int32)
    count_rows(counts, ids, labels, folds)
    field_of_id = np.zeros(size, np.int32)
    field_of_id[ids] = np.arange(fields)
    field_of_id[:fields] = np.arange(fields)
    return compute_statistics(counts, field_of_id, fields, labels.mean())


def plain_statistics(id_, labels_of_others, click_rate, factor):
    """Return log_odds and log_count of a value, by the formulas.  labels_of_others: of the rows that have it."""
    n, s = len(labels_of_others), sum(labels_of_others)
    log_odds = math.log((s + 20 * click_rate) / (n - s + 20 * (1 - click_rate)))
    return log_odds - math.log(click_rate / (1 - click_rate)), math.log(1 + factor * n)


def test_statistics_are_those_of_the_formulas_row_by_row():
    ids, labels, folds = draw()
    found = statistics_of(ids, labels, folds, 3)
    for field in range(3):
        of_rows, of_predicted = [], {}
        for row, id_ in enumerate(ids[:, field]):
            has_value = (ids[:, field] == id_) & (id_ >= 3)
            others = labels[has_value & (folds != folds[row])].tolist()
            of_rows.append(plain_statistics(id_, others, labels.mean(), 5 / 4))
            of_predicted[id_] = plain_statistics(id_, labels[has_value].tolist(), labels.mean(), 1)
        (log_odds, log_counts) = np.array(of_rows).T
        deviation, mean = log_odds.std(), log_counts.mean()
        expected = np.column_stack([log_odds / deviation, (log_counts - mean) / log_counts.std()]).clip(-LIMIT, LIMIT)
        np.testing.assert_allclose(found.of_others[folds, ids[:, field]], expected, rtol=1e-5, atol=1e-5)
        for id_, (odds, count) in of_predicted.items():
            expected = np.clip([odds / deviation, (count - mean) / log_counts.std()], -LIMIT, LIMIT)
            np.testing.assert_allclose(found.of_all[id_], expected, rtol=1e-5, atol=1e-5)


def test_a_value_outside_the_vocabulary_has_the_statistics_of_no_rows():
    ids, labels, folds = draw()
    assert (ids < 3).any()
    found = statistics_of(ids, labels, folds, 3)
    assert not found.of_all[:3, 0].any() and not found.of_others[:, :3, 0].any()
    for field in range(3):  # a count of 0 is below all others of the field
        assert (found.of_all[3:][np.unique(ids[ids[:, field] >= 3, field]) - 3, 1] > found.of_all[field, 1]).all()
        np.testing.assert_array_equal(found.of_others[:, field], np.broadcast_to(found.of_all[field], (FOLDS, 2)))


def test_a_field_of_one_value_and_an_id_without_rows_give_finite_numbers():
    ids, labels, folds = draw(fields=2)
    ids[:, 1] = ids.max() + 2
    found = statistics_of(ids, labels, folds, 2)
    assert np.isfinite(found.of_all).all() and np.isfinite(found.of_others).all()


def test_rows_do_not_see_their_own_labels():
    random = np.random.default_rng(3)
    ids = (1 + random.integers(0, 700, 4000)).astype(np.int32)[:, None]
    labels = (random.random(4000) < 0.3).astype(np.float32)  # of no value
    folds = random.integers(0, FOLDS, 4000).astype(np.int32)
    found = statistics_of(ids, labels, folds, 1)
    error = 0.5 / math.sqrt(3 * 1200)  # about, of the AUC of random scores
    assert roc_auc_score(labels, found.of_others[folds, ids[:, 0], 0]) < 0.5 + 3 * error
    assert roc_auc_score(labels, found.of_all[ids[:, 0], 0]) > 0.65  # which training must not see


def test_rows_with_lists_are_counted_once_for_each_value():
    ids = np.array([[3, 5, NO_VALUE], [3, 5, 6], [4, NO_VALUE, NO_VALUE]], np.int32)
    counts = np.zeros((FOLDS, 7, 2), np.int32)
    count_rows(counts, ids, np.array([1, 0, 1], np.float32), np.array([2, 2, 4], np.int32))
    expected = np.zeros_like(counts)
    expected[2, 3], expected[2, 5], expected[2, 6], expected[4, 4] = (2, 1), (2, 1), (1, 0), (1, 1)
    assert np.array_equal(counts, expected)


def test_folds_are_of_about_one_size_and_a_function_of_the_position():
    folds = fold_of_rows(np.arange(100_000))
    assert folds.dtype == np.int32
    # Binomial: 20,000 rows each, with a standard deviation of 126.
    assert np.abs(np.bincount(folds, minlength=FOLDS) - 20_000).max() < 4 * 126
    assert np.array_equal(fold_of_rows(np.array([99_999, 0])), folds[[-1, 0]])


def test_the_statistics_of_a_folder_are_those_of_its_training_rows(dataset):
    data = DatasetMeta.load(dataset)
    sparse_ids, _, labels = read_rows(dataset, "train")
    size = data.vocabulary_size
    counts = np.zeros((FOLDS, size, 2), np.int32)
    count_rows(counts, sparse_ids, labels.ravel(), fold_of_rows(np.arange(len(labels))))
    field_of_id = np.zeros(size, np.int32)
    field_of_id[sparse_ids] = np.arange(7)
    field_of_id[:7] = np.arange(7)
    train = data.splits["train"]
    expected = compute_statistics(counts, field_of_id, 7, train.positives / train.rows)
    found = learn_statistics(data, ProcessGroup())
    assert found.of_others.shape == (FOLDS, size, 2) and found.of_all.shape == (size, 2)
    np.testing.assert_array_equal(found.of_others, expected.of_others)
    np.testing.assert_array_equal(found.of_all, expected.of_all)
    assert np.abs(found.of_all[7:]).max() > 1


@pytest.mark.parametrize("rank_count", [2, 3, 100])
def test_ranks_divide_the_rows(tmp_path, rank_count):
    data = write_folder(tmp_path / "mindrecord", (403, 0, 0), 10)
    parts = [_rows_of_rank(data, Reader(rank, rank_count)) for rank in range(rank_count)]
    ids, labels, folds = (np.concatenate(column) for column in zip(*(batch for part in parts for batch in part)))
    assert ids[:, 0].tolist() == list(range(403))  # each row once, and no padding
    assert np.array_equal(labels, draw_rows(0, 403)["label"])
    assert np.array_equal(folds, fold_of_rows(np.arange(403)))


def test_batches_have_the_folds_of_their_rows(tmp_path):
    data = write_folder(tmp_path / "mindrecord", (403, 0, 0), 10)
    dataset = TrainingData(data, 20, 4, has_folds=True).from_step(3, 2)
    seen = 0
    for ids, *_, weights, folds in dataset.create_tuple_iterator(num_epochs=1, output_numpy=True):
        assert (folds.shape, folds.dtype) == ((20, 1), np.int32)
        is_real = weights.ravel() > 0
        assert np.array_equal(folds.ravel()[is_real], fold_of_rows(ids[is_real, 0]))
        seen += is_real.sum()
    assert seen > 500


def test_ids_that_several_fields_may_share_are_refused(make_dataset):
    rows = "\n".join(f"{row % 2}\t1\t2\t3\t{row % 5}\t0\t1\t2" for row in range(300))
    data = DatasetMeta.load(make_dataset("--skip_id_convert=1", content=rows))
    with pytest.raises(UserError, match=r"^--value_statistics=True needs a vocabulary; preprocess without --skip_id"):
        learn_statistics(data, ProcessGroup())
