# SPDX-License-Identifier: Apache-2.0
"""The callback that evaluates the validation set."""

from collections.abc import Callable

from mindspore.train import RunContext

from src.callback import Callback, call_hook
from src.evaluation.evaluate import Evaluation

METRICS = ("auc", "log_loss", "normalised_entropy", "calibration")  # those of a checkpoint in model.json


class Validation(Callback):
    """Evaluates the validation set after every `every_steps` steps and at the end of each epoch; 0: only there.

    It sets `evaluation`, `metrics` and `is_best`, whether the log loss is the lowest so far, between on_eval_begin and
    on_eval_end of all callbacks.
    """

    def __init__(self, evaluate: Callable[[], Evaluation] | None, every_steps: int = 0):
        """evaluate: a function that returns the Evaluation; None without a validation set: then `metrics` is empty."""
        self._evaluate, self._every_steps = evaluate, every_steps
        self._best_log_loss: float | None = None

    def state_dict(self) -> dict:
        return {"best_log_loss": self._best_log_loss}

    def load_state_dict(self, state: dict, *, in_place: bool) -> None:
        self._best_log_loss = state["best_log_loss"]

    def on_train_step_end(self, run_context: RunContext) -> None:
        params = run_context.original_args()
        step, steps_per_epoch = params.cur_step_num, params.batch_num
        if step % (self._every_steps or steps_per_epoch) == 0 or step % steps_per_epoch == 0:
            call_hook("on_eval_begin", run_context)
            self._validate(params)
            call_hook("on_eval_end", run_context)

    def _validate(self, params):
        params.evaluation = self._evaluate() if self._evaluate is not None else None
        metrics = params.evaluation.metrics if params.evaluation is not None else {}
        params.metrics = {name: metrics[name] for name in METRICS if name in metrics}
        params.eval_results = params.metrics  # MindSpore's name, for its EarlyStopping and ReduceLROnPlateau
        log_loss = params.metrics.get("log_loss")
        params.is_best = bool(params.metrics) and (self._best_log_loss is None or log_loss < self._best_log_loss)
        if params.is_best:
            self._best_log_loss = log_loss
