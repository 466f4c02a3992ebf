# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.export.parity import ParityRows, compare, predict_all
from tests.records import read_rows

LABELS = np.array([[0.0], [1.0], [0.0], [1.0], [1.0]], np.float32)
PROBABILITIES = np.array([[0.1], [0.9], [0.2], [0.8], [0.15]], np.float32)
INPUTS = [np.arange(10, dtype=np.int32).reshape(5, 2), np.zeros((5, 1), np.float32)]
ROWS = ParityRows(INPUTS, LABELS, 0)


def model(ids, values):
    """Look the probabilities up by the first id of a row; rows of zeros are padding."""
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
    text = compare(PROBABILITIES.copy(), PROBABILITIES, ROWS)
    assert text.endswith(
        "on 0 probe rows and 5 validation rows:\n  probabilities differ by at most 0.0e+00, the AUC by 0.0e+00"
    )


@pytest.mark.parametrize("error", [2e-5, -0.3, np.nan])
def test_a_model_that_differs_in_one_row_is_refused(error):
    found = PROBABILITIES.copy()
    found[3] += np.float32(error)
    for rows in (ROWS, ParityRows(INPUTS, LABELS[:0], 5)):
        with pytest.raises(UserError, match="does not predict as the checkpoint does, so it is not kept"):
            compare(found, PROBABILITIES, rows)


def test_probe_rows_come_before_those_of_the_data_and_have_no_part_in_the_auc():
    probes = ParityRows.of_probes({"sparse_ids": INPUTS[0][:2], "dense_values": INPUTS[1][:2]})
    assert str(probes) == "2 probe rows"
    text = compare(PROBABILITIES[:2], PROBABILITIES[:2], probes)
    assert text.endswith("on 2 probe rows:\n  probabilities differ by at most 0.0e+00")
    rows = probes.add([column[2:] for column in INPUTS], LABELS[2:])
    for column, expected in zip(rows.inputs, INPUTS, strict=True):
        np.testing.assert_array_equal(column, expected)
    # Of the rows of the data, with the labels 0, 1, 1, the first two are swapped: within the tolerance of the
    # probabilities, but the AUC goes from 1/2 to 1.
    near = np.array([[0.5], [0.9], [0.300001], [0.3], [0.4]], np.float32)
    swapped = near[[0, 1, 3, 2, 4]]
    with pytest.raises(UserError, match=r"differ by at most 9\.\de-07, the AUC by 5\.0e-01"):
        compare(swapped, near, rows)


def test_rows_are_those_of_the_validation_split_without_padding(dataset):
    data = DatasetMeta.load(dataset)
    expected = read_rows(dataset, "valid")
    probes = ParityRows.of_probes({"sparse_ids": expected[0][:2], "dense_values": expected[1][:2]})
    rows = probes.with_validation_rows(data)
    assert len(rows.labels) == data.splits["valid"].rows
    for column, of_split in zip((*rows.inputs, rows.labels), expected, strict=True):
        found = column[-len(rows.labels) :]
        np.testing.assert_array_equal(found, of_split.reshape(-1, found.shape[1]))
