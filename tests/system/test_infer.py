# SPDX-License-Identifier: Apache-2.0
"""scripts/run_infer_310.sh with the real MindSpore Lite of the CPU: from an exported checkpoint to its AUC."""

import json
import os
import pathlib
import pty
import re
import subprocess
import sys

import numpy as np
import pytest
from mindspore import Tensor
from mindspore.train import mind_ir_pb2
from sklearn.metrics import roc_auc_score

from src.checkpoint import find_checkpoint
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFMPredict
from tests.checkpoints import save_random_checkpoint
from tests.conftest import ROOT, make_rows
from tests.processes import assert_refused, read_terminal
from tests.records import read_rows

BATCH_ROWS = 64
UNKNOWN = "has no data identity, so it is not checked that the model was trained on these data"


def infer(work, *arguments, stderr=subprocess.PIPE):
    environment = {**os.environ, "DEVICE_TARGET": "CPU"}
    environment["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", ROOT / "scripts" / "run_infer_310.sh", *arguments]
    return subprocess.run(
        command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def inferred(dataset, runner, run, tmp_path_factory, cpu):
    """A folder with a checkpoint for `dataset`, model.mindir of version 1, and the files of the script."""
    work = tmp_path_factory.mktemp("infer")
    save_random_checkpoint(work / "checkpoint", DatasetMeta.load(dataset))
    flags = (f"--dataset_path={dataset}", f"--batch_size={BATCH_ROWS}", "--mindir_version=1", "--file_name=model")
    finished = run(ROOT / "export.py", "--ckpt_file=checkpoint", "--device_target=CPU", *flags, cwd=work)
    assert finished.returncode == 0, finished.stderr
    pattern = r"on 1,000 probe rows and \d+ validation rows:\n  probabilities differ by at most \d\.\de.*, the AUC by"
    assert re.search(pattern, finished.stdout)
    finished = infer(work, "model.mindir", dataset, "y")
    assert finished.returncode == 0, finished.stderr + (work / "infer.log").read_text()
    assert re.search(r"batches of 64 rows: 2, ms each: mean [\d.]+, p50 [\d.]+, p90 .*; rows/s \d+", finished.stdout)
    return work


def test_predictions_are_those_of_the_checkpoint_and_their_auc_is_printed(inferred, dataset):
    sparse_ids, dense_values, labels = read_rows(dataset, "test")
    assert len(labels) % BATCH_ROWS  # the last batch is padded
    predictor = DeepFMPredict(find_checkpoint(inferred / "checkpoint").load_network())
    expected = predictor(Tensor(sparse_ids), Tensor(dense_values)).asnumpy().ravel()
    [file] = json.loads((inferred / "preprocess_Result" / "manifest.json").read_text())["files"]
    found = np.fromfile(inferred / "result_Files" / file["name"], np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert expected.std() > 0.1
    assert not (inferred / "result_Files.partial").exists()
    name, auc = (inferred / "acc.log").read_text().split(" : ")
    assert name == "auc"
    assert float(auc) == pytest.approx(roc_auc_score(labels, expected), abs=1e-6)


def test_flags_are_passed_on_to_the_runner(inferred, dataset, tmp_path):
    (tmp_path / "preprocess_Result").symlink_to(inferred / "preprocess_Result")
    finished = infer(tmp_path, "--precision_mode=fp32", inferred / "model.mindir", dataset, "n", "--threads=1")
    assert_refused(finished, "error: --precision_mode=fp32: must be one of enforce_fp32, preferred_fp32,")


def test_a_terminal_shows_the_progress_of_the_runner(inferred, dataset):
    controller, terminal = pty.openpty()
    infer(inferred, "model.mindir", dataset, "n", stderr=terminal)
    os.close(terminal)
    shown = read_terminal(controller)
    assert "\rpredict: 1 of 1 files" in shown
    assert shown.endswith("\r\033[K")
    assert "predict:" not in (inferred / "infer.log").read_text()


def test_the_script_refuses_data_of_another_vocabulary(inferred, make_dataset, tmp_path):
    other = make_dataset("--dense_encoding=max", content=make_rows(1203, 3, 4, seed=77))
    finished = infer(tmp_path, inferred / "model.mindir", other, "y")
    assert_refused(finished, "model.mindir was trained on other data than", "dense_scales", "vocabulary_sha256")
    assert not (tmp_path / "result_Files").exists()
    assert not (tmp_path / "acc.log").exists()


@pytest.mark.slow
def test_the_script_shows_the_warning_of_a_model_without_identity(inferred, dataset, tmp_path):
    model = mind_ir_pb2.ModelProto.FromString((inferred / "model.mindir").read_bytes())
    model.user_info.clear()
    (tmp_path / "old.mindir").write_bytes(model.SerializeToString())
    finished = infer(tmp_path, "old.mindir", dataset, "y")
    assert finished.returncode == 0, finished.stderr
    warnings = finished.stderr.splitlines()
    assert len(warnings) == 2  # of the runner and of postprocess.py
    assert all(line.startswith("warning: ") and line.endswith(UNKNOWN) for line in warnings)
    assert re.fullmatch(r"auc : 0\.\d+\n", (tmp_path / "acc.log").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], ""),
        (["none.mindir", "data", "y"], "error: MINDIR_PATH none.mindir: no such file"),
        (["model.mindir", "none", "y"], "error: DATASET_PATH none: no such folder"),
        (["model.mindir", "data", "yes"], "error: NEED_PREPROCESS yes: must be y or n"),
        (["model.mindir", "data", "y", "x"], "error: DEVICE_ID x: must be a whole number"),
        (["model.mindir", "data", "--threads=1"], ""),
        (["model.mindir", "data", "--threads=1", "yes"], "error: NEED_PREPROCESS yes: must be y or n"),
    ],
)
def test_wrong_arguments_end_in_the_usage(tmp_path, arguments, message):
    (tmp_path / "data").mkdir()
    (tmp_path / "model.mindir").touch()
    finished = infer(tmp_path, *arguments)
    lines = finished.stderr.splitlines()
    assert finished.returncode == 2
    assert not message or lines.pop(0) == message
    assert lines[0].startswith("usage: bash scripts/run_infer_310.sh MINDIR_PATH")


def test_without_a_runtime_the_build_says_how_to_get_one(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("LITE_HOME", "MS_LITE_HOME")}
    # a copy, as other tests may build at the same time
    needed = ("ascend310_infer/build.sh", "ascend310_infer/CMakeLists.txt", "scripts/debian.sh", "scripts/output.sh")
    for name in needed:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((ROOT / name).read_text())
    command = ["bash", tmp_path / "ascend310_infer" / "build.sh"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert_refused(finished, "error: LITE_HOME is not set", "scripts/get_mindspore_lite.sh")
    environment["LITE_HOME"] = str(tmp_path)
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode != 0
    assert f"LITE_HOME={tmp_path} holds neither" in " ".join(finished.stderr.split())
