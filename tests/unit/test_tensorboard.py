# SPDX-License-Identifier: Apache-2.0
"""Event files, read by TensorBoard itself."""

import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from src.common.errors import UserError
from src.training.tensorboard import Events

SCORES = {"AUC": 0.75, "log_loss": 0.5, "normalised_entropy": 0.875, "calibration": 1.0, "rows": 10}


def read(folder):
    """Return what TensorBoard shows: for each curve its (step, value)s."""
    accumulator = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def test_curves_are_those_of_the_run(tmp_path):
    events = Events(tmp_path, 0)
    events.add_loss(1, 0.75, 0.25)
    events.add_loss(2, 0.5, 0.125)
    events.add_look(2, SCORES)
    events.close()
    assert read(tmp_path) == {
        "train/loss": [(1, 0.75), (2, 0.5)], "train/learning_rate": [(1, 0.25), (2, 0.125)], "valid/AUC": [(2, 0.75)],
        "valid/log_loss": [(2, 0.5)], "valid/normalised_entropy": [(2, 0.875)], "valid/calibration": [(2, 1.0)],
    }  # fmt: skip


def test_what_a_killed_run_did_after_its_last_checkpoint_no_longer_shows(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", iter(range(10**9, 2 * 10**9)).__next__)  # a file is named by the second
    for start, losses in ((0, {1: 0.75, 2: 0.5, 3: 0.25}), (2, {3: 0.125, 4: 0.0625})):
        events = Events(tmp_path, start)
        for step, loss in losses.items():
            events.add_loss(step, loss, 1)  # and is on the disk; after the last one the run is killed
    assert read(tmp_path)["train/loss"] == [(1, 0.75), (2, 0.5), (3, 0.125), (4, 0.0625)]


def test_without_the_package_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto", None)
    with pytest.raises(UserError, match=r"--tensorboard_dir=.* needs a package: pip install tensorboard"):
        Events(tmp_path, 0)
