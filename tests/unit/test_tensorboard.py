# SPDX-License-Identifier: Apache-2.0
"""Event files, read by TensorBoard itself."""

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.common.errors import UserError
from src.training.tensorboard import TensorBoard
from tests.training import context_of

METRICS = {"auc": 0.75, "log_loss": 0.5, "normalised_entropy": 0.875, "calibration": 1.0}


def read(folder):
    """Return the curves that TensorBoard shows: for each its (step, value)s."""
    accumulator = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def test_curves_are_those_of_the_run(tmp_path):
    with TensorBoard(tmp_path) as board:
        board.on_train_begin(context_of())
        board.on_train_step_end(context_of(cur_step_num=1, loss=0.75, learning_rate=0.25))
        board.on_train_step_end(context_of(cur_step_num=2, loss=0.5, learning_rate=0.125))
        board.on_train_step_end(context_of(cur_step_num=3))  # its loss is not logged
        board.on_eval_end(context_of(cur_step_num=2, metrics=METRICS))
        board.on_eval_end(context_of(cur_step_num=3))  # without a validation set
    assert read(tmp_path) == {
        "train/loss": [(1, 0.75), (2, 0.5)], "train/learning_rate": [(1, 0.25), (2, 0.125)], "valid/AUC": [(2, 0.75)],
        "valid/log_loss": [(2, 0.5)], "valid/normalised_entropy": [(2, 0.875)], "valid/calibration": [(2, 1.0)],
    }  # fmt: skip


def test_events_of_a_killed_run_after_its_last_checkpoint_no_longer_show(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", iter(range(10**9, 2 * 10**9)).__next__)  # a file is named by the second
    for start, losses in ((0, {1: 0.75, 2: 0.5, 3: 0.25}), (2, {3: 0.125, 4: 0.0625})):
        board = TensorBoard(tmp_path)
        board.on_train_begin(context_of(cur_step_num=start))
        for step, loss in losses.items():
            board.on_train_step_end(context_of(cur_step_num=step, loss=loss))  # and is on the disk; the last is killed
    assert read(tmp_path)["train/loss"] == [(1, 0.75), (2, 0.5), (3, 0.125), (4, 0.0625)]


def test_without_the_package_the_fix_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(UserError, match=r"--tensorboard_dir=.* needs a package: pip install tensorboard"):
        TensorBoard(tmp_path).on_train_begin(context_of())
