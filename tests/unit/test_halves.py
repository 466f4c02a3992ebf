# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import sklearn.metrics

from src.common.errors import UserError
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.tuning.halves import SelectionHalf
from src.tuning.predictions import HELD_OUT, SELECTION, PredictionFiles, Predictions
from tests.records import read_rows, read_weights
from tests.training import untrained


@pytest.mark.parametrize("count", [1, 2, 7, 120])
def test_the_halves_share_no_row_and_together_are_all_rows(count):
    numbers = np.arange(count)
    rows = Predictions(numbers, numbers + 0.5, numbers + 1000)
    halves = [rows.half(number) for number in (SELECTION, HELD_OUT)]
    assert sorted(np.concatenate([half.labels for half in halves])) == list(numbers)
    assert abs(len(halves[0].labels) - len(halves[1].labels)) <= 1
    for half in halves:
        assert list(half.probabilities) == list(half.labels + 0.5)
        assert list(half.weights) == list(half.labels + 1000)


@pytest.mark.parametrize("is_weighted", [False, True])
def test_a_validation_has_the_metrics_of_every_second_row(is_weighted, request, seeded):
    folder = request.getfixturevalue("weighted_dataset" if is_weighted else "dataset")
    data = DatasetMeta.load(folder)
    _, predictor = untrained(data.vocabulary_size)
    half = SelectionHalf(predictor, create_dataset(data, "valid", 100))
    evaluation = half()
    _, _, labels = read_rows(folder, "valid")
    probabilities = half.predictions.probabilities
    assert np.array_equal(half.predictions.labels, labels)
    assert len(labels) == data.splits["valid"].rows > 90
    weights = read_weights(folder, "valid")[::2] if is_weighted else None
    for metric, name in ((sklearn.metrics.roc_auc_score, "auc"), (sklearn.metrics.log_loss, "log_loss")):
        expected = metric(labels[::2], probabilities[::2], sample_weight=weights)
        assert evaluation.metrics[name] == pytest.approx(expected, rel=1e-6)
        assert expected != pytest.approx(metric(labels, probabilities), rel=1e-6)  # not those of all rows


def test_predictions_are_read_as_they_were_written_and_damage_is_named(tmp_path):
    files = PredictionFiles(tmp_path)
    rows = np.arange(5, dtype=np.float32)
    files.save(3, Predictions(rows, rows / 10))
    files.save(4, Predictions(rows, rows / 10, rows + 1))
    assert files.load(3).weights is None
    assert all(map(np.array_equal, files.load(4).columns, (rows, rows / 10, rows + 1)))
    path = tmp_path / "predictions" / "trial-4.npz"
    path.write_bytes(path.read_bytes()[:50])
    for number in (4, 5):
        with pytest.raises(UserError, match=rf"trial-{number}.npz is missing or damaged; .*--overwrite=True"):
            files.load(number)
