# SPDX-License-Identifier: Apache-2.0
"""export.py: which checkpoint and which rows it takes, and what it leaves behind."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

import export
from src.checkpoint import find_checkpoint
from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.evaluation.recalibration import Method, Recalibration
from src.evaluation.record import EvaluationRecord
from src.package import load_model
from src.package.package import Package
from tests.checkpoints import save_random_checkpoint
from tests.conftest import ROOT

MADE_BY_MINDSPORE = {"rank_0", "kernel_meta"}
FLAGS = ("--ckpt_file=checkpoint", "--batch_size=100", "--device_target=CPU")


@pytest.fixture(scope="module")
def checkpoint(dataset, tmp_path_factory, cpu):
    """A folder with a checkpoint for `dataset`."""
    folder = tmp_path_factory.mktemp("export") / "checkpoint"
    save_random_checkpoint(folder, DatasetMeta.load(dataset))
    return folder


@pytest.fixture
def work(checkpoint, tmp_path, monkeypatch):
    """The working directory, with a copy of the checkpoint."""
    shutil.copytree(checkpoint, tmp_path / "checkpoint")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files_in(work):
    return {path.name for path in work.iterdir()} - MADE_BY_MINDSPORE


def test_the_command_of_the_model_zoo_exports_without_the_data(work, run):
    command = ("--ckpt_file=checkpoint", "--file_name=deepfm", "--file_format=MINDIR")
    finished = run(ROOT / "export.py", *command, cwd=work)
    assert finished.returncode == 0, finished.stderr
    assert "exported; compared with the checkpoint on 1,000 probe rows:\n  probabilities differ by" in finished.stdout
    assert files_in(work) == {"checkpoint", "deepfm.mindir"}


def test_checkpoints_of_an_older_training_have_no_probe_rows_and_are_exported(work, capsys):
    (work / "checkpoint" / "probe_rows.npz").unlink()
    export.main(FLAGS)
    assert "compared with the checkpoint on 1,000 probe rows:" in capsys.readouterr().out
    assert files_in(work) == {"checkpoint", "deepfm.mindir"}


def test_validation_rows_are_compared_if_the_data_are_named(work, dataset, capsys):
    export.main([*FLAGS, f"--dataset_path={dataset}"])
    count = DatasetMeta.load(dataset).splits["valid"].rows
    text = f"on 1,000 probe rows and {count} validation rows:\n  probabilities differ by at most "
    assert text in capsys.readouterr().out


def test_other_data_in_the_default_folder_are_noted(work, make_dataset, capsys):
    (work / "data").mkdir()
    (work / "data" / "mindrecord").symlink_to(make_dataset("--threshold=4"))
    export.main(FLAGS)
    shown = capsys.readouterr().out
    assert "note: validation rows are not compared: " in shown
    assert "was trained on other data than data/mindrecord" in shown
    assert "on 1,000 probe rows:" in shown


def test_other_data_are_refused_if_they_are_named(work, make_dataset):
    with pytest.raises(UserError, match="was trained on other data than"):
        export.main([*FLAGS, f"--dataset_path={make_dataset('--threshold=4')}"])
    with pytest.raises(UserError, match="none"):
        export.main([*FLAGS, "--dataset_path=none"])
    assert files_in(work) == {"checkpoint"}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--ckpt_file=none.ckpt", "--ckpt_file=none.ckpt: no such file or folder"),
        ("--file_format=AIR", "--file_format=AIR needs an Ascend machine"),
        ("--file_name=checkpoint/", "must end with the name of a file"),
    ],
)
def test_an_export_that_is_refused_leaves_no_file(work, flag, message):
    with pytest.raises(UserError, match=message):
        export.main([*FLAGS, flag])
    assert files_in(work) == {"checkpoint"}


def test_a_file_that_predicts_something_else_is_not_kept(work, dataset, monkeypatch):
    monkeypatch.setattr("src.export.parity.TOLERANCE", -1.0)
    (work / "deepfm.mindir").write_text("earlier")
    with pytest.raises(UserError, match="does not predict as the checkpoint does, so it is not kept"):
        export.main(FLAGS)
    assert (work / "deepfm.mindir").read_text() == "earlier"
    assert files_in(work) == {"checkpoint", "deepfm.mindir"}


@pytest.mark.slow
def test_a_package_needs_neither_the_data_nor_this_code_nor_mindspore(work, run, dataset):
    """A fresh environment that holds onnxruntime alone scores raw values as the checkpoint does."""
    finished = run(ROOT / "export.py", *FLAGS, "--file_format=PACKAGE", "--file_name=model", cwd=work)
    assert finished.returncode == 0, finished.stderr
    assert "compared with the checkpoint on 1,000 probe rows:" in finished.stdout
    assert files_in(work) == {"checkpoint", "model"}
    subprocess.run([sys.executable, "-m", "venv", "alone"], check=True)
    subprocess.run(["alone/bin/pip", "install", "--quiet", "onnxruntime"], check=True)
    shutil.move("model", "elsewhere")
    python = ["alone/bin/python", "-I", "-c", SCORE_GOLDEN_ROWS]
    scored = subprocess.run(python, capture_output=True, text=True, check=False)
    assert scored.returncode == 0, scored.stderr
    expected = (work / "elsewhere" / "golden_scores.csv").read_text().splitlines()[1:]
    found = [float(line) for line in scored.stdout.splitlines()]
    assert len(found) == len(expected) == 100
    assert max(abs(score - float(line.split(",")[1])) for score, line in zip(found, expected)) < 1e-5


SCORE_GOLDEN_ROWS = """
import importlib.util, numpy, onnxruntime
assert not any(map(importlib.util.find_spec, ["mindspore", "src", "onnx", "polars"]))
session = onnxruntime.InferenceSession("elsewhere/model.onnx")
with open("elsewhere/golden_rows.tsv", encoding="utf-8") as file:
    rows = [line.rstrip("\\n").split("\\t") for line in file]
inputs = {}
for column, each in enumerate(session.get_inputs()):
    cells = [row[column] for row in rows]
    if each.type == "tensor(int64)":
        inputs[each.name] = numpy.array([[int(cell or -2**63)] for cell in cells], numpy.int64)
    else:
        inputs[each.name] = numpy.array([[cell] for cell in cells], object)
for probability in session.run(["probability"], inputs)[0].ravel().tolist():
    print(probability)
"""


def test_the_package_of_an_older_training_needs_the_data(work, dataset, capsys):
    (work / "checkpoint" / "raw_rows.json").unlink()
    with pytest.raises(UserError, match=r"holds no raw_rows\.json.*--dataset_path must name the MindRecord folder"):
        export.main([*FLAGS, "--file_format=PACKAGE", "--file_name=model"])
    export.main([*FLAGS, "--file_format=PACKAGE", "--file_name=model", f"--dataset_path={dataset}"])
    assert files_in(work) == {"checkpoint", "model"}
    assert "validation rows:" in capsys.readouterr().out


def test_a_package_has_the_recalibration_and_the_metrics_that_eval_has_stored(work, dataset, capsys):
    checkpoint = find_checkpoint(work / "checkpoint")
    export.main([*FLAGS, "--file_format=PACKAGE", "--file_name=before"])
    assert "note: no recalibration; eval.py --fit_calibration=True fits one" in capsys.readouterr().out
    recalibration = Recalibration(Method.PLATT, (-1.0, 1.0), (-2.0, 0.5))
    EvaluationRecord({"auc": 0.75}, recalibration, 100).save(checkpoint.path, checkpoint.sha256, is_fitted=True)
    export.main([*FLAGS, "--file_format=PACKAGE", "--file_name=after"])
    assert "note: no recalibration" not in capsys.readouterr().out
    package = Package.load("after")
    assert package.recalibration == recalibration
    assert package.metrics == {"valid": None, "test": {"auc": 0.75}}
    rows = (work / "after" / "golden_rows.tsv").read_text().split("\n")[:-1]
    plain, recalibrated = load_model("before").predict(rows), load_model("after").predict(rows)
    assert np.abs(plain - recalibrated).max() > 0.01
    np.testing.assert_allclose(recalibrated, recalibration.apply(plain), rtol=0, atol=1e-7)
    np.testing.assert_allclose(load_model("checkpoint").predict(rows), recalibrated, rtol=0, atol=1e-5)
