# SPDX-License-Identifier: Apache-2.0
"""Export, and the C++ runner with the real MindSpore Lite of the CPU, as a user runs them."""

import json
import os
import pathlib
import pty
import re
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn

from src.criteo_like import write_rows
from src.deepfm import DeepFM, DeepFMConfig, DeepFMPredict
from src.exported import write
from tests.conftest import ROOT
from tests.system.test_mistakes import check

BATCH_ROWS = 64
RUNNER = ROOT / "ascend310_infer" / "out" / "main"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, run):
    """A folder with data/mindrecord and the checkpoints of a short training."""
    work = tmp_path_factory.mktemp("infer")
    write_rows(work / "data" / "train.txt", 6000, seed=2)
    flags = ("--threshold=10", "--line_per_sample=100", "--train_line_count=6000")
    training = ("--dataset_path=data/mindrecord", "--batch_size=200", "--embedding_size=4", "--hidden_sizes=16,8",
                "--learning_rate=0.01", "--train_epochs=2", "--device_target=CPU")  # fmt: skip
    for script, *arguments in (("src/preprocess_data.py", "--data_path=data", *flags), ("train.py", *training)):
        finished = run(ROOT / script, *arguments, cwd=work)
        assert finished.returncode == 0, finished.stderr
    return work


def export(run, work, *flags):
    return run(
        ROOT / "export.py", "--ckpt_file=checkpoint", "--dataset_path=data/mindrecord", "--device_target=CPU", *flags,
        cwd=work,
    )  # fmt: skip


def infer(work, *arguments, stderr=subprocess.PIPE):
    environment = {**os.environ, "DEVICE_TARGET": "CPU"}
    environment["PATH"] = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["bash", ROOT / "scripts" / "run_infer_310.sh", *arguments]
    return subprocess.run(
        command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=stderr, text=True, check=False, timeout=600
    )


@pytest.fixture(scope="module")
def inferred(trained, run):
    """The same folder after export and inference; model.mindir is of version 1, model3.mindir of version 3."""
    for name, version in (("model", 1), ("model3", 3)):
        flags = (f"--batch_size={BATCH_ROWS}", f"--mindir_version={version}", f"--file_name={name}")
        finished = export(run, trained, *flags)
        assert finished.returncode == 0, finished.stderr
        assert re.search(r"on \d+ rows:\n  probabilities differ by at most \d\.\de", finished.stdout)
    finished = infer(trained, "model.mindir", "data/mindrecord", "y")
    assert finished.returncode == 0, finished.stderr + (trained / "infer.log").read_text()
    assert re.search(r"batches of 64 rows: \d+, ms each: mean [\d.]+, p50 [\d.]+, p90 .*; rows/s \d+", finished.stdout)
    return trained


def test_the_runner_scores_as_eval_does(inferred, run):
    name, auc = (inferred / "acc.log").read_text().split(" : ")
    evaluated = run(
        ROOT / "eval.py", "--dataset_path=data/mindrecord", "--checkpoint_path=checkpoint", "--batch_size=200",
        "--device_target=CPU", cwd=inferred,
    )  # fmt: skip
    assert name == "auc"
    assert float(auc) == pytest.approx(float(re.search(r"'AUC': ([\d.]+)", evaluated.stdout)[1]), abs=1e-6)


def test_a_terminal_shows_how_far_the_runner_is(inferred):
    controller, terminal = pty.openpty()
    infer(inferred, "model.mindir", "data/mindrecord", "n", stderr=terminal)
    os.close(terminal)
    shown = os.read(controller, 10_000).decode()
    os.close(controller)
    assert "\rpredict: 1 of 1 files" in shown
    assert shown.endswith("\r\033[K")
    assert "predict:" not in (inferred / "infer.log").read_text()


def test_the_runner_s_probabilities_are_those_of_the_checkpoint(inferred, cpu):
    from src.checkpoint import find_checkpoint

    folder, saved = find_checkpoint(inferred / "checkpoint")
    predictor = DeepFMPredict(folder.load_network(saved))
    manifest = json.loads((inferred / "preprocess_Result" / "manifest.json").read_text())
    assert manifest["rows"] % BATCH_ROWS  # the last batch has to be filled up
    for file in manifest["files"]:
        inputs = [
            np.fromfile(inferred / "preprocess_Result" / folder_name / file["name"], dtype).reshape(file["rows"], -1)
            for folder_name, dtype in (("00_sparse_ids", np.int32), ("01_dense_values", np.float32))
        ]
        expected = predictor(*map(Tensor, inputs)).asnumpy().ravel()
        found = np.fromfile(inferred / "result_Files" / file["name"], np.float32)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert not (inferred / "result_Files.partial").exists()


def test_a_model_that_the_runtime_cannot_read_names_the_version_to_export(inferred):
    finished = infer(inferred, "model3.mindir", "data/mindrecord", "n")
    assert finished.returncode == 1
    assert "error: model3.mindir: MindSpore Lite cannot build it" in finished.stderr
    assert "export.py --mindir_version=1" in finished.stderr
    assert not (inferred / "result_Files").exists()
    assert not (inferred / "acc.log").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], ""),
        (["none.mindir", "data/mindrecord", "y"], "error: MINDIR_PATH none.mindir: no such file"),
        (["data/train.txt", "none", "y"], "error: DATASET_PATH none: no such folder"),
        (["data/train.txt", "data", "yes"], "error: NEED_PREPROCESS yes: must be y or n"),
        (["data/train.txt", "data", "y", "x"], "error: DEVICE_ID x: must be a whole number"),
    ],
)
def test_wrong_arguments_end_in_the_usage(trained, arguments, message):
    finished = infer(trained, *arguments)
    lines = finished.stderr.splitlines()
    assert finished.returncode == 2
    assert not message or lines.pop(0) == message
    assert lines[0].startswith("usage: bash scripts/run_infer_310.sh MINDIR_PATH")


def test_without_a_runtime_building_says_how_to_get_one(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("LITE_HOME", "MS_LITE_HOME")}
    command = ["bash", ROOT / "ascend310_infer" / "build.sh"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    check(finished, "error: LITE_HOME is not set", "scripts/get_mindspore_lite.sh")
    finished = subprocess.run(
        command, env={**environment, "LITE_HOME": str(tmp_path)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert finished.returncode != 0
    assert f"LITE_HOME={tmp_path} holds neither" in " ".join(finished.stderr.split())


def test_exports_that_cannot_be_end_in_a_line_and_leave_no_file(trained, run):
    before = set(trained.iterdir())
    check(export(run, trained, "--ckpt_file=none.ckpt"), "--ckpt_file=none.ckpt: no such file or folder")
    check(export(run, trained, "--file_format=AIR"), "--file_format=AIR needs an Ascend machine")
    assert set(trained.iterdir()) - before <= {trained / "rank_0", trained / "kernel_meta"}


ROWS = 10


@pytest.fixture(scope="module")
def files(inferred, tmp_path_factory, cpu):
    """A folder with inputs of ROWS rows, ids/ and values/, for the model small.mindir of batches of 4 rows."""
    folder = tmp_path_factory.mktemp("files")
    network = DeepFM(DeepFMConfig(20, 3, 2, 4, (5,)))
    network.fold()
    write("MINDIR", DeepFMPredict(network), 4, folder / "small.mindir", 1)
    for name, content in (("ids", np.zeros((ROWS, 3), np.int32)), ("values", np.zeros((ROWS, 2), np.float32))):
        (folder / name).mkdir()
        content.tofile(folder / name / "a.bin")
    (folder / "empty").mkdir()
    return folder


def call(folder, *arguments, ids="ids", values="values", model="small.mindir"):
    command = [RUNNER, f"--mindir_path={model}", f"--input0_path={ids}", "--output_path=out", "--device_target=CPU"]
    if values:
        command.append(f"--input1_path={values}")
    return subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_runner_writes_a_probability_for_each_row_and_replaces_what_was_there(files):
    (files / "out").mkdir()
    (files / "out" / "old.bin").write_text("old")
    finished = call(files, "--threads=1", "--warmup=0")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("rows: 10, files: 1\nbatches of 4 rows: 3, ms each: mean ")
    assert [path.name for path in (files / "out").iterdir()] == ["a.bin"]
    assert len(np.fromfile(files / "out" / "a.bin", np.float32)) == ROWS


def bad_inputs(folder, name, content, file="a.bin"):
    (folder / name).mkdir(exist_ok=True)
    (folder / name / file).write_bytes(content)
    return name


def refused(folder, message, *arguments, **inputs):
    """Check that the runner ends with status 2 and one line, and that nothing is left of its output."""
    before = sorted((folder / "out").iterdir()) if (folder / "out").exists() else None
    finished = call(folder, *arguments, **inputs)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.startswith("error: ")
    assert finished.stderr.count("\n") == 1
    assert message in finished.stderr
    assert not (folder / "out.partial").exists()
    assert (sorted((folder / "out").iterdir()) if (folder / "out").exists() else None) == before


def test_the_runner_refuses_inputs_that_are_not_rows_of_the_model(files):
    refused(files, "none: no such folder", ids="none")
    refused(files, "empty holds no .bin file; preprocess.py writes them", ids="empty")
    refused(files, "must hold files of the same names", values=bad_inputs(files, "renamed", b"1234", "b.bin"))
    truncated = bad_inputs(files, "truncated", bytes(ROWS * 12 - 1))
    refused(files, "truncated/a.bin holds 119 bytes; a row of the model's input has 12", ids=truncated)
    refused(files, "nothing/a.bin holds 0 bytes", ids=bad_inputs(files, "nothing", b""))
    fewer = bad_inputs(files, "fewer", bytes((ROWS - 1) * 8))
    refused(files, "fewer/a.bin holds 9 rows, the file of that name in ids 10", values=fewer)
    refused(files, "has 2 inputs, but 1 folders of them are given", values=None)


def test_the_runner_refuses_models_that_it_cannot_run(files):
    refused(files, "none.mindir: cannot be read", model="none.mindir")
    (files / "junk.mindir").write_bytes(b"junk")
    refused(files, "junk.mindir: MindSpore Lite cannot build it", model="junk.mindir")

    class TwoFloats(nn.Cell):
        def __init__(self):
            super().__init__()
            self.add = ms.ops.Add()

        def construct(self, sparse_ids, dense_values):
            return self.add(sparse_ids, dense_values)

    # A model of other types: both inputs are float32.
    from src.mindir import name_ends, to_old_version

    zeros = Tensor(np.zeros((4, 2), np.float32))
    ms.export(TwoFloats(), zeros, zeros, file_name=str(files / "floats"), file_format="MINDIR")
    name_ends(files / "floats.mindir", ["sparse_ids", "dense_values"], "probabilities")
    to_old_version(files / "floats.mindir")
    refused(files, "the model's input sparse_ids does not take sparse ids, int32 [B, S]", model="floats.mindir")


def test_the_runner_refuses_arguments_that_it_does_not_know(files):
    refused(files, "unknown argument --batch; --help lists the arguments", "--batch=3")
    refused(files, "--threads=0: must be a whole number of at least 1", "--threads=0")
    refused(files, "--warmup=x: must be a whole number", "--warmup=x")
    refused(files, "--device_target=GPU: must be Ascend or CPU", "--device_target=GPU")
    refused(files, "--input0_path is missing", ids="")
    finished = call(files, "--help")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.startswith("usage: main --mindir_path=FILE")
