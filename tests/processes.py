# SPDX-License-Identifier: Apache-2.0
"""Processes as a user starts them, and the checks of their ends."""

import os
import pathlib
import signal
import subprocess
import sys

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
