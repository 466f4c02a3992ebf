# SPDX-License-Identifier: Apache-2.0
"""A real training: the checkpoints that are kept, by their validation and after errors."""

import dataclasses
import json

import pytest

from src.callback import NotFinite
from src.checkpoint import ModelFolder
from tests.training import Training, lines_of

pytestmark = pytest.mark.usefixtures("seeded")


def test_old_checkpoints_are_removed_but_never_the_best(dataset, tmp_path):
    training = Training(dataset, tmp_path, epochs=2, schedule=("constant", 0.0), keep=2, save_every=3).fit()
    assert training.positions() == ["1_20", "2_19", "2_20"]
    names = sorted(path.name for path in training.folder.path.glob("*.ckpt"))
    assert names == sorted(each.file for each in training.folder.checkpoints)
    assert training.folder.best.file == "deepfm-1_20.ckpt"


def test_without_a_validation_set_each_epoch_is_saved(dataset, tmp_path):
    training = Training(dataset, tmp_path, epochs=2, has_validation=False, patience=1).fit()
    assert training.positions() == ["1_20", "2_20"]
    assert training.folder.best.file == "deepfm-2_20.ckpt"
    history = json.loads((tmp_path / "ckpt" / "run.json").read_text())["history"]
    assert [(each["step"], each["valid"]) for each in history] == [(20, {}), (40, {})]
    assert not (tmp_path / "auc.log").exists()


def fail_at_validation(training, number, result):
    """Let the validation with this number, from 1, end in `result`: raised if an exception, else its log loss."""
    real, count = training.evaluate, iter(range(1, 100))

    def evaluate_or_fail():
        if next(count) != number:
            return real()
        if isinstance(result, Exception):
            raise result
        evaluation = real()
        return dataclasses.replace(evaluation, metrics=evaluation.metrics | {"log_loss": result})

    training.evaluate = evaluate_or_fail
    return training


def test_a_validation_that_fails_loses_no_step(dataset, tmp_path):
    training = fail_at_validation(Training(dataset, tmp_path, epochs=3, keep=1), 2, RuntimeError("out of order"))
    with pytest.raises(RuntimeError, match="out of order"):
        training.fit()
    folder = ModelFolder.load(tmp_path / "ckpt", keep=1)
    assert [each.file for each in folder.checkpoints] == ["deepfm-1_20.ckpt", "deepfm-2_20.ckpt"]
    assert [bool(each.metrics) for each in folder.checkpoints] == [True, False]
    state = folder.checkpoints[-1].state
    assert (state["step"], state["callbacks"]["RunRecord"]["history"]) == (40, 1)
    assert state["pending"][0] == ["on_train_step_end", "Validation"]
    assert folder.best.file == "deepfm-1_20.ckpt"  # as long as the second has no metrics


def test_a_log_that_cannot_be_written_after_a_validation_leaves_the_validation_to_do(dataset, tmp_path):
    (tmp_path / "auc.log").mkdir()
    with pytest.raises(OSError, match=r"auc\.log'; the last checkpoint is .*deepfm-1_20\.ckpt"):
        Training(dataset, tmp_path).fit()
    (tmp_path / "auc.log").rmdir()
    assert ModelFolder.load(tmp_path / "ckpt").checkpoints[-1].metrics == {}
    training = Training(dataset, tmp_path).resume()
    assert training.folder.best.metrics
    assert len(lines_of(tmp_path / "auc.log")) == 1
    assert training.state_of("RunRecord") == {"losses": 2, "history": 1}


def test_weights_whose_validation_is_not_finite_are_removed_and_earlier_ones_kept(dataset, tmp_path):
    training = fail_at_validation(Training(dataset, tmp_path, epochs=3, keep=1), 2, float("nan"))
    with pytest.raises(NotFinite, match="the validation log loss is nan at epoch 2 step 20"):
        training.fit()
    assert [path.name for path in (tmp_path / "ckpt").glob("*.ckpt")] == ["deepfm-1_20.ckpt"]
    assert [each.file for each in ModelFolder.load(tmp_path / "ckpt").checkpoints] == ["deepfm-1_20.ckpt"]
    assert len(lines_of(tmp_path / "auc.log")) == 1


def test_after_a_first_validation_that_is_not_finite_there_is_no_model(dataset, tmp_path):
    training = fail_at_validation(Training(dataset, tmp_path), 1, float("inf"))
    with pytest.raises(NotFinite, match="the validation log loss is inf"):
        training.fit()
    assert [path.name for path in (tmp_path / "ckpt").iterdir()] == ["run.json"]


def test_a_loss_that_is_not_finite_is_logged_and_not_saved(dataset, tmp_path):
    training = Training(dataset, tmp_path, schedule=("constant", 1e30), save_every=10, has_validation=False)
    with pytest.raises(NotFinite, match=r"the loss is (nan|inf) at epoch 1 step 10; earlier checkpoints are kept"):
        training.fit()
    assert len(lines_of(tmp_path / "loss.log")) == 1
    assert list((tmp_path / "ckpt").iterdir()) == []
