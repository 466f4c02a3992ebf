# SPDX-License-Identifier: Apache-2.0
"""Look after the processes of a training: pass signals on, and when a rank dies, end the others and say why."""

import contextlib
import dataclasses
import pathlib
import re
import signal
import subprocess
import sys
import time

import psutil

from src.common.signals import Stopped, on_signal, signals_for_children
from src.distributed.environment import find_rank, is_scheduler
from src.distributed.scheduler import ANNOUNCEMENT

POLL_SECONDS = 0.2
GRACE_SECONDS = 5  # for the others when one has failed
LAUNCHER_SECONDS = 20  # for a launcher when its ranks have ended; msrun needs up to 6, or waits for ever
SHOWN_LINES = 20
STOPPED = re.compile(r"stopped by (SIG[A-Z]+)")  # what a process says that a signal has ended
NOISE = ("[WARNING]", "[INFO]", ANNOUNCEMENT)  # how lines begin that MindSpore logs, or that have been shown already


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line with its environment and the file for its output; rank: None if it is a launcher of ranks."""

    line: list
    environment: dict
    output: pathlib.Path
    rank: int | None = None


class RankProcesses:
    """Commands, each of them a rank or a launcher of ranks, and the log of each rank of this machine.

    scheduler_log: that of the scheduler of msrun, if it is on this machine.
    """

    def __init__(self, commands, logs, scheduler_log=pathlib.Path("none")):
        self._commands, self._logs, self._scheduler_log = commands, logs, scheduler_log
        self._signals = []
        self._told = {}  # of each log in which ranks may say what they wait for, how much has been read
        self._seen = {}  # the rank of each process that ever was one, and how many signals it was told
        self._first_gone = []  # ranks: one, or several if they ended at almost the same time

    def run(self):
        """Start all and wait for the end; return the exit status.

        That is 0, or after a signal 128 and its number, or that of the rank that failed; 1 if a launcher hides it.
        """
        on_signal(self._signals.append)
        processes = []
        try:
            processes += [_start(command) for command in self._commands]
            first = self._watch(processes)
        finally:
            self._end_all(processes)
        statuses = [process.wait() for process in processes]
        if not any(statuses):
            return 0
        stopped = self._last_words()
        if self._signals or stopped:
            number = self._signals[0] if self._signals else signal.Signals[STOPPED.match(stopped)[1]]
            print(stopped or Stopped(number), file=sys.stderr)
            return 128 + number
        first = first or [place for place, status in enumerate(statuses) if status][:1]
        for command in (self._commands[place] for place in first):
            for rank in (self._first_gone or [None]) if command.rank is None else [command.rank]:
                self._show_end(rank, command)
        status, is_rank = statuses[first[0]], self._commands[first[0]].rank is not None
        return status if 0 < status < 128 and is_rank else 1

    def _watch(self, processes):
        """Wait until all have ended or are to be ended; return the places of those that failed first, by themselves."""
        failed, deadline = [], float("inf")
        while time.monotonic() < deadline:
            ranks = self._find_ranks()
            statuses = [process.poll() for process in processes]
            failed = failed or [place for place, status in enumerate(statuses) if status]
            if None not in statuses or (not ranks and (self._signals or self._was_stopped())):
                break
            if failed or self._was_stopped():
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
            elif self._seen and not ranks:
                deadline = min(deadline, time.monotonic() + LAUNCHER_SECONDS)
            for process in ranks:
                self._pass_signals(process)
            self._relay_announcements()
            time.sleep(POLL_SECONDS)
        return failed

    def _find_ranks(self):
        """Return the processes that are ranks."""
        ranks = {process: rank for process in _descendants() if (rank := _rank_of(process)) is not None}
        guarded = [process for process in ranks if _parent_of(process) in ranks]
        ranks = {process: rank for process, rank in ranks.items() if process not in guarded}
        self._seen.update({process: [rank, 0] for process, rank in ranks.items() if process not in self._seen})
        if not self._first_gone:
            self._first_gone = [rank for process, (rank, _) in self._seen.items() if process not in ranks]
        return ranks

    def _pass_signals(self, process):
        _, told = self._seen[process]
        for number in self._signals[told:]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        self._seen[process][1] = len(self._signals)

    def _end_all(self, started):
        for process in started:
            process.send_signal(signal.SIGSTOP)  # so that a launcher starts no more while all are ended
        processes = {*_descendants(), *self._seen}
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        # Giving its memory back takes a process a while.  Those that we have started are waited for by run().
        psutil.wait_procs(processes - set(psutil.Process().children()), timeout=GRACE_SECONDS)

    def _was_stopped(self):
        """Tell whether a signal to one of the processes, and not to this one, has ended it."""
        return bool(self._first_gone) and self._last_words() is not None

    def _last_words(self):
        """Return what a rank, or else the scheduler, says of being stopped; None if nothing."""
        for log in (*self._logs.values(), self._scheduler_log):
            lines = [line for line in _lines_of(log) if STOPPED.match(line)]
            if lines:
                return lines[-1]
        return None

    def _relay_announcements(self):
        """Say what the processes wait for: the scheduler knows best, if it is here."""
        log = self._scheduler_log if self._scheduler_log.exists() else next(iter(self._logs.values()))
        if not log.exists():
            return
        with open(log, "rb") as file:
            file.seek(self._told.get(log, 0))
            text = file.read()
        self._told[log] = self._told.get(log, 0) + text.rfind(b"\n") + 1
        for line in text[: text.rfind(b"\n") + 1].decode(errors="replace").splitlines():
            if line.startswith(ANNOUNCEMENT):
                print(line, flush=True)

    def _show_end(self, rank, command):
        path = self._logs.get(rank, command.output)
        lines = [line for line in _lines_of(path) if line and not line.startswith(NOISE)]
        who = "the launcher" if rank is None else f"rank {rank}" if len(self._logs) > 1 else "the run"
        print(f"error: {who} has failed; the end of {path}:", *lines[-SHOWN_LINES:], sep="\n", file=sys.stderr)


def _start(command):
    command.output.parent.mkdir(parents=True, exist_ok=True)
    with open(command.output, "wb") as output, signals_for_children():
        return subprocess.Popen(
            command.line, env=command.environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )


def _lines_of(log):
    return log.read_text(errors="replace").splitlines() if log.exists() else []


def _descendants():
    return psutil.Process().children(recursive=True)


def _rank_of(process):
    """Return which rank a process is; None if it is none, or has ended."""
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        environment = process.environ()
    except psutil.Error:
        return None
    return None if is_scheduler(environment) else find_rank(environment)


def _parent_of(process):
    with contextlib.suppress(psutil.Error):
        return process.parent()
    return None
