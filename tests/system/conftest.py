# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests: the MindRecord of a few generated rows, the quick start, the C++ runner, a server."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from src.criteo_like import write_rows
from tests.conftest import ROOT
from tests.inference_requests import LINES
from tests.repository import QUICK_START, copy_repository
from tests.serving import Server


@pytest.fixture(scope="session")
def data(once, run):
    """About 4,850 rows of training: the last record of 100 is padded, and 12 steps of 4 records leave one out."""

    def preprocess(folder):
        write_rows(folder / "train.txt", 6000, seed=2)
        flags = ("--threshold=10", "--line_per_sample=100", "--train_line_count=6000")
        finished = run(ROOT / "src" / "preprocess_data.py", f"--data_path={folder}", *flags)
        assert finished.returncode == 0, finished.stderr

    return once("data", preprocess) / "mindrecord"


@pytest.fixture(scope="session")
def runner(once):
    """A copy of the C++ runner, built with MindSpore Lite for the CPU."""

    def build(folder):
        built = build_runner()
        folder.mkdir()
        shutil.copy(built, folder)

    return once("runner", build) / "main"


@pytest.fixture(scope="session")
def quickstart(once):
    """The folder of the files that the quick start has made in a copy of the repository."""

    def run_script(folder):
        copy_repository(folder)
        (folder / ".venv").symlink_to(sys.prefix)
        finished = subprocess.run(QUICK_START.split(), cwd=folder, capture_output=True, text=True, check=False)
        assert finished.returncode == 0, finished.stdout + finished.stderr

    return once("quickstart", run_script) / "quickstart" / "generated"


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
def server(packages, tmp_path_factory):
    """The server of the first package, with the default settings."""
    with Server(packages[0], tmp_path_factory.mktemp("server") / "log") as running:
        yield running


@pytest.fixture(scope="session")
def expected(packages):
    """The probabilities of LINES by the first package, as the Python API gives them."""
    from src.package import load_model

    return load_model(packages[0]).predict(LINES)
