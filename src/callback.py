# SPDX-License-Identifier: Apache-2.0
"""Callbacks: everything that happens in a training besides its steps.  docs/callbacks.md tells how to write one."""

import math
import os
from collections.abc import Callable
from typing import Protocol

import mindspore.train
from mindspore.train import RunContext
from tqdm import tqdm

from src.common.errors import UserError
from src.common.files import append_line, size_of
from src.common.progress import Progress, epoch_and_step
from src.distributed.process_group import AgreedStop


class Callback(mindspore.train.Callback):
    """A callback of MindSpore that also resumes exactly: its state is part of each checkpoint.

    rank_zero_only: True if only rank 0 of several has this callback, as it writes files.  Such a callback must not
    communicate with the other ranks, which would not answer.
    """

    rank_zero_only = False

    def state_dict(self) -> dict:
        """Return the state, for JSON: everything that changes while training."""
        return {}

    def load_state_dict(self, state: dict, *, in_place: bool) -> None:
        """Take over the state of the checkpoint from which training starts; called before on_train_begin.

        in_place: True if the run of that checkpoint is resumed, so that the later lines of its files must go; False if
        a new run starts from it.
        """

    def on_eval_begin(self, run_context: RunContext) -> None:
        """Called before each validation; here, unlike in MindSpore, no alias of begin()."""

    def on_eval_end(self, run_context: RunContext) -> None:
        """Called after each validation; here, unlike in MindSpore, no alias of end()."""

    def before_save(self, run_context: RunContext) -> None:
        """Called before a checkpoint is saved, or its entry in model.json gets the metrics."""

    def after_save(self, run_context: RunContext) -> None:
        """Called after that."""


def call_hook(hook: str, run_context: RunContext) -> None:
    """Call a hook of all callbacks of a training, in their order."""
    for callback in run_context.original_args().list_callback:
        if has_hook(callback, hook):
            getattr(callback, hook)(run_context)


def has_hook(callback: mindspore.train.Callback, hook: str) -> bool:
    """Tell whether a callback does something in a hook, in training also by MindSpore's older name, such as step_end.

    The aliases on_eval_begin and on_eval_end of older names do not count: they would start or end MindSpore's own
    callbacks anew at each validation.
    """
    names = [hook, hook.removeprefix("on_train_")] if hook.startswith("on_train_") else [hook]
    return any(
        _function(callback, name) not in (None, _function(mindspore.train.Callback, name), _function(Callback, name))
        for name in names
    )


def _function(owner, name):
    method = getattr(owner, name, None)
    return getattr(method, "__func__", method)


class Schedule(Protocol):
    """A function of the step and of the number of plateaus, as src.training.learning_rate.LearningRate is one."""

    def at(self, step: int, plateau_count: int) -> float:
        """Return the learning rate of a step, counted from 0, after that many validations without improvement."""


class LearningRateScheduler(Callback):
    """Sets the learning rate of each step by a schedule, and counts its plateaus.

    `learning_rate` is that of the step, of a block that of its last one.
    """

    def __init__(self, schedule: Schedule):
        self._schedule = schedule
        self._plateau_count = 0
        self._earlier_steps = 0  # of the optimizer, more or fewer than those of this training

    def state_dict(self) -> dict:
        return {"plateau_count": self._plateau_count}

    def load_state_dict(self, state: dict, *, in_place: bool) -> None:
        self._plateau_count = state["plateau_count"]

    def on_train_begin(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        # They differ if another number of ranks has begun the training, and so in steps of another size.
        self._earlier_steps = params.optimizer.global_step.asnumpy().item() - params.cur_step_num

    def on_train_step_begin(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        start = params.cur_step_num - params.sink_size
        rates = [self._schedule.at(step, self._plateau_count) for step in range(start, params.cur_step_num)]
        params.learning_rate = rates[-1]
        params.optimizer.set_learning_rates(rates, self._earlier_steps + start)

    def on_eval_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.metrics and not params.is_best:
            self._plateau_count += 1


class LogFile(Callback):
    """A text file with a line for each event.  When its run is resumed, the lines after the checkpoint are removed."""

    rank_zero_only = True

    def __init__(self, path: os.PathLike | str):
        self._path = path

    def state_dict(self) -> dict:
        return {"bytes": size_of(self._path)}

    def load_state_dict(self, state: dict, *, in_place: bool) -> None:
        if in_place and size_of(self._path) > state["bytes"]:
            os.truncate(self._path, state["bytes"])


class LossLog(LogFile):
    """Appends the losses to loss.log, in the format of the model zoo."""

    def on_train_step_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.loss is not None:
            epoch, step = epoch_and_step(params.cur_step_num, params.batch_num)
            append_line(self._path, f"epoch: {epoch} step: {step}, loss is {params.loss:.7g}")


class ValidationLog(LogFile):
    """Appends the metrics of each validation to auc.log, in the format of the model zoo, and prints them."""

    def on_eval_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if not params.metrics:
            return
        epoch, step = epoch_and_step(params.cur_step_num, params.batch_num)
        position = f"epoch: {epoch}" if step == params.batch_num else f"epoch: {epoch} step: {step}"
        line = f"{position} valid {params.evaluation.log_text()}"
        append_line(self._path, line)
        tqdm.write(line)  # above the progress bar, if there is one


class ProgressBar(Callback):
    """Shows how far training is."""

    rank_zero_only = True

    def __init__(self):
        self._progress, self._text = Progress("train", 0, disable=True), ""  # until training begins

    def __exit__(self, *error):
        self._progress.close()

    def on_train_begin(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        total = params.epoch_num * params.batch_num * params.rows_per_step
        self._progress = Progress("train", total, done=params.cur_step_num * params.rows_per_step)

    def on_train_step_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.loss is not None:
            epoch, _ = epoch_and_step(params.cur_step_num, params.batch_num)
            self._text = f"epoch {epoch}/{params.epoch_num}, loss {params.loss:.4f}"
        self._progress.advance(params.rows_per_step * params.sink_size, self._text)


class NotFinite(UserError):
    """Training has diverged: a number is infinite or not a number."""


class TerminateOnNaN(Callback):
    """Ends a training by NotFinite if a logged loss, or the log loss of a validation, is not finite.

    It does so too if the gradients of all steps since the last logged loss overflowed, so that no weight is trained;
    of single such steps it prints a note.
    """

    def __init__(self):
        self._step = self._overflows = 0  # at the last logged loss

    def on_train_begin(self, run_context: RunContext) -> None:
        self._step = run_context.original_args().cur_step_num

    def on_train_step_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.loss is not None:
            self._check(params.loss, "loss", params)
            self._check_overflows(params)

    def on_eval_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.metrics:
            self._check(params.metrics["log_loss"], "validation log loss", params)

    def _check_overflows(self, params):
        overflows, steps = params.train_network.overflows(), params.cur_step_num - self._step
        new = overflows - self._overflows
        self._overflows, self._step = overflows, params.cur_step_num
        if 0 < new < steps:
            tqdm.write(f"note: the gradients of {new} of the last {steps} steps overflowed float16; they were left out")
        elif new:
            raise NotFinite(
                f"the gradients of the last {steps} steps overflowed float16; earlier checkpoints are kept. "
                "--convert_dtype=False trains in float32"
            )

    def _check(self, number, name, params):
        if not math.isfinite(number):
            epoch, step = epoch_and_step(params.cur_step_num, params.batch_num)
            raise NotFinite(
                f"the {name} is {number} at epoch {epoch} step {step}; earlier checkpoints are kept. "
                "A lower --learning_rate usually helps"
            )


class EarlyStopping(Callback):
    """Ends training after `patience` validations in a row without improvement; 0 for never."""

    def __init__(self, patience: int):
        self._patience = patience
        self._without_improvement = 0

    def state_dict(self) -> dict:
        return {"without_improvement": self._without_improvement}

    def load_state_dict(self, state: dict, *, in_place: bool) -> None:
        self._without_improvement = state["without_improvement"]

    def on_train_begin(self, run_context: RunContext) -> None:
        self._stop_if_exhausted(run_context)

    def on_eval_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        if params.metrics:
            self._without_improvement = 0 if params.is_best else self._without_improvement + 1
        self._stop_if_exhausted(run_context)

    def _stop_if_exhausted(self, run_context):
        if 0 < self._patience <= self._without_improvement:
            run_context.request_stop()


class StopOnSignal(Callback):
    """Ends training by Stopped soon after a signal has come, on all ranks after the same step."""

    def __init__(self, stop: AgreedStop):
        self._stop = stop

    def on_train_begin(self, run_context: RunContext) -> None:
        self._stop.begin()

    def on_train_step_end(self, run_context: RunContext) -> None:
        self._stop.check()


class Upload(Callback):
    """Calls `publish` after each checkpoint."""

    rank_zero_only = True

    def __init__(self, publish: Callable[[], object]):
        self._publish = publish

    def after_save(self, run_context: RunContext) -> None:
        self._publish()
