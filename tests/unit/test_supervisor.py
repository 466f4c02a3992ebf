# SPDX-License-Identifier: Apache-2.0
"""The end of a run as the supervisor reports it.  It runs in its own process, as it ends all its descendants."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.conftest import ROOT

SUPERVISE = """
import json, os, pathlib, sys
from src.common.signals import handle_signals
from src.distributed import supervisor
from src.distributed.supervisor import Command, Supervisor
handle_signals()
supervisor.POLL_SECONDS, supervisor.GRACE_SECONDS = float(sys.argv[1]), 1
scripts = json.loads(sys.argv[2])
logs = {rank: pathlib.Path(f"log{rank}") for rank in range(len(scripts))}
if len(scripts) == 1:
    command = Command(["sh", "-c", *scripts], {**os.environ, "RANK_ID": "0"}, logs[0], rank=0)
else:
    command = Command([sys.executable, "-c", sys.argv[3], sys.argv[2]], {**os.environ}, pathlib.Path("launcher.log"))
sys.exit(Supervisor(command, logs).run())
"""
# As msrun does, it waits for its ranks, kills the others when one fails, and hides the status of that.
LAUNCHER = """
import json, os, subprocess, sys, time
ranks = [
    subprocess.Popen(["sh", "-c", script], env={**os.environ, "RANK_ID": str(rank)}, stdout=open(f"log{rank}", "w"))
    for rank, script in enumerate(json.loads(sys.argv[1]))
]
while None in [rank.poll() for rank in ranks] and not any(rank.poll() for rank in ranks):
    time.sleep(0.02)
if any(rank.poll() for rank in ranks):
    time.sleep(1)
    for rank in ranks:
        rank.kill()
    sys.exit(1)
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that supervises shell scripts, each of them a rank; it returns the process.

    Several ranks are started by a launcher.
    """

    def run(*scripts, poll_seconds=0.05):
        return subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, str(poll_seconds), json.dumps(scripts), LAUNCHER], cwd=tmp_path,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]},
        )  # fmt: skip

    return run


def finish(process):
    """Return the exit status and stderr."""
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def test_only_the_rank_that_fails_first_is_shown(start):
    status, errors = finish(start("echo waiting; sleep 60", "sleep 0.3; echo broken; exit 3"))
    assert (status, errors) == (1, "error: rank 1 has failed; the end of log1:\nbroken\n")


def test_ranks_that_fail_within_one_poll_are_all_shown(start):
    status, errors = finish(start("sleep 3; echo cut off; exit 4", "sleep 3; echo broken; exit 3", poll_seconds=2))
    assert status == 1  # the launcher's
    assert errors == (
        "error: rank 0 has failed; the end of log0:\ncut off\nerror: rank 1 has failed; the end of log1:\nbroken\n"
    )


def test_a_single_rank_is_called_the_run_and_warnings_of_mindspore_are_left_out(start):
    status, errors = finish(start("sleep 0.2; echo '[WARNING] noise'; echo broken; exit 2"))
    assert (status, errors) == (2, "error: the run has failed; the end of log0:\nbroken\n")


def test_a_rank_that_a_signal_has_killed_gives_status_1(start):
    status, errors = finish(start("sleep 0.2; kill -KILL $$", "sleep 60"))
    assert (status, errors) == (1, "error: rank 0 has failed; the end of log0:\n")


def test_ranks_that_succeed_give_status_0(start):
    assert finish(start("echo done", "sleep 0.3")) == (0, "")


def test_announcements_of_the_first_rank_are_relayed_and_other_lines_are_not(start):
    process = start("echo secret; echo waiting for others; sleep 0.3")
    output, _ = process.communicate(timeout=60)
    assert output == "waiting for others\n"


def test_a_signal_reaches_every_rank_and_the_run_ends_with_its_status(start, tmp_path):
    script = "trap 'echo stopped by SIGTERM; exit 143' TERM; touch ready$RANK_ID; while :; do sleep 0.05; done"
    process = start(script, script)
    while len(list(tmp_path.glob("ready*"))) < 2:
        time.sleep(0.01)
    ranks = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (143, "stopped by SIGTERM\n")
    assert all(pathlib.Path(tmp_path, f"log{rank}").read_text() == "stopped by SIGTERM\n" for rank in range(2))
    _, alive = psutil.wait_procs(ranks, timeout=5)
    assert not alive
