# SPDX-License-Identifier: Apache-2.0
"""Supervise the ranks of a run: forward signals, and when one dies, end the others and show why."""

import contextlib
import pathlib
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import psutil

from src.common.signals import Stopped, on_signal, signals_for_children
from src.distributed.environment import find_rank, is_scheduler
from src.distributed.scheduler import ANNOUNCEMENT

POLL_SECONDS = 0.2
GRACE_SECONDS = 5  # for the other ranks when one has failed
LAUNCHER_SECONDS = 20  # for a launcher when its ranks have ended; msrun needs up to 6, or waits for ever
SHOWN_LINES = 20
STOPPED = re.compile(r"stopped by (SIG[A-Z]+)")  # the last line of a process that a signal has ended
NOISE = ("[WARNING]", "[INFO]", ANNOUNCEMENT)  # beginnings of lines from MindSpore, or that were shown already


@dataclass(frozen=True)
class Command:
    """A command line with its environment and the file for its output.

    rank: None if it is a launcher of ranks.  scheduler_log: the log of msrun's scheduler, if that is on this node.
    """

    arguments: list[str]
    environment: dict[str, str]
    output: pathlib.Path
    rank: int | None = None
    scheduler_log: pathlib.Path | None = None


@dataclass
class _Rank:
    """A process that is, or was, a rank: its number, and how many signals were forwarded to it."""

    rank: int
    signal_count: int = 0


class Supervisor:
    """Runs a command, which is a rank or a launcher of ranks, until it and its ranks have ended or one has failed.

    logs: the log of each rank on this node.
    """

    def __init__(self, command: Command, logs: dict[int, pathlib.Path]):
        self._command, self._logs = command, logs
        self._signals: list[int] = []
        self._relayed_bytes: dict[pathlib.Path, int] = {}  # of each log from which announcements are relayed
        self._ranks: dict[psutil.Process, _Rank] = {}  # all that ever were
        self._first_ended: list[int] = []  # ranks: one, or several if they ended at almost the same time

    def run(self) -> int:
        """Start the command and wait until it ends; return the exit status.

        The status is 0; after a signal 128 + its number; after a failure that of the rank, or 1 if a launcher hides it.
        """
        on_signal(self._signals.append)
        process = _start(self._command)
        try:
            self._watch(process)
        finally:
            self._end_all(process)
        status = process.wait()
        if not status:
            return 0
        stopped = self._last_words()
        number = self._signals[0] if self._signals else signal.Signals[stopped[1]] if stopped else 0
        if number:
            print(stopped.string if stopped else Stopped(number), file=sys.stderr)
            return 128 + number
        self._show_failure()
        return status if 0 < status < 128 and self._command.rank is not None else 1

    def _watch(self, process):
        """Wait until the process has ended, or is to be ended."""
        deadline = float("inf")
        while time.monotonic() < deadline:
            running = self._find_ranks()
            if process.poll() is not None or (not running and (self._signals or self._was_stopped())):
                break
            if self._was_stopped():
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
            elif self._ranks and not running:
                deadline = min(deadline, time.monotonic() + LAUNCHER_SECONDS)
            for each in running:
                self._forward_signals(each)
            self._relay_announcements()
            time.sleep(POLL_SECONDS)

    def _find_ranks(self):
        """Return the running processes that are ranks; a rank that has a guard counts once, as the guard."""
        ranks = {process: rank for process in _descendants() if (rank := _rank_of(process)) is not None}
        guarded = [process for process in ranks if _parent_of(process) in ranks]
        ranks = {process: rank for process, rank in ranks.items() if process not in guarded}
        self._ranks.update({process: _Rank(rank) for process, rank in ranks.items() if process not in self._ranks})
        if not self._first_ended:
            self._first_ended = [each.rank for process, each in self._ranks.items() if process not in ranks]
        return list(ranks)

    def _forward_signals(self, process):
        rank = self._ranks[process]
        for number in self._signals[rank.signal_count :]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        rank.signal_count = len(self._signals)

    def _end_all(self, started):
        started.send_signal(signal.SIGSTOP)  # so that a launcher starts no more while all are ended
        processes = {*_descendants(), *self._ranks}
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        # A process needs a while to give its memory back.  run() waits for those that it has started itself.
        psutil.wait_procs(processes - set(psutil.Process().children()), timeout=GRACE_SECONDS)

    def _was_stopped(self):
        """Tell whether a signal to one of the ranks, and not to this process, has ended it."""
        return bool(self._first_ended) and self._last_words() is not None

    def _last_words(self) -> re.Match[str] | None:
        """Return the match of the line in which a rank, or else the scheduler, reports the signal that ended it."""
        for log in (*self._logs.values(), self._command.scheduler_log):
            found = [match for line in _lines_of(log) if (match := STOPPED.match(line))]
            if found:
                return found[-1]
        return None

    def _relay_announcements(self):
        """Print which processes are waited for: from the scheduler's log if it is on this node, as it knows best."""
        log = self._command.scheduler_log
        if log is None or not log.exists():
            log = next(iter(self._logs.values()))
        if not log.exists():
            return
        start = self._relayed_bytes.get(log, 0)
        with open(log, "rb") as file:
            file.seek(start)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._relayed_bytes[log] = start + len(complete)
        for line in complete.decode(errors="replace").splitlines():
            if line.startswith(ANNOUNCEMENT):
                print(line, flush=True)

    def _show_failure(self):
        """Print the last lines of the ranks that ended first, or of the launcher if it has started none."""
        ranks = [*self._first_ended] if self._command.rank is None else [self._command.rank]
        for rank in ranks or [None]:
            path = self._command.output if rank is None else self._logs.get(rank, self._command.output)
            lines = [line for line in _lines_of(path) if line and not line.startswith(NOISE)]
            name = "the launcher" if rank is None else f"rank {rank}" if len(self._logs) > 1 else "the run"
            print(f"error: {name} has failed; the end of {path}:", *lines[-SHOWN_LINES:], sep="\n", file=sys.stderr)


def _start(command: Command) -> subprocess.Popen:
    command.output.parent.mkdir(parents=True, exist_ok=True)
    with open(command.output, "wb") as output, signals_for_children():
        return subprocess.Popen(
            command.arguments, env=command.environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def _lines_of(log: pathlib.Path | None) -> list[str]:
    return log.read_text(errors="replace").splitlines() if log is not None and log.exists() else []


def _descendants() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def _rank_of(process: psutil.Process) -> int | None:
    """Return the rank of a process; None if it is no rank, or has ended."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        environment = process.environ()
    except psutil.Error:
        return None
    return None if is_scheduler(environment) else find_rank(environment)


def _parent_of(process: psutil.Process) -> psutil.Process | None:
    with contextlib.suppress(psutil.Error):
        return process.parent()
    return None
