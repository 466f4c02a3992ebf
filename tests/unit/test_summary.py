# SPDX-License-Identifier: Apache-2.0
import pathlib

import numpy as np
import pytest

from src.dataset_meta import DatasetMeta
from src.evaluation import streaming_metrics
from src.evaluation.streaming_metrics import StreamingMetrics
from src.package.raw_encoding import RawEncoding
from src.preprocessing.bad_lines import BadLines
from src.scoring.field_tally import FieldTally
from src.scoring.row_source import RowSource
from src.scoring.scored_rows import ScoredRows
from src.scoring.summary import describe

SOURCE = RowSource(pathlib.Path("rows.txt"))


@pytest.fixture
def encoding(dataset):
    return RawEncoding.of_dataset(DatasetMeta.load(dataset))


def tally_like_training(encoding, rows):
    missing = [round(rates.missing_rate * rows) for rates in encoding.field_rates]
    oov = [round(rates.oov_rate * rows) for rates in encoding.field_rates]
    return FieldTally(rows, np.array(missing), np.full(len(missing), rows), np.array(oov))


def test_rates_are_next_to_those_of_the_training(encoding):
    text = describe(ScoredRows(tally_like_training(encoding, 1000), None), SOURCE, encoding, "scores.csv")
    lines = text.splitlines()
    assert lines[0] == "field  missing rate  in training  OOV rate  in training"
    cells = [line.split() for line in lines[1:8]]
    assert [row[0] for row in cells] == ["I1", "I2", "I3", "C1", "C2", "C3", "C4"]
    for _, missing, expected_missing, oov, expected_oov in cells:
        assert float(missing) == pytest.approx(float(expected_missing), abs=0.001)
        assert float(oov) == pytest.approx(float(expected_oov), abs=0.001)
    assert lines[8:] == ["", "rows         1,000 without a label, of rows.txt", "scores       scores.csv"]


def test_a_drifting_column_is_warned_of(encoding):
    tally = tally_like_training(encoding, 1000)
    tally.oov[4] = 1000
    text = describe(ScoredRows(tally, None), SOURCE, encoding, "scores.csv")
    rate = encoding.field_rates[4].oov_rate
    assert text.splitlines()[-1] == (
        f"warning: C2 has drifted from the training rows: 100.0% OOV, {rate:.1%} in training"
    )


def test_labels_give_metrics_and_malformed_rows_their_reasons(encoding):
    metrics = StreamingMetrics()
    metrics.add(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4], np.float32))
    bad_lines = BadLines.from_lines(np.array([3, 9]), np.array([1, 4]), [b"x", b"0\t1\ta\t1\ta\ta\ta\ta"].__getitem__,
                                    encoding.schema)  # fmt: skip
    rows = ScoredRows(tally_like_training(encoding, 4), metrics, bad_lines, lines=6)
    lines = describe(rows, SOURCE, encoding, "scores.csv").splitlines()
    assert "rows         4 with a label, of rows.txt" in lines
    malformed = next(line for line in lines if line.startswith("malformed"))
    assert malformed.startswith('malformed    2 of 6 lines (1 columns, 1 integer); the first: line 3 has 1 column, "x"')
    assert next(line for line in lines if line.startswith("AUC")).startswith("AUC          0.7500")


def test_metrics_of_weighted_rows_say_so(encoding):
    metrics = StreamingMetrics()
    metrics.add(np.array([0, 1]), np.array([0.1, 0.9], np.float32), np.array([2, 1.5], np.float32))
    lines = describe(ScoredRows(tally_like_training(encoding, 2), metrics), SOURCE, encoding, "scores.csv").splitlines()
    at = lines.index("weights      metrics count each row by its weight (sum 3.5)")
    assert lines[at + 1].startswith("AUC          1.0000")


def test_an_auc_that_a_histogram_may_have_changed_has_its_error(encoding, monkeypatch):
    monkeypatch.setattr(streaming_metrics, "MOST_KEYS", 2)
    metrics = StreamingMetrics()
    metrics.add(np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.6, 0.4], np.float32))
    text = describe(ScoredRows(tally_like_training(encoding, 4), metrics), SOURCE, encoding, "scores.csv")
    assert "\nAUC error    at most 5.0e-01, as it comes from a histogram\n" in text  # two keys: all share a bin


def test_no_rows_have_neither_rates_nor_metrics(encoding):
    text = describe(ScoredRows(FieldTally.empty(7), StreamingMetrics()), SOURCE, encoding, "scores.csv")
    assert text == "rows         0 with a label, of rows.txt\nscores       scores.csv"
