# SPDX-License-Identifier: Apache-2.0
import os
import signal
import subprocess
import sys

import pytest

from src.stopping import SIGNALS, Stopped, StopSignals
from tests.conftest import ROOT


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_raised_at_the_next_check(number):
    with StopSignals() as signals:
        signals.check()
        os.kill(os.getpid(), number)
        with pytest.raises(Stopped, match=f"^stopped by {number.name}$") as caught:
            signals.check()
    assert caught.value.signal_number == number


def test_the_earlier_handlers_come_back():
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopSignals():
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_second_signal_ends_the_process():
    code = (
        "import os, signal; from src.stopping import StopSignals\n"
        "with StopSignals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('once', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM); print('twice', flush=True)\n"
    )
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stdout) == (-signal.SIGTERM, "once\n")
