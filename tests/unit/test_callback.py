# SPDX-License-Identifier: Apache-2.0
import re

import mindspore as ms
import pytest
from mindspore import Tensor

from src.callback import (
    Callback,
    EarlyStopping,
    LearningRateScheduler,
    LossLog,
    NotFinite,
    ProgressBar,
    TerminateOnNaN,
    Upload,
    ValidationLog,
    call_hook,
)
from src.evaluation.evaluate import Evaluation
from src.training.learning_rate import LearningRate
from tests.training import context_of, lines_of

EVALUATION = Evaluation("valid", None, None, {"auc": 0.75, "log_loss": 0.5}, 0.25)
METRICS = {"auc": 0.75, "log_loss": 0.5}


def test_losses_are_appended_with_time_epoch_and_step(tmp_path):
    log = LossLog(tmp_path / "loss.log")
    for step, loss in ((10, 1.0), (11, None), (25, 2.5), (26, 0.123456789)):  # 25 steps an epoch
        log.on_train_step_end(context_of(cur_step_num=step, loss=loss))
    lines = (tmp_path / "loss.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d epoch: ", line) for line in lines)
    assert lines_of(tmp_path / "loss.log") == [
        "epoch: 1 step: 10, loss is 1",
        "epoch: 1 step: 25, loss is 2.5",
        "epoch: 2 step: 1, loss is 0.1234568",
    ]


def test_metrics_are_appended_with_the_step_unless_it_ends_an_epoch(tmp_path, capsys):
    log = ValidationLog(tmp_path / "auc.log")
    for step in (30, 50):
        log.on_eval_end(context_of(cur_step_num=step, metrics=METRICS, evaluation=EVALUATION))
    log.on_eval_end(context_of(cur_step_num=50))  # without a validation set
    assert lines_of(tmp_path / "auc.log") == [
        "epoch: 2 step: 5 valid AUC: 0.750000, log_loss: 0.500000, eval_time: 0.2s",
        "epoch: 2 valid AUC: 0.750000, log_loss: 0.500000, eval_time: 0.2s",
    ]
    assert capsys.readouterr().out.splitlines() == lines_of(tmp_path / "auc.log")


def test_a_log_loses_its_later_lines_only_if_its_own_run_is_resumed(tmp_path):
    log = LossLog(tmp_path / "loss.log")
    log.on_train_step_end(context_of(cur_step_num=10, loss=1.0))
    state = log.state_dict()
    log.on_train_step_end(context_of(cur_step_num=20, loss=2.0))
    LossLog(tmp_path / "loss.log").load_state_dict(state, in_place=False)
    assert len(lines_of(tmp_path / "loss.log")) == 2
    LossLog(tmp_path / "loss.log").load_state_dict(state, in_place=True)
    assert lines_of(tmp_path / "loss.log") == ["epoch: 1 step: 10, loss is 1"]
    LossLog(tmp_path / "loss.log").load_state_dict({"bytes": 10_000}, in_place=True)  # a log that was made anew
    assert LossLog(tmp_path / "loss.log").state_dict() == state
    LossLog(tmp_path / "none.log").load_state_dict(state, in_place=True)
    assert not (tmp_path / "none.log").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_or_log_loss_that_is_not_finite_ends_training(value):
    guard = TerminateOnNaN()
    with pytest.raises(NotFinite, match=f"the loss is {value} at epoch 1 step 10; earlier checkpoints are kept"):
        guard.on_train_step_end(context_of(cur_step_num=10, loss=value))
    with pytest.raises(NotFinite, match=f"the validation log loss is {value} at epoch 2 step 25"):
        guard.on_eval_end(context_of(cur_step_num=50, metrics={"log_loss": value}))
    guard.on_train_step_end(context_of(cur_step_num=11))
    guard.on_eval_end(context_of(cur_step_num=11))


class Network:
    """A train step in whose steps the gradients overflowed so often."""

    def __init__(self, count):
        self.overflows = lambda: count


def test_steps_that_overflow_are_noted_and_end_training_if_all_did(capsys):
    guard = TerminateOnNaN()
    guard.on_train_begin(context_of(cur_step_num=20))
    guard.on_train_step_end(context_of(cur_step_num=30, loss=0.5, train_network=Network(0)))
    guard.on_train_step_end(context_of(cur_step_num=35, train_network=Network(2)))  # not logged, so not read
    assert capsys.readouterr().out == ""
    guard.on_train_step_end(context_of(cur_step_num=40, loss=0.5, train_network=Network(9)))
    note = "note: the gradients of 9 of the last 10 steps overflowed float16; they were left out\n"
    assert capsys.readouterr().out == note
    with pytest.raises(NotFinite, match="the gradients of the last 10 steps overflowed float16; earlier"):
        guard.on_train_step_end(context_of(cur_step_num=50, loss=0.5, train_network=Network(19)))


class Optimizer:
    """Keeps the rates that it is given, and for which of its steps."""

    def __init__(self, steps_done=0):
        self.rates, self.starts = [], []
        self.global_step = Tensor([steps_done], ms.int32)

    def set_learning_rates(self, rates, start):
        self.rates += rates
        self.starts.append(start)


def test_the_learning_rate_of_each_step_is_that_of_the_schedule_and_of_the_plateaus_so_far():
    optimizer = Optimizer()
    scheduler = LearningRateScheduler(LearningRate("plateau", 0.4, total_steps=50, warmup_steps=2, decay_factor=2.0))
    scheduler.on_train_begin(context_of(optimizer=optimizer))
    validations = {3: (METRICS, True), 4: (METRICS, False), 5: ({}, False), 6: (METRICS, False)}
    for number in range(1, 8):
        context = context_of(cur_step_num=number, optimizer=optimizer)
        scheduler.on_train_step_begin(context)
        assert context.original_args().learning_rate == optimizer.rates[-1]
        if number in validations:
            context.original_args().metrics, context.original_args().is_best = validations[number]
            scheduler.on_eval_end(context)
    assert optimizer.rates == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.2, 0.2, 0.1])
    assert optimizer.starts == list(range(7))
    resumed = LearningRateScheduler(LearningRate("plateau", 0.4, total_steps=50, decay_factor=2.0))
    resumed.load_state_dict(scheduler.state_dict(), in_place=True)
    resumed.on_train_step_begin(context_of(cur_step_num=8, optimizer=optimizer))
    assert optimizer.rates[-1] == pytest.approx(0.1)


def test_a_block_of_steps_has_a_learning_rate_for_each():
    # Two ranks have done 6 steps, which are 12 of one rank; its next block is that of the steps 13 to 16.
    optimizer = Optimizer(steps_done=6)
    scheduler = LearningRateScheduler(LearningRate("constant", 1.0, total_steps=50, warmup_steps=20))
    scheduler.on_train_begin(context_of(cur_step_num=12, optimizer=optimizer))
    for last in (16, 20):
        context = context_of(cur_step_num=last, sink_size=4, optimizer=optimizer)
        scheduler.on_train_step_begin(context)
        assert context.original_args().learning_rate == pytest.approx(last / 20)
    assert optimizer.rates == pytest.approx([step / 20 for step in range(13, 21)])
    assert optimizer.starts == [6, 10]


def test_training_ends_after_validations_in_a_row_without_improvement():
    stopping, ended = EarlyStopping(2), []
    for is_best in (True, False, True, False, False):
        context = context_of(metrics=METRICS, is_best=is_best)
        stopping.on_eval_end(context)
        ended.append(context.get_stop_requested())
    assert ended == [False, False, False, False, True]
    for patience, ends in ((2, True), (3, False), (0, False)):  # also if it is resumed, unless with more patience
        resumed, context = EarlyStopping(patience), context_of()
        resumed.load_state_dict(stopping.state_dict(), in_place=True)
        resumed.on_train_begin(context)
        assert context.get_stop_requested() is ends


def test_progress_counts_the_rows_of_all_epochs_and_those_that_were_done_before(capsys):
    with ProgressBar() as progress:
        progress.on_train_begin(context_of(cur_step_num=48))
        progress.on_train_step_end(context_of(cur_step_num=49, loss=0.5))
        progress.on_train_step_end(context_of(cur_step_num=50))
    line = capsys.readouterr().out
    assert line.startswith("train: 200 rows in ")  # 2 epochs of 25 steps of 4 rows
    assert line.endswith(", epoch 2/2, loss 0.5000\n")
    with ProgressBar() as progress:  # a block of five steps
        progress.on_train_begin(context_of(cur_step_num=45))
        progress.on_train_step_end(context_of(cur_step_num=50, sink_size=5, loss=0.5))
    assert capsys.readouterr().out.startswith("train: 200 rows in ")


def test_results_are_published_after_each_checkpoint():
    calls = []
    upload = Upload(lambda: calls.append(1))
    call_hook("before_save", context_of(upload))
    assert not calls
    call_hook("after_save", context_of(upload))
    assert calls == [1]


def test_hooks_are_called_in_the_order_of_the_list_and_only_where_there_are_some():
    import mindspore.train

    calls = []

    class Old(mindspore.train.Callback):
        """With MindSpore's older names, which are those of training here."""

        def begin(self, run_context):
            calls.append("old begins")

        def step_end(self, run_context):
            calls.append("old step ends")

    class New(Callback):
        def on_train_step_end(self, run_context):
            calls.append("new step ends")

        def on_eval_begin(self, run_context):
            calls.append("new evaluates")

    by_instance = mindspore.train.LambdaCallback(on_train_step_end=lambda run_context: calls.append("lambda"))
    context = context_of(New(), Old(), by_instance)
    for hook in ("on_train_begin", "on_train_step_end", "on_eval_begin", "on_eval_end", "before_save"):
        call_hook(hook, context)
    assert calls == ["old begins", "new step ends", "old step ends", "lambda", "new evaluates"]
