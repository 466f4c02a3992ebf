# SPDX-License-Identifier: Apache-2.0
import os
import pty
import signal
import subprocess
import sys

import pytest

from src.common.signals import SIGNALS
from tests.conftest import ROOT
from tests.processes import restore_signals

START = """
import os, pathlib, signal, subprocess, sys, time
from src.common.errors import run_main
from src.common.signals import *

"""
# Sends itself the signal `number`, waits until it is recorded, and continues with `then`.
PROGRAM = (
    START
    + """
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

handle_signals({hint})
run_main(main)
"""
)


def run_code(code, preexec_fn=restore_signals, **options):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
        preexec_fn=preexec_fn, **options,
    )  # fmt: skip


def run(number, then, first="signals.begin()", hint=""):
    return run_code(PROGRAM.format(number=int(number), then=then, first=first, hint=hint))


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_recorded_and_raised_at_the_next_check(number):
    finished = run(number, "signals.check()")
    assert (finished.returncode, finished.stderr) == (128 + number, f"stopped by {number.name}\n")


@pytest.mark.parametrize("number", SIGNALS)
def test_before_there_is_something_to_save_the_first_signal_ends_the_process(number):
    finished = run(number, "print('not reached')", first="", hint="'the hint'")
    assert (finished.returncode, finished.stderr) == (128 + number, f"stopped by {number.name}; the hint\n")
    assert finished.stdout == ""


def test_a_second_signal_ends_the_process():
    finished = run(signal.SIGTERM, "os.kill(os.getpid(), signal.SIGINT)")
    assert (finished.returncode, finished.stderr) == (130, "")


def test_a_recorded_signal_is_raised_when_all_is_saved_and_a_later_one_ends_the_process():
    assert run(signal.SIGTERM, "signals.end()").returncode == 143
    code = START + "handle_signals()\ns = StopSignals(); s.begin(); s.end()\nos.kill(os.getpid(), 15); time.sleep(60)"
    finished = run_code(code)
    assert (finished.returncode, finished.stderr) == (143, "stopped by SIGTERM\n")


def test_a_signal_that_is_ignored_from_the_start_stays_ignored():
    def ignore_interrupts():
        restore_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    code = START + "handle_signals()\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.5)\n"
    code += (
        "with signals_for_children(): os.system('kill -INT $$')\nos.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)"
    )
    finished = run_code(code, ignore_interrupts)
    assert (finished.returncode, finished.stderr) == (143, "stopped by SIGTERM\n")


def test_the_cleanups_of_the_running_blocks_are_called_even_if_one_of_them_fails(tmp_path):
    code = START + "handle_signals()\nhere = pathlib.Path(sys.argv[1])\n"
    code += "with cleaned_up((here / 'left').touch): pass\n"
    code += "with cleaned_up((here / 'first').touch), cleaned_up(lambda: 1 / 0):\n"
    code += "    os.kill(os.getpid(), 15); time.sleep(60)"
    finished = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert (finished.returncode, finished.stderr) == (143, "stopped by SIGTERM\n")
    assert [path.name for path in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize(("found", "line"), [("'how to resume'", "; how to resume"), ("None", "")])
def test_a_cleanup_may_say_how_to_resume(found, line):
    code = START + f"handle_signals()\nwith cleaned_up(lambda: {found}), cleaned_up(lambda: None):\n"
    code += "    os.kill(os.getpid(), 15); time.sleep(60)"
    assert run_code(code).stderr == f"stopped by SIGTERM{line}\n"


def test_a_second_signal_does_not_wait_for_cleanups():
    code = START + "handle_signals()\nwith cleaned_up(lambda: time.sleep(60)):\n"
    code += "    os.kill(os.getpid(), 15); time.sleep(0.5); os.kill(os.getpid(), 2); time.sleep(60)"
    assert run_code(code).returncode == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_child_processes_receive_signals_as_if_started_from_a_shell(number):
    code = START + "handle_signals()\nwith signals_for_children(): child = subprocess.Popen(['sleep', '60'])\n"
    code += f"child.send_signal({int(number)})\nprint(child.wait(10), flush=True)\n"
    assert run_code(code).stdout == f"-{int(number)}\n"


def test_a_closed_terminal_lets_the_process_save_and_end(tmp_path):
    code = START + "handle_signals()\ns = StopSignals(); s.begin(); print('ready', flush=True)\n"
    code += "while not s.number: time.sleep(0.01)\n"
    code += "print('saving', flush=True); pathlib.Path(sys.argv[1]).write_text('saved')\nsys.exit(128 + s.number)"
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        restore_signals()
        os.execv(sys.executable, [sys.executable, "-c", code, str(tmp_path / "file")])
    output = b""
    while not output.endswith(b"ready\r\n"):  # the complete line, or closing the terminal would make print() fail
        output += os.read(terminal, 100)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 129
    assert (tmp_path / "file").read_text() == "saved"
