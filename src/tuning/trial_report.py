# SPDX-License-Identifier: Apache-2.0
"""The callback of a trial, which reports its validations to the search."""

from multiprocessing.connection import Connection

from mindspore.train import RunContext

from src.callback import Callback
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
