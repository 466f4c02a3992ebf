# SPDX-License-Identifier: Apache-2.0
"""The process that trains the trials of a search, one after another.

It is a process of its own, so that a trial that crashes, or whose memory does not suffice, ends itself and not the
search.  It is one for many trials, as starting it takes seconds: importing MindSpore, reading the validation set.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import psutil

from src.config import Config
from src.tuning.messages import Failed, Trained, Validated

SECONDS_BETWEEN_CHECKS = 0.2
GROWTH_BYTES = 2**30  # MindSpore keeps the graphs of earlier trials; a process that has grown by this is replaced


class TrialProcess:
    """Starts the process when a trial needs it, and again after a trial that has ended it; a context manager ends it.

    body: the function of the process, of a module: it takes a Connection, and `arguments`.
    """

    def __init__(self, body: Callable[..., None], *arguments: object):
        self._body, self._arguments = body, arguments
        self._context = multiprocessing.get_context("spawn")  # MindSpore has threads, which a fork would lose
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection | None = None
        self._first_bytes = 0

    def __enter__(self) -> "TrialProcess":
        return self

    def __exit__(self, *error):
        self._end()

    def train(
        self,
        config: Config,
        seconds: float,
        on_validation: Callable[[Validated], bool],
        between: Callable[[], None],
    ) -> Trained | Failed:
        """Train a trial and return its result.

        seconds: after which it fails.  on_validation: tells whether to end it.  between: called every moment; its
        exception ends the trial.
        """
        try:
            connection = self._start()
            connection.send(config)
            end = time.monotonic() + seconds
            while True:
                has_message = connection.poll(SECONDS_BETWEEN_CHECKS)
                between()
                if time.monotonic() > end:
                    self._end()
                    return Failed(f"it takes more than {seconds:,.0f} s", is_late=True)
                if not has_message:
                    continue
                message = connection.recv()
                if not isinstance(message, Validated):
                    self._end_if_grown()
                    return message
                connection.send(on_validation(message))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return Failed(self._describe_end())
        except BaseException:
            self._end()
            raise

    def _start(self):
        if self._process is None:
            self._connection, theirs = self._context.Pipe()
            self._process = self._context.Process(target=self._body, args=(theirs, *self._arguments), daemon=True)
            self._process.start()
            theirs.close()
            self._first_bytes = 0
        return self._connection

    def _end_if_grown(self):
        size = psutil.Process(self._process.pid).memory_info().rss
        self._first_bytes = self._first_bytes or size
        if size - self._first_bytes > GROWTH_BYTES:
            self._end()

    def _end(self):
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
        self._process = self._connection = None

    def _describe_end(self):
        """Return how the process has ended, which nobody has asked it to."""
        self._process.join()
        code = self._process.exitcode
        self._end()
        if code == -signal.SIGKILL:
            return "its process was killed by SIGKILL, as the system does when memory is short"
        return f"its process ended with status {code}" if code >= 0 else f"its process was ended by signal {-code}"
