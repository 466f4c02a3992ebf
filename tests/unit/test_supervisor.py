# SPDX-License-Identifier: Apache-2.0
"""Which rank is named when one fails: in a process of its own, as the launcher ends all that descend from it."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT

LAUNCHER = """
import json, os, pathlib, sys
from src.distributed import supervisor
from src.distributed.supervisor import Command, RankProcesses
supervisor.POLL_SECONDS, supervisor.GRACE_SECONDS = 2, 1
logs, commands = {}, []
for rank, script in enumerate(json.loads(sys.argv[1])):
    logs[rank] = pathlib.Path(f"log{rank}")
    commands.append(Command(["sh", "-c", script], {**os.environ, "RANK_ID": str(rank)}, logs[rank], rank))
sys.exit(RankProcesses(commands, logs).run())
"""


@pytest.fixture
def launch(tmp_path):
    def run(*scripts):
        return subprocess.run(
            [sys.executable, "-c", LAUNCHER, json.dumps(scripts)], cwd=tmp_path, check=False, capture_output=True,
            text=True, timeout=60, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )  # fmt: skip

    return run


def test_the_rank_that_fails_first_is_named_and_no_other(launch):
    finished = launch("echo waiting; sleep 60", "echo broken; exit 3")
    assert (finished.returncode, finished.stderr) == (3, "error: rank 1 has failed; the end of log1:\nbroken\n")


def test_ranks_that_fail_at_once_are_all_named(launch):
    finished = launch("sleep 1; echo cut off; exit 4", "sleep 1; echo broken; exit 3")
    assert finished.returncode == 4
    assert finished.stderr == (
        "error: rank 0 has failed; the end of log0:\ncut off\nerror: rank 1 has failed; the end of log1:\nbroken\n"
    )


def test_ranks_that_end_well_give_0(launch):
    finished = launch("echo done", "sleep 1")
    assert (finished.returncode, finished.stderr) == (0, "")
