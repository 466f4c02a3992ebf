# SPDX-License-Identifier: Apache-2.0
"""The side of the process that trains: requests for trials come by a connection, and failures go back."""

import contextlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

from src.config import Config
from src.tuning.messages import Failed


def requests(connection: Connection) -> Iterator[Config]:
    """Yield the Config of each trial to train, until the process that asks has ended."""
    with contextlib.suppress(EOFError):
        while True:
            yield connection.recv()


@contextlib.contextmanager
def failures_sent(connection: Connection) -> Iterator[None]:
    """Send Failed in place of an exception of a trial."""
    try:
        yield
    except (EOFError, BrokenPipeError, ConnectionResetError):  # nobody is waiting for the trial
        os._exit(1)
    except Exception as error:
        connection.send(Failed(describe_failure(error)))


def describe_failure(error: Exception) -> str:
    """Return the reason of a failure in a line."""
    text = next(iter(str(error).splitlines()), "") or ("out of memory" if isinstance(error, MemoryError) else "")
    is_expected = isinstance(error, (ValueError, OSError, MemoryError))  # with a message for users
    return text if is_expected and text else f"{type(error).__name__}: {text}"


def end_with_parent() -> None:
    """End this process when the one that has started it ends, however that happens."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def print_nothing() -> None:
    """Leave standard output to the search, which prints a line for each trial."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")


def _wait_for_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
