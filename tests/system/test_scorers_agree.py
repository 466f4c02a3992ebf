# SPDX-License-Identifier: Apache-2.0
"""eval.py, predict.py, the ONNX file alone, the C++ runner and the server score the quick start's test rows alike."""

import ast
import dataclasses
import pathlib
import subprocess

import numpy as np
import onnxruntime
import pytest

from src.criteo_like import write_rows
from src.evaluation.metrics import roc_auc
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
class Quickstart:
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
def quickstart(tmp_path_factory, run):
    folder = tmp_path_factory.mktemp("quickstart")
    write_rows(folder / "train.txt", 200_000, seed=1)
    flags = (f"--config_path={ROOT / 'config' / 'quickstart.yaml'}", "--report_path=none")
    recalibrate = ("--fit_calibration=True", "--predictions_path=predictions.csv")
    commands = [
        ("src/preprocess_data.py", *flags, "--data_path=.", "--output_dir=data/mindrecord"),
        ("train.py", *flags),
        ("eval.py", *flags, *recalibrate),
        ("export.py", "--ckpt_file=checkpoint", "--file_format=PACKAGE", "--file_name=package"),
    ]
    printed = {}
    for script, *arguments in commands:
        finished = run(ROOT / script, *arguments, cwd=folder)
        assert finished.returncode == 0, finished.stderr
        printed[script] = finished.stdout
    metrics = ast.literal_eval(printed["eval.py"].splitlines()[-1])["result"]
    numbered = enumerate((folder / "train.txt").read_text(encoding="utf-8").splitlines())
    lines = [line.partition("\t")[2] for line in oracles.split_rows(numbered, *SPLIT)["test"]]
    (folder / "test.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    _, labels, probabilities = np.loadtxt(folder / "predictions.csv", delimiter=",", skiprows=1).T
    return Quickstart(folder / "package", metrics, lines, labels, probabilities)


def test_the_recalibration_lowers_the_calibration_error_and_leaves_the_auc(quickstart):
    before, after = quickstart.metrics["before_recalibration"], quickstart.metrics
    assert after["calibration_error"] < before["calibration_error"]
    assert after["log_loss"] < before["log_loss"]
    assert after["AUC"] == pytest.approx(before["auc"], rel=0, abs=1e-9)


def test_predict(quickstart, run, tmp_path):
    rows = quickstart.package.with_name("test.txt")
    flags = (f"--model_path={quickstart.package}", f"--input_path={rows}", f"--output_path={tmp_path / 'scores.csv'}")
    finished = run(ROOT / "predict.py", *flags)
    assert finished.returncode == 0, finished.stderr
    quickstart.check_file(tmp_path / "scores.csv")


def test_the_onnx_file_alone(quickstart):
    session = onnxruntime.InferenceSession(quickstart.package / "model.onnx")
    quickstart.check(session.run(None, raw_inputs(quickstart.lines, 13, 26))[0].ravel())


def test_the_cpp_runner(quickstart, runner, tmp_path):
    rows = quickstart.package.with_name("test.txt")
    flags = (f"--model_path={quickstart.package}", f"--input_path={rows}", f"--output_path={tmp_path / 'scores.csv'}")
    finished = subprocess.run([runner, *flags, "--device_target=CPU"], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    quickstart.check_file(tmp_path / "scores.csv")


def test_the_server(quickstart, tmp_path):
    scores = []
    with Server(quickstart.package, tmp_path / "log") as server:
        for start in range(0, len(quickstart.lines), ROWS_PER_REQUEST):
            lines = quickstart.lines[start : start + ROWS_PER_REQUEST]
            scores += server.infer(tensor("rows", lines)).probabilities
    quickstart.check(np.array(scores))
