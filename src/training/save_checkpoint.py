# SPDX-License-Identifier: Apache-2.0
"""The callback that saves checkpoints."""

import contextlib
import time

from mindspore.train import RunContext

from src.callback import Callback, NotFinite, call_hook
from src.checkpoint import ModelFolder
from src.checkpoint_parts import save_parts
from src.common.progress import epoch_and_step
from src.common.signals import Stopped
from src.distributed.process_group import ProcessGroup


class SaveCheckpoint(Callback):
    """Saves to a ModelFolder before each validation, by steps and seconds (0: not), and at the end.

    The checkpoint comes before the validation, so that nothing that fails later loses the work; afterwards its entry in
    model.json gets the metrics.  On Stopped the last step is saved; on OSError too, if a checkpoint can still be
    written.

    owners: the ranks that own the tables together.  Each saves its part of them and only the first one all else, at the
    same step; after an OSError, of which the others do not know, nothing is saved.
    """

    def __init__(
        self,
        folder: ModelFolder,
        every_steps: int = 0,
        every_seconds: float = 0,
        owners: ProcessGroup | None = None,
    ):
        self._folder, self._every_steps, self._every_seconds = folder, every_steps, every_seconds
        self._owners = owners or ProcessGroup()
        self.rank_zero_only = self._owners.count == 1
        self._context = self._params = None
        self._saved_step: int | None = None
        self._saved_time = 0.0  # until training begins
        self._is_validated = False  # but model.json does not say so yet

    def __exit__(self, kind, error, traceback):
        if self._params is None or self._params.steps_done == 0:
            return
        if isinstance(error, NotFinite) and self._saved_step == self._params.steps_done and self._owners.is_first:
            self._folder.remove_last()  # the validation has found that these weights are of no use
        elif isinstance(error, Stopped):
            self._save_if_new()
        elif isinstance(error, OSError) and self._owners.is_first:
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
        step = run_context.original_args().steps_done
        if self._is_validated:
            self._add_metrics()
        elif (self._every_steps and step % self._every_steps == 0) or self._is_time():
            self._save_if_new()

    def on_train_end(self, run_context: RunContext) -> None:
        self._save_if_new()

    def _is_time(self):
        """Tell whether a checkpoint is due by the clock of the first owner, which decides for all."""
        is_due = 0 < self._every_seconds <= time.monotonic() - self._saved_time
        if self._every_seconds == 0 or self._owners.count == 1:
            return is_due
        return bool(self._owners.sum([is_due and self._owners.is_first])[0])

    def _save_if_new(self, is_validated=True):
        """Save unless the last checkpoint is of this step; to write that again would put it at risk."""
        params = self._params
        if self._saved_step == params.steps_done:
            return
        self._saved_time = time.monotonic()
        call_hook("before_save", self._context)
        position = epoch_and_step(params.steps_done, params.batch_num)
        parts = save_parts(params.train_network, self._folder.path_of(*position), self._owners)
        self._owners.first_does(
            lambda: self._folder.save(
                params.train_network, *position, {}, params.state_dict(), is_validated=is_validated, parts=parts
            )
        )
        self._saved_step = params.steps_done
        call_hook("after_save", self._context)

    def _add_metrics(self):
        call_hook("before_save", self._context)
        if self._owners.is_first:
            self._folder.update_last(self._params.metrics, self._params.state_dict())
        self._is_validated = False
        call_hook("after_save", self._context)

    def _rescue(self):
        """Save what an error has kept from being saved, if that is possible; return how to resume."""
        if self._owners.count == 1:
            with contextlib.suppress(OSError):  # the error that is reported came first
                self._save_if_new()
        if not self._folder.checkpoints:
            return "no checkpoint could be written"
        last = self._folder.checkpoints[-1].path
        return f"the last checkpoint is {last}, from which the same command with --resume=True continues"
