# SPDX-License-Identifier: Apache-2.0
"""Real processes on the CPU that are started one by one with a rank table, as ModelArts does it."""

import os
import re
import signal
import subprocess
import sys

import psutil
import pytest

from src.distributed.launch import find_free_port
from tests.conftest import ROOT
from tests.processes import assert_refused, restore_signals, start_script
from tests.rank_tables import write_rank_table
from tests.system.test_waiting import end, read_until

FLAGS = ("--batch_size=200", "--embedding_size=4", "--hidden_sizes=8", "--log_every=1", "--report_path=none",
         "--loss_file_name=log0/loss.log", "--eval_file_name=log0/auc.log")  # fmt: skip
# Writes the variables of launchers to a file, as MindSpore sees them: by the C library.
RECORDER = """
import ctypes, json, pathlib
from src.callback import Callback
NAMES = ("RANK_TABLE_FILE", "ASCEND_DEVICE_ID", "MS_NODE_ID", "RANK_ID", "RANK_SIZE", "DEVICE_ID")
class Recorder(Callback):
    def __enter__(self):
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_char_p
        seen = {name: getenv(name.encode()).decode() for name in NAMES if getenv(name.encode())}
        pathlib.Path("rank" + seen["RANK_ID"]).write_text(json.dumps(seen))
        return self
"""


@pytest.fixture
def start(data, tmp_path):
    """Return a function that starts a rank of two, of a table whose device ids are 4 and 5; it returns the process.

    In ModelArts, ASCEND_DEVICE_ID counts the devices of the container.
    """
    port = str(find_free_port())
    started = []

    def start_rank(rank, *flags, **variables):
        platform = {"RANK_SIZE": "2", "RANK_ID": str(rank), "ASCEND_DEVICE_ID": str(rank), "MASTER_PORT": port}
        table = variables.pop("RANK_TABLE_FILE", None) or write_rank_table(tmp_path / "table.json", [[4, 5]])
        command = [sys.executable, "-u", ROOT / "train.py", f"--dataset_path={data}", "--device_target=CPU"]
        process = subprocess.Popen(
            [*command, *FLAGS, *flags], cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=restore_signals,  # noqa: PLW1509
            env={**os.environ, **platform, "RANK_TABLE_FILE": str(table), **variables},
        )  # fmt: skip
        started.append(process)
        return process

    yield start_rank
    for process in started:
        process.kill()
        process.communicate()


def finish(process):
    """Return the exit status and stderr of a process, without the warnings of MindSpore."""
    _, errors = process.communicate(timeout=200)
    return process.returncode, [line for line in errors.splitlines() if not line.startswith("[")]


def results_in(folder):
    """Return the checkpoints by their names, and the lines of the loss log without their times."""
    checkpoints = {path.name: path.read_bytes() for path in (folder / "checkpoint").glob("*.ckpt")}
    lines = (folder / "log0" / "loss.log").read_text().splitlines()
    return {**checkpoints, "losses": [line.split(" ", 2)[2] for line in lines]}


def children_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def assert_ended(processes):
    _, left = psutil.wait_procs(processes, timeout=10)
    assert not left


@pytest.mark.slow
def test_two_processes_with_a_rank_table_give_the_results_of_the_script_with_it(start, data, tmp_path):
    (tmp_path / "recorder.py").write_text(RECORDER)
    flags = ("--train_epochs=2", "--callback=recorder:Recorder")
    second = start(1, *flags)
    read_until(second, "waiting for the scheduler at 127.0.0.1")
    first = start(0, *flags)
    assert (finish(first), finish(second)) == ((0, []), (0, []))
    assert [(tmp_path / f"rank{rank}").read_text() for rank in range(2)] == [
        f'{{"MS_NODE_ID": "{rank}", "RANK_ID": "{rank}", "RANK_SIZE": "2", "DEVICE_ID": "{rank}"}}' for rank in range(2)
    ]
    by_script = tmp_path / "by_script"
    by_script.mkdir()
    (by_script / "recorder.py").write_text(RECORDER)
    arguments = (2, data, tmp_path / "table.json", *FLAGS, *flags)
    process = start_script("run_distribute_train.sh", *arguments, cwd=by_script, DEVICE_TARGET="CPU")
    assert finish(process) == (0, [])
    for name in ("rank0", "rank1"):
        assert (by_script / name).read_text() == (tmp_path / name).read_text()
    results = [results_in(folder) for folder in (tmp_path, by_script)]
    assert len(results[0]) == 3  # two checkpoints, and the losses
    assert results[0] == results[1]


@pytest.mark.slow
def test_a_signal_ends_a_waiting_rank_0_and_its_scheduler_in_one_line(start):
    first = start(0)
    assert read_until(first, r"waiting for \d of 2 processes at 127\.0\.0\.1")
    processes = children_of(first)
    assert len(processes) == 3  # the rank, the scheduler and its guard
    assert end(first, signal.SIGTERM) == (143, "stopped by SIGTERM\n")
    assert_ended(processes)


@pytest.mark.slow
def test_when_rank_0_is_killed_another_one_that_waits_ends_in_one_line(start, tmp_path):
    variables = {"RANK_SIZE": "3", "RANK_TABLE_FILE": write_rank_table(tmp_path / "three.json", [[4, 5, 6]])}
    first, second = start(0, **variables), start(1, **variables)
    read_until(second, "waiting for the others of 3 processes")
    processes = children_of(first)
    first.kill()
    assert_ended(processes)
    status, [error] = finish(second)
    assert status == 2
    assert re.match(r"error: the scheduler at 127\.0\.0\.1:\d+ has ended before all processes had come", error)


@pytest.mark.parametrize(
    ("rank", "variables", "message"),
    [
        (
            1,
            {"RANK_SIZE": "3"},
            "the nodes have 2 devices, RANK_SIZE says 3; correct one of them; or start the processes with msrun",
        ),
        (1, {"ASCEND_DEVICE_ID": "7"}, "has device_id 5 for rank 1, which is number 1 of its node"),
        (1, {"RANK_TABLE_FILE": "/none.json"}, "RANK_TABLE_FILE /none.json: No such file"),
        (2, {}, "RANK_ID=2: must be a whole number from 0 to 1"),
        (
            1,
            {"RANK_SIZE": ""},
            "RANK_SIZE is not: unset RANK_TABLE_FILE to run alone, or start the processes with msrun",
        ),
        (0, {"MASTER_ADDR": "192.0.2.1"}, "MASTER_ADDR=192.0.2.1: is no address of this host"),
    ],
)
def test_a_table_that_contradicts_the_variables_is_refused(start, rank, variables, message):
    process = start(rank, **variables)
    _, errors = process.communicate(timeout=60)
    assert_refused(subprocess.CompletedProcess([], process.returncode, "", errors), message)


@pytest.mark.parametrize(
    ("rank", "nodes", "hosts", "message"),
    [
        (0, [[4], [5]], [], "server_list[0] server_id=203.0.113.1: is no address of this host"),
        (1, [[4], [5]], ["none.invalid", "127.0.0.1"], "server_list[0] server_id=none.invalid: no such host"),
        (0, [[5, 1]], [], "server_list[0] has the device_ids 5, 1 in the order of the ranks"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_other_way_to_start(
    start, tmp_path, rank, nodes, hosts, message
):
    table = write_rank_table(tmp_path / "other.json", nodes, hosts)
    process = start(rank, RANK_TABLE_FILE=table, ASCEND_DEVICE_ID="0")
    _, errors = process.communicate(timeout=60)
    assert_refused(
        subprocess.CompletedProcess([], process.returncode, "", errors), message, "in ModelArts by MA_RUN_METHOD=msrun"
    )


@pytest.mark.slow
def test_processes_of_a_second_job_on_the_same_port_are_refused(start):
    first, second = start(0, "--train_epochs=100"), start(1, "--train_epochs=100")
    read_until(second, "rank 1 of 2")
    status, [error] = finish(start(0))
    assert (status, "another process listens at 127.0.0.1" in error) == (2, True)
    status, [error] = finish(start(1))
    assert (status, "Repeated registration node: 1" in error) == (2, True)
    first.send_signal(signal.SIGTERM)
    for process in (first, second):  # both were not disturbed: they stop together, with a checkpoint
        status, lines = finish(process)
        assert (status, lines[0].startswith("stopped by SIGTERM; ")) == (143, True)
