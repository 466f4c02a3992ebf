# SPDX-License-Identifier: Apache-2.0
"""Processes as a user starts them, and the checks of their ends."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from src.distributed.launch import find_free_port
from tests.conftest import ROOT


def start_script(script, *arguments, cwd, **variables):
    """Start a script of scripts/ in the foreground, with variables in its environment; return the process."""
    environment = {**os.environ, "WAIT": "1", **variables}
    environment["PATH"] = os.pathsep.join(
        [variables.get("PATH", ""), str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]
    )
    return subprocess.Popen(
        ["bash", ROOT / "scripts" / script, *map(str, arguments)], cwd=cwd, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def results_of_two_ranks(program):
    """Run a program as two ranks and their scheduler; return what each rank printed as JSON behind the word results."""
    port = str(find_free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "MS_ROLE": role, "MS_NODE_ID": node, "MS_WORKER_NUM": "2", "MS_SCHED_HOST": "127.0.0.1",
                 "MS_SCHED_PORT": port},
        )
        for role, node in (("MS_SCHED", ""), ("MS_WORKER", "0"), ("MS_WORKER", "1"))
    ]  # fmt: skip
    with ThreadPoolExecutor(len(processes)) as pool:  # at once: a full pipe would stop a rank, and so the others
        outputs = list(pool.map(lambda process: process.communicate(timeout=200), processes))
    statuses = [process.returncode for process in processes[1:]]
    assert statuses == [0, 0], (statuses, outputs)
    return [json.loads(output.partition("results")[2]) for output, _ in outputs[1:]]


def read_terminal(controller):
    """Return all that was written to a pseudo-terminal that no process has open any more, and close it.

    One read may return a part of it only.
    """
    shown = b""
    with contextlib.suppress(OSError):  # EIO: there is no more
        while part := os.read(controller, 1 << 16):
            shown += part
    os.close(controller)
    return shown.decode()


def restore_signals():
    """Undo what the processes of a test suite in the background inherit: ignored signals."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def assert_refused(finished, *parts):
    """Check that a process ended with status 2 and one line on stderr, an error that holds all `parts`."""
    assert finished.returncode == 2, finished.stderr
    lines = finished.stderr.splitlines()
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: ")
    for part in parts:
        assert part in lines[0]
