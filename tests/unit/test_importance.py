# SPDX-License-Identifier: Apache-2.0
"""Permutation importance of the true probabilities; that of a trained network is in tests/system/test_importance.py."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from src.distributed.process_group import ProcessGroup
from src.evaluation.field_sample import FieldSample, InputField
from src.evaluation.importance import draw_donors, permutation_importance, predict_permuted
from src.evaluation.metrics import log_loss, roc_auc
from src.evaluation.recalibration import Method, Recalibration
from tests.ranks import TwoAlike

WEIGHTS = np.array([0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4])
SIGNS = np.array([1, -1, 1, 1, -1, 1, -1])
FIELDS = [InputField(f"field {number}", dense_index=number) for number in range(len(WEIGHTS))]
IGNORED = InputField("ignored", range(1), 0)


def predict(sparse_ids, dense_values):
    """Return the true probabilities: the logit of a row is the sum of weight times value."""
    return (1 / (1 + np.exp(-dense_values @ (WEIGHTS * SIGNS)))).astype(np.float32)


def draw_sample(row_count, seed, batch_rows=64, weights=None):
    """Return rows of standard normal values, whose clicks follow the true probabilities, and an id without effect."""
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (row_count, len(WEIGHTS))).astype(np.float32)
    ids = random.integers(0, 9, (row_count, 1)).astype(np.int32)
    labels = (random.random(row_count) < predict(ids, values)).astype(np.float32)
    return FieldSample(ids, values, labels, weights, batch_rows)


def test_fields_are_ranked_by_their_true_weight():
    importance = permutation_importance(predict, draw_sample(20_000, seed=1, batch_rows=4000), FIELDS, ProcessGroup())
    assert [each.field for each in importance] == [field.name for field in reversed(FIELDS)]
    found = {each.field: each.auc_drop.value for each in importance}
    assert spearmanr(WEIGHTS, [found[field.name] for field in FIELDS])[0] >= 0.95
    for each in importance:
        assert 0 < each.log_loss_rise.low < each.log_loss_rise.value < each.log_loss_rise.high
        assert 0 < each.auc_drop.low < each.auc_drop.value < each.auc_drop.high


def test_a_field_without_effect_has_an_importance_of_exactly_0():
    sample = draw_sample(300, seed=2)
    *_, last = permutation_importance(predict, sample, [IGNORED, *FIELDS[3:]], ProcessGroup())
    assert last.field == "ignored"
    for estimate in (last.log_loss_rise, last.auc_drop):
        assert (estimate.value, estimate.low, estimate.high) == (0, 0, 0)


def test_the_importance_is_the_difference_of_the_metrics_of_permuted_rows():
    weights = np.random.default_rng(3).random(500, np.float32)
    recalibration = Recalibration(Method.PLATT, (-1.0, 1.0), (-1.5, 0.5))
    sample = draw_sample(500, seed=3, weights=weights)
    (found,) = permutation_importance(predict, sample, FIELDS[5:6], ProcessGroup(), recalibration)
    values = sample.dense_values.copy()
    values[:, 5] = [sample.dense_values[donor, 5] for donor in draw_donors(sample, "field 5")]
    better, worse = (recalibration.apply(predict(None, each)) for each in (sample.dense_values, values))
    rows = sample.labels, weights
    rise = log_loss(rows[0], worse, rows[1]) - log_loss(rows[0], better, rows[1])
    drop = roc_auc(rows[0], better, rows[1]) - roc_auc(rows[0], worse, rows[1])
    assert (found.log_loss_rise.value, found.auc_drop.value) == pytest.approx((rise, drop), abs=1e-9)


@pytest.mark.parametrize("metric", ["log_loss_rise", "auc_drop"])
def test_the_interval_covers_the_importance_among_all_rows(metric):
    # Among 400,000 rows the importance is known to a tenth of the width of the intervals of 800 rows.
    (truth,) = permutation_importance(
        predict, draw_sample(400_000, seed=4, batch_rows=4000), FIELDS[4:5], ProcessGroup()
    )
    truth = getattr(truth, metric).value
    covered = 0
    for seed in range(400):
        (found,) = permutation_importance(predict, draw_sample(800, seed=100 + seed), FIELDS[4:5], ProcessGroup())
        estimate = getattr(found, metric)
        covered += estimate.low <= truth <= estimate.high
    assert abs(covered / 400 - 0.95) < 0.035  # three standard deviations


def test_all_columns_of_a_field_move_together_and_the_others_stay():
    random = np.random.default_rng(5)
    ids, values = random.integers(-1, 99, (70, 6)).astype(np.int32), random.normal(size=(70, 2)).astype(np.float32)
    sample = FieldSample(ids, values, np.zeros(70, np.float32), None, 16)
    fields = [InputField("list", range(3, 6), 3), InputField("number", range(1), 0, 1)]
    batches = []

    def keep(*inputs):
        batches.append(inputs)
        return np.zeros(16, np.float32)

    predict_permuted(keep, sample, fields)
    assert all(batch[0].shape == (16, 6) for batch in batches)  # so that the network is compiled once
    assert len(batches) == -(-3 * 70 // 16)  # without gaps between the copies
    all_ids, all_values = (np.concatenate(columns)[: 3 * 70].reshape(3, 70, -1) for columns in zip(*batches))
    np.testing.assert_array_equal(all_ids[0], ids)
    np.testing.assert_array_equal(all_values[0], values)
    lists, numbers = (draw_donors(sample, field.name) for field in fields)
    for row in range(70):
        assert all_ids[1, row].tolist() == [*ids[row, :3], *ids[lists[row], 3:]]
        assert all_values[1, row].tolist() == values[row].tolist()
        assert all_ids[2, row].tolist() == [ids[numbers[row], 0], *ids[row, 1:]]
        assert all_values[2, row].tolist() == [values[row, 0], values[numbers[row], 1]]


def test_donors_are_a_permutation_of_the_real_rows_that_depends_on_the_field_alone():
    sample = draw_sample(100, seed=6)
    sample.labels[[3, 98, 99]] = -1
    donors = draw_donors(sample, "C1")
    assert sorted(donors) == list(range(100))
    assert donors[[3, 98, 99]].tolist() == [3, 98, 99]  # padding gives and takes nothing
    assert (donors == draw_donors(sample, "C1")).all()
    assert (donors == draw_donors(sample, "C2")).mean() < 0.2
    assert (donors == np.arange(100)).mean() < 0.2


def test_a_row_gives_its_values_to_as_many_rows_as_its_weight_says():
    weights = np.random.default_rng(7).exponential(1, 120).astype(np.float32)
    given = np.bincount(draw_donors(draw_sample(120, seed=7, weights=weights), "C1"), minlength=120)
    assert np.abs(given - weights / weights.mean()).max() < 1
    assert np.abs(np.cumsum(given - weights / weights.mean())).max() < 1
    assert given.max() > 2
    for equal in (1, 0.3, 1e-6):  # equal weights are none
        sample = draw_sample(120, seed=7, weights=np.full(120, equal, np.float32))
        assert (draw_donors(sample, "C1") == draw_donors(draw_sample(120, seed=7), "C1")).all()


def test_padding_changes_nothing():
    sample = draw_sample(90, seed=8)
    columns = (np.append(column, column[:10], axis=0) for column in (sample.sparse_ids, sample.dense_values))
    padded = FieldSample(*columns, np.append(sample.labels, np.full(10, -1, np.float32)), None, 64)
    expected = permutation_importance(predict, sample, FIELDS, ProcessGroup())
    assert permutation_importance(predict, padded, FIELDS, ProcessGroup()) == expected


def test_the_rows_of_all_ranks_count():
    sample = draw_sample(200, seed=9)
    both = permutation_importance(predict, sample, FIELDS, TwoAlike())
    alone = permutation_importance(predict, sample, FIELDS, ProcessGroup())
    for one, other in zip(both, alone):
        assert one.field == other.field
        for metric in ("log_loss_rise", "auc_drop"):
            found, expected = getattr(one, metric), getattr(other, metric)
            assert found.value == pytest.approx(expected.value, abs=1e-9)
            assert (found.high - found.low) * 2**0.5 == pytest.approx(expected.high - expected.low, rel=0.01)
