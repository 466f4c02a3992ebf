# SPDX-License-Identifier: Apache-2.0
"""Processes that wait for others in vain: their announcements, and how they end."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from src.distributed.launch import find_free_port
from tests.conftest import ROOT
from tests.processes import restore_signals, start_script

FLAGS = ("--device_target=CPU", "--batch_size=200", "--embedding_size=4", "--hidden_sizes=8", "--report_path=none")
SECONDS_TO_END = 10  # it takes less than two on an idle machine


def start_rank(data, cwd, role, port, **variables):
    """Start one of two processes without launcher; return the process."""
    cluster = {"MS_ROLE": role, "MS_SCHED_HOST": "127.0.0.1", "MS_SCHED_PORT": str(port), "MS_WORKER_NUM": "2"}
    return subprocess.Popen(
        [sys.executable, "-u", str(ROOT / "train.py"), f"--dataset_path={data}", *FLAGS], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=restore_signals,  # noqa: PLW1509
        env={**os.environ, **cluster, **variables},
    )  # fmt: skip


def read_until(process, pattern):
    """Wait until a line of a process's stdout matches; return the match."""
    timer = threading.Timer(100, process.kill)
    timer.start()
    for line in process.stdout:
        if found := re.search(pattern, line):
            timer.cancel()
            return found
    raise AssertionError(f"no line like {pattern}")


def end(process, number):
    """Send a signal to a process; return its status and stderr after it and all its children have ended."""
    processes = psutil.Process(process.pid).children(recursive=True)
    sent = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - sent < SECONDS_TO_END
    _, left = psutil.wait_procs(processes, timeout=5)
    assert not left
    return process.returncode, errors


@pytest.mark.slow
def test_waiting_processes_announce_it_and_a_signal_ends_them_in_one_line(data, tmp_path):
    port = find_free_port()
    scheduler = start_rank(data, tmp_path, "MS_SCHED", port)
    worker = start_rank(data, tmp_path, "MS_WORKER", port, MS_NODE_ID="0")
    assert read_until(scheduler, rf"waiting for 1 of 2 processes at 127\.0\.0\.1:{port}; .*MS_TOPO_TIMEOUT")
    assert read_until(worker, rf"waiting for the others of 2 processes at 127\.0\.0\.1:{port}")
    assert end(worker, signal.SIGINT) == (130, "stopped by SIGINT\n")
    assert end(scheduler, signal.SIGTERM) == (143, "stopped by SIGTERM\n")


@pytest.mark.slow
def test_a_worker_ends_at_once_when_its_scheduler_dies(data, tmp_path):
    port = find_free_port()
    scheduler = start_rank(data, tmp_path, "MS_SCHED", port)
    worker = start_rank(data, tmp_path, "MS_WORKER", port, MS_NODE_ID="0")
    read_until(worker, "waiting for the others of 2 processes")
    scheduler.kill()
    _, errors = worker.communicate(timeout=60)
    assert worker.returncode == 2
    assert errors.startswith(f"error: the scheduler at 127.0.0.1:{port} has ended before all processes had come")
    assert errors.count("\n") == 1
    scheduler.communicate()


@pytest.mark.slow
def test_a_script_that_waits_for_another_node_announces_it_and_a_signal_ends_it_in_one_line(data, tmp_path):
    cluster = {"NODE_NUM": "2", "NODE_RANK": "0", "MASTER_PORT": str(find_free_port()), "DEVICE_TARGET": "CPU"}
    process = start_script("run_distribute_train.sh", 1, data, *FLAGS, cwd=tmp_path, **cluster)
    assert read_until(process, rf"waiting for 1 of 2 processes at 127\.0\.0\.1:{cluster['MASTER_PORT']}")
    assert end(process, signal.SIGTERM) == (143, "stopped by SIGTERM\n")


@pytest.mark.slow
def test_a_signal_to_one_waiting_rank_ends_the_run(data, tmp_path):
    cluster = {"NODE_NUM": "2", "NODE_RANK": "0", "MASTER_PORT": str(find_free_port()), "DEVICE_TARGET": "CPU"}
    process = start_script("run_distribute_train.sh", 1, data, *FLAGS, cwd=tmp_path, **cluster)
    read_until(process, "waiting for 1 of 2 processes")
    processes = psutil.Process(process.pid).children(recursive=True)
    next(each for each in processes if each.environ().get("MS_ROLE") == "MS_WORKER").send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (143, "stopped by SIGTERM\n")
    _, left = psutil.wait_procs(processes, timeout=5)
    assert not left


@pytest.mark.slow
def test_a_left_over_role_is_refused_in_one_line(data, tmp_path):
    port = find_free_port()
    process = start_rank(data, tmp_path, "MS_WORKER", port)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 2
    assert errors.startswith(f"error: MS_ROLE=MS_WORKER MS_SCHED_HOST=127.0.0.1 MS_SCHED_PORT={port}: ")
    assert errors.count("\n") == 1
    assert "unset MS_ROLE" in errors


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"MASTER_PORT": "0"}, "MASTER_PORT=0: must be a whole number from 1 to 65535"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT=70000: must be a whole number from 1 to 65535"),
        ({"MASTER_ADDR": "192.0.2.1"}, "MASTER_ADDR=192.0.2.1: is no address of this host"),
        ({"MASTER_ADDR": "no-such-host.invalid"}, "MASTER_ADDR=no-such-host.invalid: no such host"),
        ({"MS_TOPO_TIMEOUT": "soon"}, "MS_TOPO_TIMEOUT=soon: must be a whole number of seconds"),
    ],
)
def test_an_invalid_scheduler_is_refused_before_the_start(tmp_path, variables, message):
    process = start_script("run_distribute_train.sh", 2, tmp_path, cwd=tmp_path, **variables)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith(f"error: {message}")
    assert errors.count("\n") == 1


def test_a_port_in_use_is_refused_before_the_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        process = start_script("run_distribute_train.sh", 2, tmp_path, cwd=tmp_path, MASTER_PORT=str(port))
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == (
        f"error: MASTER_PORT={port}: another process listens at 127.0.0.1:{port}; end it, or choose another port\n"
    )
