# SPDX-License-Identifier: Apache-2.0
import re

import pytest

from src.callback import TrainLogs
from src.common.errors import UserError

SCORES = {"AUC": 0.75, "log_loss": 0.5, "rows": 10, "eval_time": 0.25}


@pytest.fixture
def logs(tmp_path):
    """The logs of 2 epochs of 25 steps."""
    logs = TrainLogs(
        tmp_path / "loss.log", tmp_path / "auc.log", every=10, rows_per_step=4, steps_per_epoch=25, epochs=2
    )
    logs.start(0)
    return logs


def texts(path):
    """Return the lines of a log without their times."""
    lines = path.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in lines)
    return [line[20:] for line in lines]


def test_losses_are_logged_at_intervals_and_at_the_end_of_an_epoch(logs, tmp_path):
    for step in range(1, 51):
        if logs.is_due(step):
            logs.add_loss(step, 0.1 * step, 0.01)
    assert texts(tmp_path / "loss.log") == [
        "epoch: 1 step: 10, loss is 1",
        "epoch: 1 step: 20, loss is 2",
        "epoch: 1 step: 25, loss is 2.5",
        "epoch: 2 step: 10, loss is 3.5",
        "epoch: 2 step: 20, loss is 4.5",
        "epoch: 2 step: 25, loss is 5",
    ]


def test_looks_are_logged_with_the_step_unless_they_end_an_epoch(logs, tmp_path, capsys):
    logs.add_look(30, SCORES)
    logs.add_look(50, SCORES)
    assert texts(tmp_path / "auc.log") == [
        "epoch: 2 step: 5 valid AUC: 0.750000, log_loss: 0.500000, eval_time: 0.2s",
        "epoch: 2 valid AUC: 0.750000, log_loss: 0.500000, eval_time: 0.2s",
    ]
    assert capsys.readouterr().out.splitlines() == texts(tmp_path / "auc.log")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(logs, value):
    with pytest.raises(UserError, match=f"the loss is {value} at epoch 1 step 10; earlier checkpoints are kept"):
        logs.add_loss(10, value, 0.01)
    with pytest.raises(UserError, match=f"the log loss on valid is {value} at epoch 2 step 25"):
        logs.add_look(50, {**SCORES, "log_loss": value})


def test_what_came_after_a_checkpoint_is_cut_off(logs, tmp_path):
    logs.add_loss(10, 1, 0.01)
    sizes = logs.sizes()
    logs.add_loss(20, 2, 0.01)
    logs.add_look(25, SCORES)
    logs.cut(sizes)
    assert texts(tmp_path / "loss.log") == ["epoch: 1 step: 10, loss is 1"]
    assert texts(tmp_path / "auc.log") == []
    logs.cut([10_000, 10_000])  # nothing is there to cut off
    assert logs.sizes() == sizes


def test_a_rank_that_leaves_writing_to_another_only_checks(tmp_path, capsys):
    logs = TrainLogs(tmp_path / "loss.log", tmp_path / "auc.log", 1, 4, 25, 2, writes=False)
    logs.start(3)
    logs.add_loss(4, 1.0, 0.01)
    logs.add_look(25, SCORES)
    with pytest.raises(UserError, match="the loss is nan"):
        logs.add_loss(26, float("nan"), 0.01)
    logs.close()
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
