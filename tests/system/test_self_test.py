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

from src.distributed.launch import find_free_port
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
    finished = run(*COMMAND, cwd=tmp_path, env=ENVIRONMENT | {"RANK_TABLE_FILE": "/left/over.json"})
    assert (finished.returncode, finished.stderr) == (0, "")
    last = finished.stdout.splitlines()[-1]
    assert last == "passed: 11 of 11 checks, 3 not tested; attach self_test.json to a bug report"
    assert [path.name for path in tmp_path.iterdir()] == ["self_test.json"]
    content = json.loads((tmp_path / "self_test.json").read_text())
    assert content["machine"]["mindspore"]
    assert content["environment"]["RANK_TABLE_FILE"] == "/left/over.json"  # which start-up removes
    assert content["launcher"] == "none"
    first, device = content["checks"][:2]
    assert (device["check"], device["text"]) == ("device", "CPU; jit level not set: MindSpore's choice")
    assert (first["check"], first["status"]) == ("end to end", "pass")
    assert 0.5 + 10 * AUC_TOLERANCE < first["metrics"]["AUC"] < 1  # so a network that learns nothing fails


def run_two_ranks(folder, *command):
    """Run a command of Python as two ranks in a folder; return the finished msrun and the output of each rank."""
    finished = subprocess.run(
        ["msrun", "--worker_num=2", "--local_worker_num=2", "--join=True", "--log_dir=logs",
         f"--master_port={find_free_port()}", "python", *command],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    return finished, [(folder / "logs" / f"worker_{rank}.log").read_text() for rank in range(2)]


@pytest.mark.slow
def test_two_ranks_pass_and_test_their_collective_operations(tmp_path):
    finished, (log, other_log) = run_two_ranks(tmp_path, *COMMAND)
    assert finished.returncode == 0, log
    assert [path.name for path in tmp_path.glob("*.json")] == ["self_test_rank0.json"]
    content = json.loads((tmp_path / "self_test_rank0.json").read_text())
    statuses = {check["check"]: check["status"] for check in content["checks"]}
    names = (
        "AllReduce",
        "AllGather float32",
        "AllGather int32",
        "exchange of table parts",
        "all ranks",
        "10 steps float32",
    )
    assert {statuses[name] for name in names} == {"pass"}
    assert "FAIL" not in statuses.values()
    assert (content["launcher"], content["environment"]["MS_ROLE"]) == ("msrun, rank 0 of 2", "MS_WORKER")
    assert "attach self_test_rank0.json" in log
    assert "AllReduce" not in other_log


FAULTY_RANK = """
from src.distributed.entry_point import enter
enter("The self-test with a fault in rank 1.", distributed=True)
from src.common.errors import run_main
from src.distributed.environment import read_launcher
from src.self_test import __main__, arithmetic, suite
__main__.device_checks = lambda config, device, *_: suite._arithmetic_checks(device)
if read_launcher().rank == 1:
    arithmetic.BEYOND_FLOAT16 = 1.0
run_main(__main__.main)
"""


@pytest.mark.slow
def test_the_check_that_another_rank_fails_is_named_with_its_values(tmp_path):
    (tmp_path / "faulty.py").write_text(FAULTY_RANK)
    finished, (log, other_log) = run_two_ranks(tmp_path, "faulty.py", "--device_target=CPU")
    assert finished.returncode != 0
    assert "failed checks of each rank: 0, 1; see self_test_rank1.json" in log
    assert "rank 1: FAIL        matrix products      float32 matrices are multiplied in" in other_log
    content = json.loads((tmp_path / "self_test_rank1.json").read_text())
    failed = [check for check in content["checks"] if check["status"] == "FAIL"]
    assert [(check["check"], check["bits"], check["is_wide"]) for check in failed] == [("matrix products", 23, False)]


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
