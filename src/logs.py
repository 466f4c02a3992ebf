# SPDX-License-Identifier: Apache-2.0
"""What happens beside the steps of training: loss log, evaluation, checkpoints, progress."""

import math
import time

from mindspore.train import Callback
from tqdm import tqdm

from src.errors import UserError
from src.evaluation import evaluate
from src.progress import Progress


def append_line(path, text):
    """Append a line with the time of day to a log file."""
    with open(path, "a", encoding="utf-8") as log:
        log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")


def format_scores(scores):
    """Return scores as they stand in auc.log, without the counts."""
    return f"AUC: {scores['AUC']:.6f}, log_loss: {scores['log_loss']:.6f}, eval_time: {scores['eval_time']:.1f}s"


class LossLog(Callback):
    """Write the loss of a step to the log file, every `every` steps and at an epoch's end; stop if it is not finite."""

    def __init__(self, path, every):
        super().__init__()
        self._path, self._every = path, every

    def on_train_step_end(self, run_context):
        params = run_context.original_args()
        step = (params.cur_step_num - 1) % params.batch_num + 1
        if step % self._every and step != params.batch_num:
            return
        loss = params.net_outputs.asnumpy().item()
        append_line(self._path, f"epoch: {params.cur_epoch_num} step: {step}, loss is {loss:.7g}")
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at epoch {params.cur_epoch_num} step {step}; earlier checkpoints are kept. "
                "A lower --learning_rate usually helps"
            )


class EpochEnd(Callback):
    """After each epoch score the valid split, if there is one, and save a checkpoint."""

    def __init__(self, network, folder, valid_data, eval_path):
        super().__init__()
        self._network, self._folder, self._valid_data, self._eval_path = network, folder, valid_data, eval_path

    def on_train_epoch_end(self, run_context):
        params = run_context.original_args()
        scores = self._score(params.cur_epoch_num) if self._valid_data is not None else {}
        self._folder.save(params.train_network, params.cur_epoch_num, params.batch_num, scores)

    def _score(self, epoch):
        start = time.monotonic()
        scores = evaluate(self._network, self._valid_data)
        scores["eval_time"] = time.monotonic() - start
        if not math.isfinite(scores["log_loss"]):
            raise UserError(
                f"the log loss on valid is {scores['log_loss']} after epoch {epoch}; earlier checkpoints are "
                "kept. A lower --learning_rate usually helps"
            )
        line = f"epoch: {epoch} valid {format_scores(scores)}"
        append_line(self._eval_path, line)
        tqdm.write(line)  # above the progress bar, if there is one
        return {"auc": scores["AUC"], "log_loss": scores["log_loss"]}


class StepProgress(Callback):
    """Show how many rows have been trained on, and the loss now and then."""

    def __init__(self, epochs, steps, batch_size, loss_every):
        super().__init__()
        self._epochs, self._batch_size, self._loss_every = epochs, batch_size, loss_every
        self._total = epochs * steps * batch_size
        self._progress = None

    def on_train_begin(self, run_context):
        self._progress = Progress("train", self._total)

    def on_train_step_end(self, run_context):
        params = run_context.original_args()
        note = ""
        if params.cur_step_num % self._loss_every == 0:
            note = f"epoch {params.cur_epoch_num}/{self._epochs}, loss {params.net_outputs.asnumpy().item():.4f}"
        self._progress.advance(self._batch_size, note)

    def on_train_end(self, run_context):
        self._progress.close()
