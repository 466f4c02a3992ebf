# SPDX-License-Identifier: Apache-2.0
"""Look after the processes of a training: pass signals on, and when a rank dies, end the others and say why."""

import contextlib
import dataclasses
import pathlib
import signal
import subprocess
import sys
import time

import psutil

from src.stopping import SIGNALS

POLL_SECONDS = 0.2
GRACE_SECONDS = 5  # for the others when one has failed
LAUNCHER_SECONDS = 20  # for a launcher when its ranks have ended; msrun needs up to 6, or waits for ever
SHOWN_LINES = 20
NOISE = ("[WARNING]", "[INFO]")  # how lines begin that MindSpore logs


@dataclasses.dataclass(frozen=True)
class Command:
    """A command line with its environment and the file for its output; rank: None if it is a launcher of ranks."""

    line: list
    environment: dict
    output: pathlib.Path
    rank: int | None = None


class RankProcesses:
    """Commands, each of them a rank or a launcher of ranks, and the log of each rank of this machine."""

    def __init__(self, commands, logs):
        self._commands, self._logs = commands, logs
        self._signals = []
        self._seen = {}  # the rank of each process that ever was one, and how many signals it was told
        self._first_gone = []  # ranks: one, or several if they ended at almost the same time

    def run(self):
        """Start all and wait for the end; return the exit status.

        That is 0, or after a signal 128 and its number, or that of the rank that failed; 1 if a launcher hides it.
        """
        for number in SIGNALS:
            signal.signal(number, lambda number, frame: self._signals.append(number))
        processes = []
        try:
            processes += [_start(command) for command in self._commands]
            first = self._watch(processes)
        finally:
            self._end_all()
        statuses = [process.wait() for process in processes]
        if not any(statuses):
            return 0
        if self._signals:
            print(self._last_words(), file=sys.stderr)
            return 128 + self._signals[0]
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
            if None not in statuses:
                break
            if failed:
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
            elif self._seen and not ranks:
                deadline = min(deadline, time.monotonic() + LAUNCHER_SECONDS)
            for process in ranks:
                self._pass_signals(process)
            time.sleep(POLL_SECONDS)
        return failed

    def _find_ranks(self):
        """Return the processes that are ranks."""
        ranks = {process: rank for process in _descendants() if (rank := _rank_of(process)) is not None}
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

    def _end_all(self):
        processes = {*_descendants(), *self._seen}
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        # Giving its memory back takes a process a while.  Those that we have started are waited for by run().
        psutil.wait_procs(processes - set(psutil.Process().children()), timeout=GRACE_SECONDS)

    def _last_words(self):
        """Return what a rank says of being stopped."""
        lines = [line for log in self._logs.values() for line in _lines_of(log) if line.startswith("stopped by")]
        return lines[-1] if lines else f"stopped by {signal.Signals(self._signals[0]).name}"

    def _show_end(self, rank, command):
        path = self._logs.get(rank, command.output)
        lines = [line for line in _lines_of(path) if line and not line.startswith(NOISE)]
        who = "the launcher" if rank is None else f"rank {rank}" if len(self._logs) > 1 else "the run"
        print(f"error: {who} has failed; the end of {path}:", *lines[-SHOWN_LINES:], sep="\n", file=sys.stderr)


def _start(command):
    command.output.parent.mkdir(parents=True, exist_ok=True)
    with open(command.output, "wb") as output:
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
    if environment.get("MS_ROLE") == "MS_SCHED":
        return None
    return find_rank(environment)


def find_rank(environment):
    """Return which rank a process with this environment is; None if no launcher has said so."""
    rank = environment.get("OMPI_COMM_WORLD_RANK") or environment.get("RANK_ID")
    return None if rank is None else int(rank)
