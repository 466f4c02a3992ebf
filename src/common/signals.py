# SPDX-License-Identifier: Apache-2.0
"""What SIGTERM, SIGINT and SIGHUP do: a process ends in one line, or saves its work first.

An entry point calls handle_signals() before it imports anything heavy.  From then on these signals are blocked in every
thread, and one thread waits for them.  Ordinary handlers would run late or never: the main thread executes no Python
while it is inside MindSpore or polars, and MindSpore installs handlers of its own while it runs a graph.
"""

import contextlib
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(Exception):
    """A signal has asked the process to stop.  resume_hint: how the user resumes the work, for the message."""

    def __init__(self, signal_number: int, resume_hint: str = ""):
        super().__init__()
        self.signal_number = signal_number
        self.resume_hint = resume_hint

    def __str__(self):
        name = signal.Signals(self.signal_number).name
        return f"stopped by {name}; {self.resume_hint}" if self.resume_hint else f"stopped by {name}"


class _SignalThread:
    """The thread that waits for the signals of this process and calls `action` with the number of each."""

    def __init__(self, resume_hint, guard):
        self.action = self.end
        self.cleanups = []
        self._resume_hint, self._guard = resume_hint, guard
        self._is_ending = False
        self._counts = {True: 0, False: 0}  # of signals that the guard passed on, and of all others
        # A signal that is ignored from the start, as nohup and the background jobs of scripts have it, stays ignored.
        self._numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._numbers:  # for the moments in which signals_for_children() unblocks them
            signal.signal(number, lambda number, frame: self.action(number))
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        while True:
            caught = signal.sigwaitinfo(self._numbers)
            earlier = max(self._counts.values())
            self._counts[caught.si_pid == self._guard] += 1
            # Ctrl-C reaches both the guard and this process: that is one signal, not two.
            if max(self._counts.values()) > earlier:
                self.action(caught.si_signo)

    def end(self, number):
        """End the process: after the cleanups, or at once if it is ending already."""
        if self._is_ending:
            os._exit(128 + number)
        self._is_ending = True
        threading.Thread(target=self._clean_up_and_end, args=[number], daemon=True).start()

    def _clean_up_and_end(self, number):
        hint = self._resume_hint
        for cleanup in reversed(self.cleanups):
            with contextlib.suppress(Exception):
                hint = cleanup() or hint
        end_by_signal(number, hint)


_threads: list[_SignalThread] = []  # the _SignalThread, once handle_signals() has been called


def handle_signals(resume_hint: str = "", guard: int | None = None) -> None:
    """Let SIGTERM, SIGINT and SIGHUP end the process in one line, with exit status 128 + the signal's number.

    resume_hint: how the user resumes the work, for that line.  guard: the process id of a parent that passes
    signals on.  Only the first call has an effect.  Threads and processes started later inherit the blocked signals.
    """
    if not _threads:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        _threads.append(_SignalThread(resume_hint, guard))


def end_by_signal(number: int, resume_hint: str = "") -> None:
    """Print that a signal ends this process, and end it, whatever its other threads do."""
    keep_output_writable()
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # not by print(): the main thread may hold its lock
            os.write(sys.stderr.fileno(), f"{Stopped(number, resume_hint)}\n".encode())
    os._exit(128 + number)


def keep_output_writable() -> None:
    """Redirect stdout and stderr to /dev/null where their terminal was closed, so that printing does not fail."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, descriptor)
                os.close(null)


@contextlib.contextmanager
def cleaned_up(cleanup: Callable[[], str | None]) -> Iterator[None]:
    """Call cleanup() if a signal ends the process within a `with` block; otherwise the block itself has to clean up.

    cleanup: may return how the user resumes the work, for the line of the signal.
    Another thread calls it while the block still runs, so files that it removes may reappear: it should retry.
    """
    for thread in _threads:
        thread.cleanups.append(cleanup)
    try:
        yield
    finally:
        for thread in _threads:
            thread.cleanups.remove(cleanup)


@contextlib.contextmanager
def signals_for_children() -> Iterator[None]:
    """Unblock the signals within a `with` block: processes started there receive them as if started from a shell."""
    if not _threads:
        yield
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


@contextlib.contextmanager
def signals_at_default() -> Iterator[None]:
    """Let signals end the process at once, without a line, within a `with` block whose code never lets a thread run."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS} if _threads else {}
    handlers = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
    for number in handlers:
        signal.signal(number, signal.SIG_DFL)
    try:
        with signals_for_children():
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def on_signal(action: Callable[[int], object] | None) -> None:
    """Call action(number) for each signal from now on, in another thread; None: a signal ends the process again."""
    for thread in _threads:
        thread.action = action or thread.end


class StopSignals:
    """The signals of a process that has work to save.

    Before begin() and after end() a signal ends the process.  In between the first one is recorded, and a second one
    ends the process.
    """

    def __init__(self):
        self.number = 0  # of the first signal, 0 for none

    def begin(self) -> None:
        """Record the first signal from now on."""
        on_signal(self._record)

    def end(self) -> None:
        """Let a signal end the process from now on; raise Stopped if one has been recorded."""
        on_signal(None)
        self.check()

    def check(self) -> None:
        """Raise Stopped if a signal has been recorded."""
        if self.number:
            raise Stopped(self.number)

    def _record(self, number):
        if self.number:
            os._exit(128 + number)
        if number == signal.SIGHUP:
            keep_output_writable()
        self.number = number
