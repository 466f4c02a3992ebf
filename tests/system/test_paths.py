# SPDX-License-Identifier: Apache-2.0
"""Paths with any characters: in every flag, as working directory, and as the folder of the project."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT, make_rows
from tests.odd_paths import ALL_IN_ONE
from tests.processes import assert_refused
from tests.repository import copy_repository

SHAPE = ("--dense_dim=1", "--slot_dim=2", "--threshold=3", "--line_per_sample=100", "--train_line_count=0")
SMALL = ("--batch_size=100", "--embedding_size=2", "--hidden_sizes=4", "--train_epochs=1", "--device_target=CPU")


def pipeline(name):
    """Yield each command of the pipeline, a script and its flags, with `name` in all paths."""
    yield "src/preprocess_data.py", f"--data_path={name}", *SHAPE
    data = f"--dataset_path={name}/mindrecord"
    logs = (f"--eval_file_name={name}/auc", f"--report_path={name}/report.html")
    checkpoints = f"{name}/{name}.d"
    yield ("train.py", data, f"--ckpt_path={checkpoints}", f"--loss_file_name={name}/loss", *logs,
           f"--config_path={name}/settings.yaml")  # fmt: skip
    yield "eval.py", data, f"--checkpoint_path={checkpoints}", *logs, *SMALL
    for file_format in ("MINDIR", "ONNX"):
        yield ("export.py", f"--ckpt_file={checkpoints}", f"--file_name={name}/{name}", f"--file_format={file_format}",
               data, *SMALL)  # fmt: skip
    yield "preprocess.py", data, f"--result_path={name}/inputs"
    yield "postprocess.py", f"--result_path={name}/outputs", f"--label_path={name}/inputs/02_labels"


def prepare(folder, name):
    (folder / name).mkdir(parents=True)
    (folder / name / "train.txt").write_text(make_rows(2000, 1, 2, seed=1))
    (folder / name / "settings.yaml").write_text("\n".join(flag[2:].replace("=", ": ") for flag in SMALL))


def score_by_hand(folder, name):
    """Write probabilities of 0.5 where the runner would."""
    inputs, outputs = folder / name / "inputs", folder / name / "outputs"
    outputs.mkdir()
    shutil.copy(inputs / "data_identity.txt", outputs)
    for path in (inputs / "02_labels").iterdir():
        np.full(path.stat().st_size // 4, 0.5, np.float32).tofile(outputs / path.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [ALL_IN_ONE, "-lead"])
def test_every_flag_takes_a_path_of_any_characters(run, tmp_path, name):
    work = tmp_path / name  # the working directory too
    work.mkdir()
    prepare(work, name)
    for script, *flags in pipeline(name):
        if script == "postprocess.py":
            score_by_hand(work, name)
        finished = run(ROOT / script, *flags, cwd=work)
        assert finished.returncode == 0, f"{script} {flags}\n{finished.stdout}{finished.stderr}"
        assert finished.stderr == ""
    assert finished.stdout == "auc : 0.5\n"
    for suffix in (".mindir", ".onnx"):
        assert (work / name / f"{name}{suffix}").is_file()
    assert sorted(path.name for path in work.iterdir() if path.name != "rank_0") == [name]


@pytest.mark.slow
def test_the_scripts_run_in_a_project_folder_of_odd_characters(tmp_path):
    project = tmp_path / "a b=+%#[x]*'中文é~$HOME&<>`{rank}!()^@"  # CMake builds in such a folder
    copy_repository(project)
    work = tmp_path / ALL_IN_ONE
    prepare(work, "-d 1")
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "WAIT": "1", "PATH": path, "DEVICE_TARGET": "CPU"}

    def call(*command):
        finished = subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert finished.returncode == 0, f"{command}\n{finished.stdout}{finished.stderr}"
        return finished.stdout

    scripts, data = project / "scripts", "-d 1/mindrecord"
    call("python", project / "src" / "preprocess_data.py", "--data_path=-d 1", *SHAPE)
    call("bash", scripts / "run_standalone_train.sh", "0", "CPU", data, "--ckpt_path=-c =1", *SMALL)
    call("bash", scripts / "run_eval.sh", "0", "CPU", data, "-c =1", *SMALL)
    call("python", project / "export.py", "--ckpt_file=-c =1", "--file_name=-m", "--mindir_version=1", *SMALL)
    assert call("bash", scripts / "run_infer_310.sh", "-m.mindir", data, "y").splitlines()[-1].startswith("auc : ")


@pytest.mark.parametrize("name", ["a;b", 'a"b', "a:b", "a,b", "a|b", "a?b", "a\\b"])
def test_a_folder_in_which_cmake_cannot_build_is_refused_with_the_rule(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(ROOT / "ascend310_infer" / "build.sh", folder)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    command = ["bash", folder / "build.sh"]
    environment = {**os.environ, "LITE_HOME": str(tmp_path)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert_refused(
        finished, f"error: the folder {folder}: CMake cannot build with a path that holds any of the characters"
    )
