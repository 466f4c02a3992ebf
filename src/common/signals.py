# SPDX-License-Identifier: Apache-2.0
"""Stop at a good moment when the system or the user asks for it: what SIGTERM, SIGINT and SIGHUP do.

An entry point calls handle_signals() before it imports anything heavy.  From then on no thread gets these signals but
one that waits for them, as handlers would run late or not at all: the main thread runs no Python while it is inside
MindSpore or polars, and MindSpore puts handlers of its own in place while it runs a graph.
"""

import contextlib
import os
import signal
import stat
import sys
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Stopped(Exception):
    """The process was asked to stop; `signal_number` says how, `resume_hint` how to go on."""

    def __init__(self, signal_number, resume_hint=""):
        super().__init__()
        self.signal_number = signal_number
        self.resume_hint = resume_hint

    def __str__(self):
        name = signal.Signals(self.signal_number).name
        return f"stopped by {name}; {self.resume_hint}" if self.resume_hint else f"stopped by {name}"


class _Holder:
    """The signals of this process, once handle_signals() has been called."""

    def __init__(self, resume_hint, guard):
        self.resume_hint = resume_hint
        self.action = self.end
        self.clean_ups = []
        self._guard = guard
        self._is_ending = False
        self._counts = {True: 0, False: 0}  # of signals that the guard passed on, and of those of others
        # One that is ignored from the start, as nohup and the background jobs of scripts have it, stays ignored.
        self._numbers = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._numbers:  # for the moments in which signals_for_children() lets one through
            signal.signal(number, lambda number, frame: self.action(number))
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self):
        while True:
            caught = signal.sigwaitinfo(self._numbers)
            earlier = max(self._counts.values())
            self._counts[caught.si_pid == self._guard] += 1
            # What came to the guard and to this process, as Ctrl-C does, is one signal and not two.
            if max(self._counts.values()) > earlier:
                self.action(caught.si_signo)

    def end(self, number):
        """End the process: after the clean-ups, or without them if it is ending already."""
        if self._is_ending:
            os._exit(128 + number)
        self._is_ending = True
        threading.Thread(target=self._clean_up_and_end, args=[number], daemon=True).start()

    def _clean_up_and_end(self, number):
        for clean_up in reversed(self.clean_ups):
            with contextlib.suppress(Exception):
                clean_up()
        end_by_signal(number, self.resume_hint)


_held = []  # the _Holder, if there is one


def handle_signals(resume_hint="", guard=None):
    """Let SIGTERM, SIGINT and SIGHUP end the process in one line, with status 128 and the signal's number.

    resume_hint: how to go on after that, for the line.  guard: the process id of a parent that passes signals on.
    Only the first call counts.  Threads and processes that are started later do not get these signals.
    """
    if not _held:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        _held.append(_Holder(resume_hint, guard))


def end_by_signal(number, resume_hint=""):
    """Say that a signal ends this process, and end it, whatever its other threads do."""
    keep_output_writable()
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):  # no lock of Python's, as the main thread may hold it
            os.write(sys.stderr.fileno(), f"{Stopped(number, resume_hint)}\n".encode())
    os._exit(128 + number)


def keep_output_writable():
    """Send to nowhere what would be written to a terminal that was closed, which is none any more."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(descriptor).st_mode) and not os.isatty(descriptor):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


@contextlib.contextmanager
def cleaned_up(clean_up):
    """Call clean_up() also if a signal ends the process within a `with` block; the block itself does it otherwise.

    It is called in another thread while the block still runs, so what it removes may come back: it should try again.
    """
    for holder in _held:
        holder.clean_ups.append(clean_up)
    try:
        yield
    finally:
        for holder in _held:
            holder.clean_ups.remove(clean_up)


@contextlib.contextmanager
def signals_for_children():
    """Start processes within a `with` block: they get signals as they would from a shell, unlike this one."""
    if not _held:
        yield
        return
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


@contextlib.contextmanager
def signals_at_default():
    """Let signals end the process at once, without a line, while it is in code that never lets a thread run."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS} if _held else {}
    handlers = {number: handler for number, handler in handlers.items() if handler is not signal.SIG_IGN}
    for number in handlers:
        signal.signal(number, signal.SIG_DFL)
    try:
        with signals_for_children():
            yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def on_signal(action):
    """Call action(number) for each signal from now on, in another thread; None: a signal ends the process again."""
    for holder in _held:
        holder.action = action or holder.end


class StopSignals:
    """The signals of a process that has something to save.

    Until begin() and after end() a signal ends the process.  In between the first one is noted, and a second one ends
    the process.
    """

    def __init__(self):
        self.number = 0  # of the first signal that has come

    def begin(self):
        """From now on note the first signal."""
        on_signal(self._note)

    def end(self):
        """From now on a signal ends the process; one that was noted does so now, as Stopped."""
        on_signal(None)
        self.check()

    def check(self):
        """Raise Stopped if a signal has come."""
        if self.number:
            raise Stopped(self.number)

    def _note(self, number):
        if self.number:
            os._exit(128 + number)
        if number == signal.SIGHUP:
            keep_output_writable()
        self.number = number
