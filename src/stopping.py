# SPDX-License-Identifier: Apache-2.0
"""Stop at a good moment when the system or the user asks for it."""

import os
import signal

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


class StopSignals:
    """While it is entered, SIGTERM and SIGINT are noted; a second one ends the process at once.

    While MindSpore compiles or runs a graph, a handler of its own is in the place that makes SIGTERM of SIGINT; what
    is left of that afterwards, check() mends.
    """

    def __init__(self):
        self._noted = None
        self._earlier = {}

    def __enter__(self):
        self._earlier = self._install()
        return self

    def __exit__(self, *error):
        for number, handler in self._earlier.items():
            signal.signal(number, handler)

    def check(self):
        """Raise Stopped if a signal has come."""
        self._install()
        if self._noted is not None:
            raise Stopped(self._noted)

    def _install(self):
        return {number: signal.signal(number, self._note) for number in SIGNALS}

    def _note(self, number, frame):
        if self._noted is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self._noted = number
