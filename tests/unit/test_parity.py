# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.export.parity import ParityRows, compare, predict_all, read_rows
from tests.records import read_rows as read_all_rows

LABELS = np.array([[0.0], [1.0], [0.0], [1.0], [1.0]], np.float32)
PROBABILITIES = np.array([[0.1], [0.9], [0.2], [0.8], [0.15]], np.float32)
INPUTS = [np.arange(10, dtype=np.int32).reshape(5, 2), np.zeros((5, 1), np.float32)]
ROWS = ParityRows(INPUTS, LABELS, 0)


def model(ids, values):
    """Look the probabilities up by the first id of a row; rows of zeros are filling."""
    assert ids.shape[0] == values.shape[0]
    return PROBABILITIES[ids[:, 0] // 2]


@pytest.mark.parametrize("batch_size", [0, 1, 2, 5, 7])
def test_all_rows_are_predicted_in_their_order(batch_size):
    sizes = []

    def run(ids, values):
        sizes.append(len(ids))
        return model(ids, values)

    np.testing.assert_array_equal(predict_all(run, INPUTS, batch_size), PROBABILITIES)
    assert set(sizes) == ({batch_size} if batch_size else {5})


def test_a_model_that_predicts_the_same_passes():
    text = compare(PROBABILITIES, model, ROWS, 2)
    assert text.endswith(
        "on 0 probe rows and 5 validation rows:\n  probabilities differ by at most 0.0e+00, the AUC by 0.0e+00"
    )


@pytest.mark.parametrize("error", [2e-5, -0.3, np.nan])
def test_a_model_that_differs_in_one_row_is_refused(error):
    def run(ids, values):
        return model(ids, values) + np.where(ids[:, :1] == 6, np.float32(error), 0)

    with pytest.raises(UserError, match="does not predict as the checkpoint does, so it is not kept"):
        compare(PROBABILITIES, run, ROWS, 0)
    with pytest.raises(UserError, match="does not predict as the checkpoint does, so it is not kept"):
        compare(PROBABILITIES, run, ParityRows(INPUTS, LABELS[:0], 5), 0)


def test_probe_rows_come_before_those_of_the_data_and_have_no_part_in_the_auc():
    probes = ParityRows.of_probes({"sparse_ids": INPUTS[0][:2], "dense_values": INPUTS[1][:2]})
    assert str(probes) == "2 probe rows"
    text = compare(PROBABILITIES[:2], model, probes, 2)
    assert text.endswith("on 2 probe rows:\n  probabilities differ by at most 0.0e+00")
    seen = []

    def auc(labels, scores):
        seen.append((labels.tolist(), scores.tolist()))
        return 0.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("src.export.parity.roc_auc", auc)
        compare(PROBABILITIES, model, probes.add([column[2:] for column in INPUTS], LABELS[2:]), 0)
    assert seen == [([0, 1, 1], PROBABILITIES[2:].ravel().tolist())] * 2


def test_rows_are_those_of_the_valid_split_without_padding(dataset):
    meta = DatasetMeta.load(dataset)
    (ids, values), labels = read_rows(meta)
    assert len(labels) == meta.splits["valid"].rows
    for column, expected in zip((ids, values, labels), read_all_rows(dataset, "valid")):
        np.testing.assert_array_equal(column, expected.reshape(-1, column.shape[1])[: len(labels)])
