# SPDX-License-Identifier: Apache-2.0
"""The logs of training, loss.log and auc.log, in the format of the model zoo."""

import math
import os

from tqdm import tqdm

from src.common.errors import UserError
from src.common.files import append_line, size_of
from src.common.progress import Progress, epoch_and_step
from src.training.tensorboard import Events


def format_scores(scores):
    """Return scores as they stand in auc.log, without the counts."""
    return f"AUC: {scores['AUC']:.6f}, log_loss: {scores['log_loss']:.6f}, eval_time: {scores['eval_time']:.1f}s"


class TrainLogs:
    """What a run writes down of its steps and of its looks at valid, and the progress that it shows."""

    def __init__(
        self, loss_path, eval_path, every, rows_per_step, steps_per_epoch, epochs, writes=True, events_dir=None
    ):
        """every: steps between two lines of the loss log.  writes: False for a rank that leaves that to another.

        events_dir: for TensorBoard; None for none.
        """
        self._loss_path, self._eval_path, self._every = loss_path, eval_path, every
        self._rows_per_step, self._steps_per_epoch, self._epochs = rows_per_step, steps_per_epoch, epochs
        self._writes, self._events_dir = writes, events_dir
        self._progress, self._events, self._note = None, None, ""

    def start(self, step):
        """Begin to show progress, `step` steps of an earlier run being done."""
        if not self._writes:
            return
        if self._events_dir is not None:
            self._events = Events(self._events_dir, step)
        total = self._epochs * self._steps_per_epoch * self._rows_per_step
        self._progress = Progress("train", total, done=step * self._rows_per_step)

    def close(self):
        if self._progress is not None:
            self._progress.close()
        if self._events is not None:
            self._events.close()

    def is_due(self, step):
        """Tell whether the loss of a step counted from 1 is logged."""
        _, step_in_epoch = epoch_and_step(step, self._steps_per_epoch)
        return step_in_epoch % self._every == 0 or step_in_epoch == self._steps_per_epoch

    def add_loss(self, step, loss, learning_rate):
        """Take in the loss of a step counted from 1, and the rate that it had; UserError if it is not finite."""
        epoch, step_in_epoch = epoch_and_step(step, self._steps_per_epoch)
        if self._events is not None and math.isfinite(loss):
            self._events.add_loss(step, loss, learning_rate)  # before the line of the log, which is never written twice
        if self._writes:
            append_line(self._loss_path, f"epoch: {epoch} step: {step_in_epoch}, loss is {loss:.7g}")
        self._note = f"epoch {epoch}/{self._epochs}, loss {loss:.4f}"
        check_finite(loss, "loss", epoch, step_in_epoch)

    def add_step(self):
        """Show that a step is done."""
        if self._progress is not None:
            self._progress.advance(self._rows_per_step, self._note)

    def add_look(self, step, scores):
        """Take in the scores on valid after a step counted from 1; UserError if they are not finite."""
        epoch, step_in_epoch = epoch_and_step(step, self._steps_per_epoch)
        check_finite(scores["log_loss"], "log loss on valid", epoch, step_in_epoch)
        place = f"epoch: {epoch}" if step_in_epoch == self._steps_per_epoch else f"epoch: {epoch} step: {step_in_epoch}"
        line = f"{place} valid {format_scores(scores)}"
        if self._writes:
            append_line(self._eval_path, line)
            tqdm.write(line)  # above the progress bar, if there is one
        if self._events is not None:
            self._events.add_look(step, scores)

    def sizes(self):
        """Return how long the logs are, in bytes."""
        paths = (self._loss_path, self._eval_path)
        return [size_of(path) for path in paths]

    def cut(self, sizes):
        """Take from the logs what came after they were so long."""
        for path, size in zip((self._loss_path, self._eval_path), sizes):
            if size_of(path) > size:
                os.truncate(path, size)


def check_finite(number, what, epoch, step):
    """Raise UserError if training has gone out of bounds."""
    if not math.isfinite(number):
        raise UserError(
            f"the {what} is {number} at epoch {epoch} step {step}; earlier checkpoints are kept. "
            "A lower --learning_rate usually helps"
        )
