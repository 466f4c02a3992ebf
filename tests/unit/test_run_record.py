# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.training.run_record import RUN_NAME, RunRecord
from src.training.trainer import TrainState

SETTINGS = {"seed": 1, "learning_rate": 0.01, "dataset_path": "data", "output_dir": None, "negative_label": 0}


@pytest.fixture
def meta(dataset):
    return DatasetMeta.load(dataset)


@pytest.fixture
def earlier(tmp_path, meta):
    """The folder of a run with two losses, after half an epoch and after one."""
    record = RunRecord(tmp_path, SETTINGS, meta, "CPU")
    record.add_loss(0.5, 0.7, 0.01)
    record.add_loss(1.0, 0.6, 0.01)
    record.write(TrainState())
    return tmp_path


def resume(folder, meta, epochs_done=1.0, **settings):
    record = RunRecord(folder, {**SETTINGS, **settings}, meta, "CPU")
    return record, record.go_on_from(folder, epochs_done)


def change(folder, key, value):
    content = json.loads((folder / RUN_NAME).read_text())
    content[key] = value
    (folder / RUN_NAME).write_text(json.dumps(content))


def test_the_same_settings_need_no_note_and_losses_after_the_checkpoint_are_dropped(earlier, meta):
    record, notes = resume(earlier, meta, epochs_done=0.5, output_dir="elsewhere")
    assert notes == []
    record.write(TrainState())
    assert json.loads((earlier / RUN_NAME).read_text())["losses"] == [[0.5, 0.7, 0.01]]


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
    with pytest.raises(UserError, match=r"run\.json is missing or damaged"):
        resume(earlier, meta)
