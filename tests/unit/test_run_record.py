# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.training.run_record import RUN_NAME, RunRecord
from tests.training import context_of

SETTINGS = {"seed": 1, "learning_rate": 0.01, "dataset_path": "data", "output_dir": None, "negative_label": 0}


@pytest.fixture
def meta(dataset):
    return DatasetMeta.load(dataset)


@pytest.fixture
def earlier(tmp_path, meta):
    """The folder of a run with two losses, after half an epoch and after one."""
    record = RunRecord(tmp_path, SETTINGS, meta, "CPU")
    record.on_train_step_end(context_of(cur_step_num=12, loss=0.7))
    record.on_train_step_end(context_of(cur_step_num=13))  # not logged
    record.on_train_step_end(context_of(cur_step_num=25, loss=0.6, learning_rate=0.02))
    record.on_eval_end(context_of(cur_step_num=25, metrics={"auc": 0.7}, learning_rate=0.02))
    record.before_save(context_of())
    return tmp_path


def resume(folder, meta, **settings):
    record = RunRecord(folder, {**SETTINGS, **settings}, meta, "CPU")
    return record, record.resume_from(folder)


def content_of(folder):
    return json.loads((folder / RUN_NAME).read_text())


def change(folder, key, value):
    content = json.loads((folder / RUN_NAME).read_text())
    content[key] = value
    (folder / RUN_NAME).write_text(json.dumps(content))


def test_losses_and_validations_are_recorded_with_the_epochs_done_and_the_learning_rate(earlier):
    content = content_of(earlier)
    assert content["losses"] == [[0.48, 0.7, 0.01], [1.0, 0.6, 0.02]]
    assert content["history"] == [
        {"epoch": 1, "step": 25, "epochs_done": 1.0, "learning_rate": 0.02, "valid": {"auc": 0.7}}
    ]


def test_resuming_with_the_same_settings_needs_no_note_and_drops_the_entries_after_the_checkpoint(earlier, meta):
    record, notes = resume(earlier, meta, output_dir="elsewhere")
    assert notes == []
    assert record.state_dict() == {"losses": 2, "history": 1}
    record.load_state_dict({"losses": 1, "history": 0}, in_place=True)
    record.on_train_step_end(context_of(cur_step_num=25, loss=0.5))
    record.before_save(context_of())
    content = content_of(earlier)
    assert content["losses"] == [[0.48, 0.7, 0.01], [1.0, 0.5, 0.01]]
    assert content["history"] == []


def test_a_changed_setting_is_noted_with_both_values(earlier, meta):
    assert resume(earlier, meta, learning_rate=0.1)[1] == ["--learning_rate=0.1 from here on; it was 0.01"]


def test_settings_that_an_earlier_version_did_not_have_are_not_noted(earlier, meta):
    change(earlier, "settings", {"seed": 1, "learning_rate": 0.01, "dataset_path": "data"})
    assert resume(earlier, meta)[1] == []


def test_another_seed_is_refused(earlier, meta):
    with pytest.raises(UserError, match=r"--seed=2: the run in .* has 1"):
        resume(earlier, meta, seed=2)


def test_other_data_are_refused(earlier, meta):
    change(earlier, "data", {"vocabulary_sha256": "0", "files": {}})
    with pytest.raises(UserError, match=r"--dataset_path=data: the run in .* has other data"):
        resume(earlier, meta)


@pytest.mark.parametrize("content", [None, "{", '{"settings": {}}'])
def test_a_missing_or_damaged_record_is_named(earlier, meta, content):
    (earlier / RUN_NAME).unlink()
    if content is not None:
        (earlier / RUN_NAME).write_text(content)
    with pytest.raises(UserError, match=r"run\.json is missing or damaged, so this run cannot be resumed"):
        resume(earlier, meta)
