# SPDX-License-Identifier: Apache-2.0
import signal
import subprocess
import sys

import pytest

from src.stopping import SIGNALS
from tests.conftest import ROOT

# Signals itself with `number`, waits until that is noted, and goes on to what is asked of it.
PROGRAM = """
import os, signal, time
from src.errors import exit_on_user_error
from src.stopping import Stopped, StopSignals, hold_signals

def main():
    signals = StopSignals()
    signals.check()
    {first}
    os.kill(os.getpid(), {number})
    while True:
        try:
            signals.check()
        except Stopped:
            break
    {then}
    time.sleep(60)

hold_signals()
exit_on_user_error(main)
"""


def run(number, then, first="signals.begin()"):
    code = PROGRAM.format(number=int(number), then=then, first=first)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_raised_at_the_next_check(number):
    finished = run(number, "signals.check()")
    assert (finished.returncode, finished.stderr) == (128 + number, f"stopped by {number.name}\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_before_there_is_something_to_save_the_first_signal_ends_the_process(number):
    finished = run(number, "print('not reached')", first="")
    assert (finished.returncode, finished.stderr) == (128 + number, f"stopped by {number.name}\n")
    assert finished.stdout == ""


def test_a_second_signal_ends_the_process():
    finished = run(signal.SIGTERM, "os.kill(os.getpid(), signal.SIGINT)")
    assert (finished.returncode, finished.stderr) == (130, "")
