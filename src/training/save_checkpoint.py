# SPDX-License-Identifier: Apache-2.0
"""The callback that saves checkpoints."""

import contextlib
import time

from mindspore.train import RunContext

from src.callback import Callback, NotFinite, call_hook
from src.checkpoint import ModelFolder
from src.common.progress import epoch_and_step
from src.common.signals import Stopped


class SaveCheckpoint(Callback):
    """Saves to a ModelFolder before each validation, by steps and seconds (0: not), and at the end.

    The checkpoint comes before the validation, so that nothing that fails later loses the work; afterwards its entry in
    model.json gets the metrics.  On Stopped the last step is saved; on OSError too, if a checkpoint can still be
    written.
    """

    rank_zero_only = True

    def __init__(self, folder: ModelFolder, every_steps: int = 0, every_seconds: float = 0):
        self._folder, self._every_steps, self._every_seconds = folder, every_steps, every_seconds
        self._context = self._params = None
        self._saved_step: int | None = None
        self._saved_time = 0.0  # until training begins
        self._is_validated = False  # but model.json does not say so yet

    def __exit__(self, kind, error, traceback):
        if self._params is None or self._params.steps_done == 0:
            return
        if isinstance(error, NotFinite) and self._saved_step == self._params.steps_done:
            self._folder.remove_last()  # the validation has found that these weights are of no use
        elif isinstance(error, Stopped):
            self._save_if_new()
        elif isinstance(error, OSError):
            raise OSError(f"{error}; {self._rescue()}") from error

    def on_train_begin(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        self._context, self._params = run_context, params
        self._saved_time = time.monotonic()
        # A run that is resumed has its checkpoint already.
        self._saved_step = params.steps_done if self._folder.checkpoints else None

    def on_eval_begin(self, run_context: RunContext) -> None:
        self._save_if_new(is_validated=False)

    def on_eval_end(self, run_context: RunContext) -> None:
        self._is_validated = True

    def on_train_step_end(self, run_context: RunContext) -> None:
        step, seconds = run_context.original_args().steps_done, time.monotonic() - self._saved_time
        if self._is_validated:
            self._add_metrics()
        elif (self._every_steps and step % self._every_steps == 0) or 0 < self._every_seconds <= seconds:
            self._save_if_new()

    def on_train_end(self, run_context: RunContext) -> None:
        self._save_if_new()

    def _save_if_new(self, is_validated=True):
        """Save unless the last checkpoint is of this step; to write that again would put it at risk."""
        params = self._params
        if self._saved_step == params.steps_done:
            return
        self._saved_time = time.monotonic()
        call_hook("before_save", self._context)
        epoch, step = epoch_and_step(params.steps_done, params.batch_num)
        self._folder.save(params.train_network, epoch, step, {}, params.state_dict(), is_validated=is_validated)
        self._saved_step = params.steps_done
        call_hook("after_save", self._context)

    def _add_metrics(self):
        call_hook("before_save", self._context)
        self._folder.update_last(self._params.metrics, self._params.state_dict())
        self._is_validated = False
        call_hook("after_save", self._context)

    def _rescue(self):
        """Save what an error has kept from being saved, if that is possible; return how to resume."""
        with contextlib.suppress(OSError):  # the error that is reported came first
            self._save_if_new()
        if not self._folder.checkpoints:
            return "no checkpoint could be written"
        last = self._folder.checkpoints[-1].path
        return f"the last checkpoint is {last}, from which the same command with --resume=True continues"
