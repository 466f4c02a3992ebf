# SPDX-License-Identifier: Apache-2.0
import dataclasses
import itertools
import json

import pytest

from src.callback import TrainLogs
from src.checkpoint import DataIdentity, ModelFolder
from src.common.errors import UserError
from src.common.signals import StopSignals
from src.dataset import create_dataset
from src.dataset_meta import DatasetMeta
from src.deepfm import DeepFM, DeepFMConfig
from src.distributed.process_group import ProcessGroup
from src.training import trainer as trainer_module
from src.training.learning_rate import LearningRate
from src.training.run_record import RunRecord
from src.training.train_step import build_train_step
from src.training.trainer import Trainer, TrainPlan, TrainState

pytestmark = pytest.mark.usefixtures("seeded")
BATCH_SIZE = 50


@pytest.fixture
def fit(dataset, tmp_path):
    """Return a function that trains a small network by a plan of 20 steps an epoch; it returns folder and state."""

    def run(rate, with_valid=True, keep=0, **plan):
        meta = DatasetMeta.load(dataset)
        train_data = create_dataset(meta, "train", BATCH_SIZE, shuffle=True)
        valid_data = create_dataset(meta, "valid", BATCH_SIZE) if with_valid else None
        plan = TrainPlan(steps_per_epoch=train_data.get_dataset_size(), **plan)
        network = DeepFM(DeepFMConfig(meta.vocabulary_size, 7, 3, 2, (3,)))
        folder = ModelFolder.create(tmp_path / "ckpt", network.config, DataIdentity.of_dataset(meta), keep=keep)
        logs = TrainLogs(tmp_path / "loss.log", tmp_path / "auc.log", 10, BATCH_SIZE, plan.steps_per_epoch, plan.epochs)
        state = TrainState()
        rate = LearningRate(*rate, plan.total_steps)
        record = RunRecord(folder.path, {}, meta, "CPU")
        train_step = build_train_step(network, 0.1, 1e-8, 0.0)
        trainer = Trainer(
            train_step, rate, plan, state, valid_data, folder, logs, record, StopSignals(), ProcessGroup()
        )
        trainer.fit(train_data)
        return folder, state

    return run


def names(folder):
    return [saved.file.removeprefix("deepfm-").removesuffix(".ckpt") for saved in folder.checkpoints]


def test_without_improvement_training_ends_after_the_patience(fit):
    # A rate of 0 changes nothing: the first look is the best, the two that follow bring nothing.
    folder, state = fit(("plateau", 0.0), epochs=9, early_stop_patience=2)
    assert names(folder) == ["1_20", "2_20", "3_20"]
    assert (state.step, state.looks_without_gain, state.decays) == (60, 2, 2)
    assert folder.best.file == "deepfm-1_20.ckpt"


def test_with_improvement_it_goes_on_to_the_end(fit):
    folder, state = fit(("constant", 0.001), epochs=3, early_stop_patience=1)
    assert (state.step, state.looks_without_gain) == (60, 0)
    log_losses = [look["valid"]["log_loss"] for look in state.history]
    assert log_losses == sorted(log_losses, reverse=True)
    assert state.best_log_loss == log_losses[-1] == folder.best.valid["log_loss"]


def test_a_rate_that_is_too_high_is_lowered_look_by_look(fit):
    _, state = fit(("plateau", 0.0), epochs=4)
    assert [look["learning_rate"] for look in state.history] == [0.0] * 4
    assert state.decays == 3


def test_looks_and_checkpoints_come_when_they_are_due(fit):
    folder, state = fit(("constant", 0.001), epochs=2, eval_every_steps=8, save_checkpoint_steps=5)
    # Looks after the steps 8, 16, 24, 32 in all and at the ends of the epochs; checkpoints there and after each five.
    assert [look["step"] for look in state.history] == [8, 16, 20, 24, 32, 40]
    assert names(folder) == ["1_5", "1_8", "1_10", "1_15", "1_16", "1_20", "2_4", "2_5", "2_10", "2_12", "2_15", "2_20"]
    assert [saved.file for saved in folder.checkpoints if saved.metrics] == [
        f"deepfm-{place}.ckpt" for place in ("1_8", "1_16", "1_20", "2_4", "2_12", "2_20")
    ]


def test_old_checkpoints_go_but_never_the_best(fit):
    folder, _ = fit(("constant", 0.0), keep=2, epochs=2, save_checkpoint_steps=3)
    assert names(folder) == ["1_20", "2_19", "2_20"]
    assert sorted(path.name for path in folder.path.glob("*.ckpt")) == sorted(
        saved.file for saved in folder.checkpoints
    )
    assert folder.best.file == "deepfm-1_20.ckpt"


def test_without_a_valid_split_each_epoch_is_saved(fit):
    folder, state = fit(("constant", 0.001), with_valid=False, epochs=2)
    assert names(folder) == ["1_20", "2_20"]
    assert folder.best.file == "deepfm-2_20.ckpt"
    history = json.loads((folder.path / "run.json").read_text())["history"]
    assert history == state.history
    assert [look["valid"] for look in history] == [{}, {}]


def test_a_state_is_counted_in_the_steps_of_another_number_of_ranks():
    state = TrainState(step=24 + 7, rows_per_step=400, steps_per_epoch=12, looked_at=24)
    of_half = state.in_steps_of(200, 24)
    assert (of_half.step, of_half.looked_at) == (2 * 24 + 14, 48)
    assert of_half.in_steps_of(400, 12) == state
    # 2,800 rows of the third epoch are 3 whole steps of 800 rows, of which an epoch has 6.
    of_double = state.in_steps_of(800, 6)
    assert (of_double.step, of_double.looked_at) == (2 * 6 + 3, 12)
    assert TrainState().in_steps_of(400, 12) == TrainState(rows_per_step=400, steps_per_epoch=12)


def fail_at_validation(monkeypatch, number, outcome):
    """Let the validation with this number, from 1, end in `outcome`: raised if an exception, else its log loss."""
    real, count = trainer_module.score_split, itertools.count(1)

    def score_or_fail(*arguments):
        if next(count) != number:
            return real(*arguments)
        if isinstance(outcome, Exception):
            raise outcome
        split = real(*arguments)
        return dataclasses.replace(split, scores=split.scores | {"log_loss": outcome})

    monkeypatch.setattr(trainer_module, "score_split", score_or_fail)


def test_a_validation_that_fails_loses_no_step(fit, tmp_path, monkeypatch):
    fail_at_validation(monkeypatch, 2, RuntimeError("out of order"))
    with pytest.raises(RuntimeError, match="out of order"):
        fit(("constant", 0.001), epochs=3, keep=1)
    folder = ModelFolder.load(tmp_path / "ckpt", keep=1)
    assert names(folder) == ["1_20", "2_20"]  # the first one is the best as long as the second has no scores
    assert [bool(saved.metrics) for saved in folder.checkpoints] == [True, False]
    state = folder.checkpoints[-1].state
    assert (state["step"], state["looked_at"], len(state["history"])) == (40, 20, 1)
    assert folder.best.file == "deepfm-1_20.ckpt"


def test_weights_whose_validation_is_not_finite_are_not_kept_and_the_ones_before_are(fit, tmp_path, monkeypatch):
    fail_at_validation(monkeypatch, 2, float("nan"))
    with pytest.raises(
        UserError, match="the log loss on valid is nan at epoch 2 step 20; earlier checkpoints are kept"
    ):
        fit(("constant", 0.001), epochs=3, keep=1)
    assert names(ModelFolder.load(tmp_path / "ckpt")) == ["1_20"]
    assert [path.name for path in (tmp_path / "ckpt").glob("*.ckpt")] == ["deepfm-1_20.ckpt"]


def test_after_a_first_validation_that_is_not_finite_there_is_no_model(fit, tmp_path, monkeypatch):
    fail_at_validation(monkeypatch, 1, float("inf"))
    with pytest.raises(UserError, match="the log loss on valid is inf"):
        fit(("constant", 0.001), epochs=1)
    assert [path.name for path in (tmp_path / "ckpt").iterdir()] == ["run.json"]
