# SPDX-License-Identifier: Apache-2.0
"""Stop at a good moment when the system or the user asks for it."""

import os
import signal
import sys
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):
    """The process was asked to stop; `signal_number` says how, `way_on` how to go on."""

    def __init__(self, signal_number):
        super().__init__()
        self.signal_number = signal_number
        self.way_on = ""

    def __str__(self):
        name = signal.Signals(self.signal_number).name
        return f"stopped by {name}; {self.way_on}" if self.way_on else f"stopped by {name}"


def hold_signals():
    """Keep SIGTERM and SIGINT for a StopSignals: this thread, and those it starts from now on, do not get them.

    To be called before MindSpore is imported: while that runs a graph, a handler of its own makes SIGTERM of SIGINT.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


class StopSignals:
    """The signals that hold_signals() keeps.

    Until begin() the first one ends the process, as there is nothing to save yet.  Then it is noted, and a second one
    ends the process.
    """

    def __init__(self):
        self.number = 0  # of the first signal that has come
        self._has_begun = False
        threading.Thread(target=self._wait, daemon=True).start()

    def begin(self):
        """From now on note the first signal."""
        self._has_begun = True

    def check(self):
        """Raise Stopped if a signal has come."""
        if self.number:
            raise Stopped(self.number)

    def _wait(self):
        number = signal.sigwait(SIGNALS)
        if not self._has_begun:
            print(Stopped(number), file=sys.stderr, flush=True)
            os._exit(128 + number)
        self.number = number
        os._exit(128 + signal.sigwait(SIGNALS))
