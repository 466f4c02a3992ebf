# SPDX-License-Identifier: Apache-2.0
import pytest

from src.callback import Callback
from src.evaluation.evaluate import Evaluation
from src.training.validation import Validation
from tests.training import context_of

OTHERS = {"auc": 0.7, "normalised_entropy": 0.9, "calibration": 1.0}


def evaluation_of(log_loss):
    metrics = {"log_loss": log_loss, "auc_interval": (0, 1), **OTHERS}
    return Evaluation("valid", None, None, metrics, 0.25)


@pytest.mark.parametrize(("every", "expected"), [(0, [25, 50]), (10, [10, 20, 25, 30, 40, 50]), (60, [25, 50])])
def test_it_evaluates_at_intervals_over_all_epochs_and_at_the_end_of_each(every, expected):
    steps = []

    def evaluate():
        steps.append(step)
        return evaluation_of(0.5)

    validation = Validation(evaluate, every)
    for step in range(1, 51):  # 2 epochs of 25 steps
        validation.on_train_step_end(context_of(cur_step_num=step))
    assert steps == expected


def test_the_other_callbacks_get_the_metrics_and_whether_the_log_loss_is_the_lowest_so_far():
    seen = []

    class Observer(Callback):
        def on_eval_begin(self, run_context):
            seen.append("begin")

        def on_eval_end(self, run_context):
            params = run_context.original_args()
            assert params.evaluation.metrics["auc_interval"] == (0, 1)
            assert params.eval_results == params.metrics == {"log_loss": params.metrics["log_loss"], **OTHERS}
            seen.append((params.metrics["log_loss"], params.metrics["auc"], params.is_best))

    log_losses = [0.5, 0.6, 0.5, 0.4]
    validation = Validation(lambda: evaluation_of(log_losses.pop(0)))
    for _ in range(2):
        validation.on_train_step_end(context_of(Observer(), cur_step_num=25))
    resumed = Validation(validation._evaluate)
    resumed.load_state_dict(validation.state_dict(), in_place=False)
    for _ in range(2):
        resumed.on_train_step_end(context_of(Observer(), cur_step_num=25))
    expected = [(0.5, 0.7, True), (0.6, 0.7, False), (0.5, 0.7, False), (0.4, 0.7, True)]
    assert seen == [item for each in expected for item in ("begin", each)]


def test_without_a_validation_set_there_are_no_metrics_and_nothing_is_the_best():
    validation, context = Validation(None), context_of(cur_step_num=25, metrics={"auc": 1.0})
    validation.on_train_step_end(context)
    assert (context.original_args().metrics, context.original_args().is_best) == ({}, False)
    assert validation.state_dict() == {"best_log_loss": None}
