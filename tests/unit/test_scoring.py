# SPDX-License-Identifier: Apache-2.0
"""All rows of a source, in order, in several chunks; interrupted and resumed to the same bytes."""

import csv

import numpy as np
import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.evaluation.metrics import compute_metrics
from src.package import load_model
from src.scoring import row_source
from src.scoring.options import OnBadRow, ScoringOptions
from src.scoring.output_file import open_output
from src.scoring.row_source import RowSource
from src.scoring.scoring import score_rows
from tests.conftest import make_rows, make_weighted_rows
from tests.packages import write_random_package

OPTIONS = ScoringOptions("", "", "", keep_columns="C1")
BAD_LINES = (150, 700, 1201)


@pytest.fixture(scope="module")
def model(packages):
    return load_model(packages[0], threads=1)


@pytest.fixture
def source(tmp_path, monkeypatch):
    """1,203 rows in about 20 chunks, three of them malformed."""
    monkeypatch.setattr(row_source, "CHUNK_BYTES", 2000)
    lines = make_rows(1203, 3, 4, seed=6).split("\n")
    for number in BAD_LINES:
        lines[number - 1] = "bad"
    (tmp_path / "rows.txt").write_text("\n".join(lines))
    return RowSource.find(str(tmp_path / "rows.txt"))


class Interrupted(Exception):
    """The end of a process that is killed, as far as an output can see."""


class InterruptedOutput:
    """An output that fails after so many writes."""

    def __init__(self, output, writes):
        self._output, self._writes = output, writes
        self.earlier = output.earlier

    def write(self, text):
        if not self._writes:
            raise Interrupted
        self._writes -= 1
        self._output.write(text)

    def save(self, arrays):
        self._output.save(arrays)


def score(model, source, path, options=OPTIONS):
    with open_output(str(path), {"rows": 1}) as output:
        return score_rows(model, source, output, options)


def good_lines(source):
    lines = source.source.files[0].read_text().split("\n")
    return {number: line for number, line in enumerate(lines, 1) if number not in BAD_LINES}


def test_the_scores_are_those_of_all_rows_in_order(model, source, tmp_path):
    rows = score(model, source, tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="") as file:
        _, *lines = csv.reader(file)
    expected = good_lines(source)
    assert [int(line[0]) for line in lines] == list(expected)
    probabilities = model.predict(list(expected.values()))
    np.testing.assert_allclose([float(line[1]) for line in lines], probabilities, rtol=0, atol=1e-6)
    assert [line[2] for line in lines] == [line.split("\t")[4] for line in expected.values()]
    assert (rows.lines, rows.tally.rows, rows.bad_lines.count) == (1203, 1200, 3)
    assert [bad.number for bad in rows.bad_lines.first] == list(BAD_LINES)
    labels = np.array([int(line[0]) for line in expected.values()])
    metrics, exact = rows.metrics.compute(), compute_metrics(labels, probabilities)
    assert metrics["auc"] == pytest.approx(exact["auc"], abs=1e-6)
    assert metrics["log_loss"] == pytest.approx(exact["log_loss"], abs=1e-6)


def test_an_interrupted_run_resumes_to_the_same_bytes_and_metrics(model, source, tmp_path):
    expected = score(model, source, tmp_path / "expected.csv")
    for writes in (1, 3, 8):
        with pytest.raises(Interrupted), open_output(str(tmp_path / "scores.csv"), {"rows": 1}) as output:
            score_rows(model, source, InterruptedOutput(output, writes), OPTIONS, save_seconds=0)
    resumed = score(model, source, tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    assert resumed.metrics.compute() == expected.metrics.compute()
    assert resumed.bad_lines == expected.bad_lines
    assert np.array_equal(resumed.tally.oov, expected.tally.oov)


def test_weighted_rows_have_weighted_metrics_also_after_an_interruption(weighted_dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(row_source, "CHUNK_BYTES", 2000)
    write_random_package(tmp_path / "package", DatasetMeta.load(weighted_dataset))
    model = load_model(tmp_path / "package", threads=1)
    lines = make_weighted_rows(1203, seed=6).split("\n")
    (tmp_path / "rows.txt").write_text("\n".join(lines))
    source, path = RowSource.find(str(tmp_path / "rows.txt")), tmp_path / "scores.csv"
    with pytest.raises(Interrupted), open_output(str(path), {"rows": 1}) as output:
        score_rows(model, source, InterruptedOutput(output, 5), OPTIONS, save_seconds=0)
    metrics = score(model, source, path).metrics
    labels, weights = (np.array([float(line.split("\t")[at]) for line in lines]) for at in (0, -1))
    exact = compute_metrics(labels, model.predict(lines), weights)
    assert metrics.weight == weights.sum()
    assert metrics.compute()["auc"] == pytest.approx(exact["auc"], abs=1e-6)
    assert metrics.compute()["log_loss"] == pytest.approx(exact["log_loss"], abs=1e-6)


def test_a_resumed_run_says_so(model, source, tmp_path, capsys):
    with pytest.raises(Interrupted), open_output(str(tmp_path / "scores.csv"), {"rows": 1}) as output:
        score_rows(model, source, InterruptedOutput(output, 5), OPTIONS, save_seconds=0)
    assert "earlier run" not in capsys.readouterr().out
    score(model, source, tmp_path / "scores.csv")
    assert "score: 1,203 rows in" in (printed := capsys.readouterr().out)
    assert printed.endswith("some of it by an earlier run\n")


def test_a_malformed_row_fails_with_its_fault_and_leaves_nothing(model, source, tmp_path):
    options = ScoringOptions("", "", "", on_bad_row=OnBadRow.FAIL)
    with pytest.raises(UserError, match=r'rows\.txt: line 150 has 1 column, "bad".*--on_bad_row=skip leaves such'):
        score(model, source, tmp_path / "scores.csv", options)
    assert [path.name for path in tmp_path.iterdir()] == ["rows.txt"]


def test_rows_without_a_label_have_no_metrics(model, source, tmp_path):
    text = "\n".join(line.partition("\t")[2] for line in good_lines(source).values())
    source.source.files[0].write_text(text)
    rows = score(model, source, tmp_path / "scores.csv")
    assert rows.metrics is None and rows.tally.rows == 1200


def test_an_empty_file_gives_a_header_alone(model, tmp_path):
    (tmp_path / "rows.txt").touch()
    rows = score(model, RowSource.find(str(tmp_path / "rows.txt")), tmp_path / "scores.csv")
    assert (tmp_path / "scores.csv").read_text() == "row,probability,C1\n"
    assert rows.lines == 0
