# SPDX-License-Identifier: Apache-2.0
"""Preprocessing on a cluster: workers and the client that are killed, full disks, machines that share no folder."""

import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from distributed import Client
from src.criteo_like import write_rows
from src.preprocessing.cluster.connection import SETTINGS
from tests.conftest import ROOT
from tests.processes import assert_refused
from tests.raw_data import digests

# A small memory limit makes many small pieces.
FLAGS = ("--threshold=5", "--line_per_sample=100", "--train_line_count=0", "--memory_limit=0.02")
SCRIPT = str(ROOT / "src" / "preprocess_data.py")


def command(work, *flags):
    return [sys.executable, SCRIPT, f"--data_path={work}", *FLAGS, *flags]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return a folder with 60,000 rows and the digests of the result of a single process."""
    work = tmp_path_factory.mktemp("undisturbed")
    write_rows(work / "train.txt", 60_000, seed=3)
    subprocess.run(command(work), check=True, capture_output=True)
    return work, digests(work / "mindrecord")


@pytest.fixture
def work(undisturbed, tmp_path):
    """A folder with the same rows, by a link that keeps their identity."""
    os.link(undisturbed[0] / "train.txt", tmp_path / "train.txt")
    return tmp_path


def workers_of(process):
    """Return the processes of the workers that a client has started."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


@pytest.mark.slow
def test_workers_that_are_killed_change_nothing(undisturbed, work):
    _, expected = undisturbed
    dice, kills = random.Random(7), 0
    process = subprocess.Popen(
        command(work, "--workers=2"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    partial = work / "mindrecord.partial" / "spill"
    while process.poll() is None:
        time.sleep(0.3 + dice.random())
        workers = workers_of(process)
        if kills < 5 and workers and partial.exists():
            dice.choice(workers).kill()
            kills += 1
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert kills >= 3
    assert "is lost; others redo its work" in output
    assert digests(work / "mindrecord") == expected
    assert sorted(path.name for path in work.iterdir()) == ["mindrecord", "train.txt"]


@pytest.mark.slow
def test_a_client_that_is_killed_leaves_no_worker_and_the_next_one_resumes(undisturbed, work):
    _, expected = undisturbed
    outputs = []
    for pattern in ("parsed-*/*/complete", "shards-*/*/*/*.mindrecord*"):
        process = subprocess.Popen(
            command(work, "--workers=2"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        while process.poll() is None and len(list((work / "mindrecord.partial" / "spill").glob(pattern))) < 3:
            time.sleep(0.005)
        workers = workers_of(process)
        process.send_signal(signal.SIGKILL)
        outputs.append(process.communicate()[0])
        assert process.returncode == -signal.SIGKILL
        assert len(workers) == 2
        psutil.wait_procs(workers, timeout=20)
        assert not any(worker.is_running() for worker in workers)
    outputs.append(subprocess.run(command(work, "--workers=2"), capture_output=True, text=True, check=True).stdout)
    assert ["some of it by an earlier run" in output for output in outputs] == [False, True, True]
    assert digests(work / "mindrecord") == expected
    assert sorted(path.name for path in work.iterdir()) == ["mindrecord", "train.txt"]


@pytest.fixture
def dask_processes(tmp_path):
    """Return a function that starts the dask command line, as a user does, from another folder than this repository."""
    processes = []

    def start(*arguments, **variables):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "DASK_CONFIG": str(SETTINGS), **variables}
        with open(tmp_path.with_suffix(".log"), "a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *arguments], cwd="/", env=environment, stdout=log, stderr=log
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        process.wait()


def start_scheduler(start, folder):
    """Start a scheduler; return its address."""
    path = folder.with_suffix(".json")
    start("scheduler", "--host=127.0.0.1", "--port=0", "--no-dashboard", f"--scheduler-file={path}")
    deadline = time.monotonic() + 60
    while not path.exists() or not (found := re.search(r'"address": "(.*?)"', path.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return found[1]


@pytest.mark.slow
def test_a_scheduler_and_workers_of_the_command_line_give_the_same_bytes_when_one_machine_is_lost(
    undisturbed, work, dask_processes
):
    _, expected = undisturbed
    address = start_scheduler(dask_processes, work)
    workers = [dask_processes("worker", address, "--nthreads=1", "--no-dashboard") for _ in range(2)]
    with Client(address) as client:
        client.wait_for_workers(2)
    process = subprocess.Popen(
        command(work, f"--scheduler={address}"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while process.poll() is None and not list((work / "mindrecord.partial" / "spill").glob("parsed-*/*/complete")):
        time.sleep(0.01)
    for child in psutil.Process(workers[0].pid).children(recursive=True):
        child.kill()
    workers[0].kill()
    output, _ = process.communicate()
    assert process.returncode == 0, output
    assert "is lost; others redo its work" in output
    assert digests(work / "mindrecord") == expected


@pytest.mark.slow
def test_workers_that_cannot_do_the_work_are_named(undisturbed, work, dask_processes):
    address = start_scheduler(dask_processes, work)
    finished = subprocess.run(command(work, f"--scheduler={address}"), capture_output=True, text=True, check=False)
    assert_refused(finished, f"--scheduler={address}: it has no workers; start some with `dask worker {address}`")
    without_code = dask_processes("worker", address, "--nthreads=1", "--no-dashboard", PYTHONPATH="")
    finished = subprocess.run(command(work, f"--scheduler={address}"), capture_output=True, text=True, check=False)
    assert_refused(finished, "a worker cannot import", "start workers with this repository in PYTHONPATH")
    without_code.terminate()
    without_code.wait()
    copy = work.with_name(work.name + "-copy")
    copy.mkdir()
    subprocess.run(["cp", "-r", ROOT / "src", copy / "src"], check=True)
    (copy / "src" / "preprocessing" / "extra.py").write_text("# another version\n")
    dask_processes("worker", address, "--nthreads=1", "--no-dashboard", PYTHONPATH=str(copy))
    finished = subprocess.run(command(work, f"--scheduler={address}"), capture_output=True, text=True, check=False)
    assert_refused(finished, "worker tcp://127.0.0.1:", "it has code of this repository", "start it again")


@pytest.mark.slow
def test_a_worker_with_a_full_disk_is_named_and_the_next_run_resumes(undisturbed, work):
    _, expected = undisturbed
    out = work.with_name(work.name + "-out")
    out.mkdir()
    script = f"""
        set -e
        mount -t tmpfs -o size=12m tmpfs {out}
        if "$@" 2> {out}.err; then exit 9; fi
        mount -o remount,size=1g {out}
        "$@" > /dev/null
        cd {out}/mindrecord
        sha256sum *
    """
    arguments = command(work, "--workers=2", f"--output_dir={out}/mindrecord")
    finished = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", script, "bash", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    (line,) = pathlib.Path(f"{out}.err").read_text().splitlines()
    assert re.match(r"error: worker tcp://127\.0\.0\.1:\d+ on \S+: .*No space left on device", line)
    assert "run the same command again to resume" in line
    found = dict(reversed(line.split()) for line in finished.stdout.splitlines() if len(line.split()) == 2)
    assert found == expected
