# SPDX-License-Identifier: Apache-2.0
import time

import pytest

from src.checkpoint import DataIdentity, ModelFolder
from src.dataset_meta import DatasetMeta
from src.training.save_checkpoint import SaveCheckpoint
from tests.training import context_of, untrained

pytestmark = pytest.mark.usefixtures("seeded")


@pytest.fixture
def run(dataset, tmp_path):
    """Return a function that ends steps of a training that saves; it returns the steps that were saved."""
    data = DatasetMeta.load(dataset)
    train_step, _ = untrained(data.vocabulary_size)
    config = train_step.network.network.config
    folder = ModelFolder.create(tmp_path, config, DataIdentity.of_dataset(data))

    def end_steps(steps, *intervals):
        callback = SaveCheckpoint(folder, *intervals)
        context = context_of(callback, train_network=train_step)
        params = context.original_args()
        params.state_dict = lambda: {"step": params.steps_done}
        callback.on_train_begin(context)
        for step in steps:
            params.cur_step_num = params.steps_done = step
            callback.on_train_step_end(context)
        return [each.state["step"] for each in folder.checkpoints]

    return end_steps


def test_it_saves_every_so_many_steps_over_all_epochs(run):
    assert run(range(1, 31), 10) == [10, 20, 30]


def test_it_saves_after_so_many_seconds(run, monkeypatch):
    # At the begin, then at each step, and once more where one is saved: 8 seconds have passed at the steps 2 and 5.
    now = iter([0.0, 3.0, 8.0, 8.5, 12.0, 16.4, 16.5, 17.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    assert run(range(1, 6), 0, 8) == [2, 5]


def test_it_saves_neither_by_steps_nor_by_seconds_if_both_are_zero(run):
    assert run(range(1, 31)) == []
