# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests: the MindRecord of a few generated rows, and the C++ runner."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from src.criteo_like import write_rows
from src.dataset_meta import DatasetMeta
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def data(tmp_path_factory, run):
    """About 4,850 rows of training: the last record of 100 is padded, and 12 steps of 4 records leave one out."""
    work = tmp_path_factory.mktemp("data")
    write_rows(work / "train.txt", 6000, seed=2)
    flags = ("--threshold=10", "--line_per_sample=100", "--train_line_count=6000")
    finished = run(ROOT / "src" / "preprocess_data.py", f"--data_path={work}", *flags)
    assert finished.returncode == 0, finished.stderr
    return work / "mindrecord"


@pytest.fixture(scope="session")
def runner(tmp_path_factory, worker_id):
    """A copy of the C++ runner, built with MindSpore Lite for the CPU by the first of the suite's processes."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder if worker_id == "master" else folder.parent
    with (folder / "runner.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "runner").exists():
            built = build_runner()
            shutil.copy(built, folder / "runner")
    return folder / "runner"


def build_runner():
    """Build the C++ runner where scripts/run_infer_310.sh does; return its path."""
    path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    scripts = [["bash", ROOT / "ascend310_infer" / "build.sh"]]
    if not environment.get("LITE_HOME"):
        scripts.insert(0, ["bash", ROOT / "scripts" / "get_mindspore_lite.sh"])
    for command in scripts:
        finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        environment.setdefault("LITE_HOME", finished.stdout.strip())
    return ROOT / "ascend310_infer" / "out" / "main"


@pytest.fixture(scope="session")
def packages(tmp_path_factory, worker_id, dataset, cpu):
    """The folders of two model packages of the same data, written by the first of the suite's processes."""
    from src.evaluation.recalibration import Recalibration
    from tests.packages import write_random_package

    folder = tmp_path_factory.getbasetemp()
    folder = (folder if worker_id == "master" else folder.parent) / "packages"
    recalibrations = [None, Recalibration("platt", (-2.0, 2.0), (-3.0, 1.0))]
    paths = [folder / str(number) for number in range(len(recalibrations))]
    with folder.with_name("packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for path, recalibration in zip(paths, recalibrations):
                write_random_package(path, DatasetMeta.load(dataset), recalibration)
    return paths
