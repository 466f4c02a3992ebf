# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from src.evaluation.predictions_file import write_predictions


def test_probabilities_are_rounded_as_printf_rounds_them(tmp_path):
    random = np.random.default_rng(1)
    ends = np.array([0, 1e-9, 5e-9, 1.5e-8, 1 - 6e-8, 1], np.float32)
    halves = np.arange(1, 2**16, 2, dtype=np.float32) / 2**25  # exact in decimal, some of them with a 5 as ninth digit
    tiny = np.exp(-20 * random.random(10_000)).astype(np.float32)
    probabilities = np.concatenate([ends, halves, tiny, random.random(10_000, np.float32)])
    labels = (random.random(len(probabilities)) < 0.5).astype(np.float32)
    write_predictions(tmp_path / "predictions.csv", labels, probabilities)
    rows = enumerate(zip(labels, probabilities), 1)
    expected = [f"{row},{label:.0f},{float(probability):.8f}\n" for row, (label, probability) in rows]
    assert (tmp_path / "predictions.csv").read_text() == "".join(["row,label,probability\n", *expected])


def test_weights_have_all_their_digits(tmp_path):
    columns = ([1, 0, 0], [0.5, 0.25, 0.1], [0.1, 1e-9, 83.5])
    write_predictions(tmp_path / "predictions.csv", *(np.array(column, np.float32) for column in columns))
    header, *lines = (tmp_path / "predictions.csv").read_text().splitlines()
    assert header == "row,label,probability,weight"
    assert lines[0] == "1,1,0.50000000,0.1"
    assert [np.float32(line.split(",")[3]) for line in lines] == [np.float32(each) for each in columns[2]]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    path = tmp_path / "none" / "predictions.csv"
    with pytest.raises(OSError, match="No such file") as refused:
        write_predictions(path, np.zeros(1, np.float32), np.zeros(1, np.float32))
    assert refused.value.filename == str(path)
