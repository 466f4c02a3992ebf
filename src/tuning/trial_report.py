# SPDX-License-Identifier: Apache-2.0
"""The side of a trial: requests come by a connection, validations and the result go back."""

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

from mindspore.train import RunContext

from src.callback import Callback
from src.config import Config
from src.tuning.halves import SelectionHalf
from src.tuning.messages import Failed, Trained, Validated


class TrialReport(Callback):
    """Sends each validation, ends the training if the answer asks for it, and keeps the predictions of the best one."""

    def __init__(self, connection: Connection, validation: SelectionHalf):
        self._connection, self._validation = connection, validation
        self._result: Trained | Failed = Failed("it has not been validated")

    def on_eval_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        metrics = params.metrics
        validated = Validated(params.cur_step_num / params.batch_num, metrics["log_loss"], metrics["auc"])
        if params.is_best:
            self._result = Trained(validated, self._validation.predictions)
        self._connection.send(validated)
        if self._connection.recv():
            run_context.request_stop()

    def send_result(self) -> None:
        """Send the best validation."""
        self._connection.send(self._result)


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


def _wait_for_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
