# SPDX-License-Identifier: Apache-2.0
"""The self-test as a user runs it, on the CPU."""

import json
import os
import pathlib
import subprocess
import sys
import time

import psutil
import pytest

from src.self_test.commands import AUC_TOLERANCE
from tests.conftest import ROOT

COMMAND = ("-m", "src.self_test", "--device_target=CPU")
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "PATH": f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}


@pytest.mark.slow
def test_one_process_passes_and_trains_from_end_to_end(run, tmp_path):
    finished = run(*COMMAND, cwd=tmp_path, env=ENVIRONMENT)
    assert (finished.returncode, finished.stderr) == (0, "")
    last = finished.stdout.splitlines()[-1]
    assert last == "passed: 10 of 10 checks, 3 not tested; attach self_test.json to a bug report"
    assert [path.name for path in tmp_path.iterdir()] == ["self_test.json"]
    content = json.loads((tmp_path / "self_test.json").read_text())
    assert content["machine"]["MindSpore"]
    first = content["checks"][0]
    assert (first["check"], first["status"]) == ("end to end", "pass")
    assert 0.5 + 10 * AUC_TOLERANCE < first["metrics"]["AUC"] < 1  # so a network that learns nothing fails


@pytest.mark.slow
def test_two_ranks_pass_and_test_their_collective_operations(tmp_path):
    finished = subprocess.run(
        ["msrun", "--worker_num=2", "--local_worker_num=2", "--join=True", "--log_dir=logs", "--master_port=8141",
         "python", *COMMAND, "--hidden_sizes=8", "--embedding_size=4"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    log = (tmp_path / "logs" / "worker_0.log").read_text()
    assert finished.returncode == 0, log
    content = json.loads((tmp_path / "self_test_ranks.json").read_text())
    statuses = {check["check"]: check["status"] for check in content["checks"]}
    assert [statuses[name] for name in ("AllReduce", "AllGather", "all ranks", "10 steps float32")] == ["pass"] * 4
    assert "FAIL" not in statuses.values()
    assert "self_test_ranks.json" in log
    assert "AllReduce" not in (tmp_path / "logs" / "worker_1.log").read_text()


def test_a_signal_ends_it_and_the_command_that_runs_without_a_trace(tmp_path):
    process = subprocess.Popen(
        [sys.executable, *COMMAND], cwd=tmp_path, env=ENVIRONMENT | {"TMPDIR": str(tmp_path)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    while not process.stdout.readline().startswith("running"):
        assert process.poll() is None
    while not (children := psutil.Process(process.pid).children()):
        time.sleep(0.01)
    time.sleep(0.5)  # of its start-up of some seconds
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (143, "stopped by SIGTERM\n")
    assert len(children) == 1
    assert not children[0].is_running()
    assert [path.name for path in tmp_path.iterdir()] == ["self_test.json"]
    assert json.loads((tmp_path / "self_test.json").read_text())["running"] == "end to end"


def test_a_folder_that_cannot_be_written_is_reported_before_the_work(run, tmp_path):
    (tmp_path / "self_test.json").mkdir()
    finished = run(*COMMAND, cwd=tmp_path, env=ENVIRONMENT)
    assert finished.returncode == 2
    assert finished.stderr == (
        "error: self_test.json cannot be written: is a folder, a file is wanted; start it in another folder\n"
    )
