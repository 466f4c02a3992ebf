# SPDX-License-Identifier: Apache-2.0
"""eval.py, predict.py, the ONNX file alone, the C++ runner and the server score the quick start's test rows alike."""

import ast
import dataclasses
import pathlib
import shutil
import subprocess

import numpy as np
import onnxruntime
import pytest
import sklearn.metrics

from src.evaluation.metrics import chance_calibration_error, roc_auc
from tests import oracles
from tests.conftest import ROOT
from tests.inference_requests import tensor
from tests.packages import raw_inputs
from tests.serving import Server

pytestmark = pytest.mark.slow
SPLIT = (2020, 0.1, 0.1)  # split_seed, valid_ratio and test_ratio of default_config.yaml
TOLERANCE = 1e-6
ROWS_PER_REQUEST = 997


@dataclasses.dataclass(frozen=True)
class Scored:
    """The quick start's model as a package, and the test rows.

    metrics: as eval.py has printed them.  lines: without the label.  labels, probabilities: as eval.py has written
    them, [n].
    """

    package: pathlib.Path
    metrics: dict
    lines: list[str]
    labels: np.ndarray
    probabilities: np.ndarray

    def check(self, scores):
        """Check the scores of a program for all lines, [n]."""
        np.testing.assert_allclose(scores, self.probabilities, rtol=0, atol=TOLERANCE)
        assert abs(roc_auc(self.labels, scores) - roc_auc(self.labels, self.probabilities)) < 1e-6

    def check_file(self, path):
        """Check a CSV file of scores."""
        scores = np.loadtxt(path, delimiter=",", skiprows=1)
        assert scores[:, 0].tolist() == list(range(1, len(self.lines) + 1))
        self.check(scores[:, 1])


@pytest.fixture(scope="module")
def scored(quickstart, tmp_path_factory, run):
    folder = tmp_path_factory.mktemp("scored")
    shutil.copytree(quickstart / "checkpoint", folder / "checkpoint")
    flags = (f"--config_path={ROOT / 'config' / 'quickstart.yaml'}", "--report_path=none")
    inputs = (f"--dataset_path={quickstart / 'data' / 'mindrecord'}", "--checkpoint_path=checkpoint")
    commands = [
        ("eval.py", *flags, *inputs, "--fit_calibration=True", "--predictions_path=predictions.csv"),
        ("export.py", "--ckpt_file=checkpoint", "--file_format=PACKAGE", "--file_name=package"),
    ]
    printed = {}
    for script, *arguments in commands:
        finished = run(ROOT / script, *arguments, cwd=folder)
        assert finished.returncode == 0, finished.stderr
        printed[script] = finished.stdout
    metrics = ast.literal_eval(printed["eval.py"].splitlines()[-1])["result"]
    numbered = enumerate((quickstart / "data/origin_data/train.txt").read_text(encoding="utf-8").splitlines())
    lines = [line.partition("\t")[2] for line in oracles.split_rows(numbered, *SPLIT)["test"]]
    (folder / "test.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    _, labels, probabilities = np.loadtxt(folder / "predictions.csv", delimiter=",", skiprows=1).T
    return Scored(folder / "package", metrics, lines, labels, probabilities)


def test_recalibrated_probabilities_are_as_good_as_exact_ones_and_leave_the_auc(scored):
    before, after = scored.metrics["before_recalibration"], scored.metrics
    # That is 0.0073 on these rows, of which chance makes 0.006 to 0.009.
    assert after["calibration_error"] < 2 * chance_calibration_error(scored.probabilities)
    assert after["log_loss"] == pytest.approx(sklearn.metrics.log_loss(scored.labels, scored.probabilities), abs=1e-6)
    assert after["AUC"] == pytest.approx(before["auc"], rel=0, abs=1e-9)


def test_predict(scored, run, tmp_path):
    rows = scored.package.with_name("test.txt")
    flags = (f"--model_path={scored.package}", f"--input_path={rows}", f"--output_path={tmp_path / 'scores.csv'}")
    finished = run(ROOT / "predict.py", *flags)
    assert finished.returncode == 0, finished.stderr
    scored.check_file(tmp_path / "scores.csv")


def test_the_onnx_file_alone(scored):
    session = onnxruntime.InferenceSession(scored.package / "model.onnx")
    scored.check(session.run(None, raw_inputs(scored.lines, 13, 26))[0].ravel())


def test_the_cpp_runner(scored, runner, tmp_path):
    rows = scored.package.with_name("test.txt")
    flags = (f"--model_path={scored.package}", f"--input_path={rows}", f"--output_path={tmp_path / 'scores.csv'}")
    finished = subprocess.run([runner, *flags, "--device_target=CPU"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    scored.check_file(tmp_path / "scores.csv")


def test_the_server(scored, tmp_path):
    scores = []
    with Server(scored.package, tmp_path / "log") as server:
        for start in range(0, len(scored.lines), ROWS_PER_REQUEST):
            lines = scored.lines[start : start + ROWS_PER_REQUEST]
            scores += server.infer(tensor("rows", lines)).probabilities
    scored.check(np.array(scores))
