# SPDX-License-Identifier: Apache-2.0
import re
from types import SimpleNamespace

import numpy as np
import pytest
from mindspore import Tensor

from src.callback import LossLog, append_line
from src.errors import UserError


def step_end(callback, number, loss, batch_num=25):
    params = SimpleNamespace(
        cur_step_num=number,
        batch_num=batch_num,
        cur_epoch_num=(number - 1) // batch_num + 1,
        net_outputs=Tensor(np.float32(loss)),
    )
    callback.on_train_step_end(SimpleNamespace(original_args=lambda: params))


def test_losses_are_logged_at_intervals_and_at_the_end_of_an_epoch(tmp_path):
    path = tmp_path / "loss.log"
    callback = LossLog(path, every=10)
    for number in range(1, 51):
        step_end(callback, number, 0.1 * number)
    lines = path.read_text().splitlines()
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d epoch: \d+ step: \d+, loss is \d+(\.\d+)?", line)
        for line in lines
    )
    assert [line.split(" ", 2)[2] for line in lines] == [
        "epoch: 1 step: 10, loss is 1",
        "epoch: 1 step: 20, loss is 2",
        "epoch: 1 step: 25, loss is 2.5",
        "epoch: 2 step: 10, loss is 3.5",
        "epoch: 2 step: 20, loss is 4.5",
        "epoch: 2 step: 25, loss is 5",
    ]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, loss):
    callback = LossLog(tmp_path / "loss.log", every=1)
    with pytest.raises(UserError, match=f"the loss is {loss} at epoch 1 step 3; earlier checkpoints are kept"):
        step_end(callback, 3, loss)


def test_lines_are_appended(tmp_path):
    append_line(tmp_path / "a.log", "one")
    append_line(tmp_path / "a.log", "two")
    assert [line[20:] for line in (tmp_path / "a.log").read_text().splitlines()] == ["one", "two"]
