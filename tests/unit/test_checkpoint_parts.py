# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in parts, as several ranks write them: one process reads them, and others with any number of parts."""

import json
import re

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from src.checkpoint import ModelFolder, find_checkpoint
from src.checkpoint_parts import PartFile, save_part
from src.common.errors import UserError
from src.common.files import file_sha256
from src.data_identity import DataIdentity
from src.deepfm import DeepFM, DeepFMConfig
from src.network.tables import Part, copy_part, is_table
from src.training.train_step import build_train_step

pytestmark = pytest.mark.usefixtures("seeded")
CONFIG = DeepFMConfig(11, 4, 3, 5, (6,))
IDENTITY = DataIdentity("", (), (), "", (), CONFIG.vocabulary_size)


class PartCell(nn.Cell):
    """A part of the tables of another cell, with their moments and EMA weights."""

    def __init__(self, cell, part):
        super().__init__()
        for number, whole in enumerate(tables_of(cell)):
            own = np.zeros(part.shape(whole.name, whole.shape), np.float32)
            copy_part(whole.name, whole.shape, whole.asnumpy(), Part(), own, part)
            self.insert_param_to_cell(f"table{number}", Parameter(Tensor(own), name=whole.name))


def tables_of(cell):
    return [each for each in cell.get_parameters() if is_table(each.name)]


def make_train_step(ema_decay=0.0):
    """Return a TrainStep of which all parameters differ from each other."""
    train_step = build_train_step(DeepFM(CONFIG), 0.01, 5e-8, 1e-4, ema_decay=ema_decay)
    random = np.random.default_rng(2)
    for parameter in train_step.get_parameters():
        if parameter.dtype == ms.float32 and parameter.shape:
            parameter.set_data(Tensor(random.normal(0, 1, parameter.shape).astype(np.float32)))
    return train_step


def save_in_parts(folder, train_step, count, epoch=1):
    """Save as so many ranks do."""
    stem = folder.path_of(epoch, 3).stem
    paths = [folder.path / f"{stem}.part-{index}-of-{count}.safetensors" for index in range(count)]
    for index, path in enumerate(paths):
        save_part(PartCell(train_step, Part(index, count)), path)
    parts = [PartFile(path.name, file_sha256(path)) for path in paths]
    folder.save(train_step, epoch, 3, {}, {"step": epoch}, parts=parts)


@pytest.fixture
def folder(tmp_path):
    return ModelFolder.create(tmp_path / "checkpoint", CONFIG, IDENTITY)


@pytest.mark.parametrize("count", [2, 3, 6])  # the last of 6 parts has no column
def test_one_process_loads_all_that_several_ranks_have_saved(folder, count):
    train_step = make_train_step()
    save_in_parts(folder, train_step, count)
    saved = set(ms.load_checkpoint(str(folder.path_of(1, 3))))
    assert {"global_step", "dense_embedding", "moment1.dense_embedding"} <= saved
    assert not any(map(is_table, saved))
    resumed = build_train_step(DeepFM(CONFIG), 0.01, 5e-8, 1e-4)
    find_checkpoint(folder.path).load_into(resumed)
    for one, other in zip(train_step.get_parameters(), resumed.get_parameters(), strict=True):
        np.testing.assert_array_equal(one.asnumpy(), other.asnumpy(), err_msg=one.name)


@pytest.mark.parametrize("saved", [1, 2, 3])
@pytest.mark.parametrize("loaded", [2, 3])
def test_each_rank_loads_its_part_of_any_number_of_parts(folder, saved, loaded):
    train_step = make_train_step()
    if saved == 1:
        folder.save(train_step, 1, 3, {}, {})
    else:
        save_in_parts(folder, train_step, saved)
    for index in range(loaded):
        expected = PartCell(train_step, Part(index, loaded))
        cell = PartCell(make_train_step(), Part(index, loaded))
        for parameter in cell.get_parameters():
            parameter.set_data(Tensor(np.full(parameter.shape, 7, np.float32)))
        find_checkpoint(folder.path).load_into(cell, Part(index, loaded))
        for one, other in zip(expected.get_parameters(), cell.get_parameters(), strict=True):
            np.testing.assert_array_equal(one.asnumpy(), other.asnumpy(), err_msg=one.name)


def test_the_network_has_the_averages_of_all_parts(folder):
    train_step = make_train_step(ema_decay=0.9)
    save_in_parts(folder, train_step, 2)
    network = find_checkpoint(folder.path).load_network()
    averages = {each.name.removeprefix("average."): each.asnumpy() for each in train_step.ema_weights}
    for parameter in network.trainable_params():
        np.testing.assert_array_equal(parameter.asnumpy(), averages[parameter.name], err_msg=parameter.name)


def test_model_json_lists_the_parts_under_a_version_that_older_programs_refuse(folder):
    save_in_parts(folder, make_train_step(), 2)
    loaded = ModelFolder.load(folder.path)
    assert loaded.checkpoints == folder.checkpoints
    assert [part.file for part in loaded.best.parts] == [f"deepfm-1_3.part-{at}-of-2.safetensors" for at in (0, 1)]
    loaded.best.check_resumable()
    assert loaded.format_version == 4
    loaded.save(make_train_step(), 2, 3, {}, {})
    loaded.drop_after(loaded.best)
    assert ModelFolder.load(folder.path).format_version == 4
    (first, second) = loaded.checkpoints
    assert first.identity != first.sha256
    assert second.identity == second.sha256


def test_a_missing_a_swapped_and_a_damaged_part_are_refused(folder):
    save_in_parts(folder, make_train_step(), 2)
    one, other = (folder.path / part.file for part in folder.best.parts)
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    with pytest.raises(
        UserError, match=r"part-0-of-2\.safetensors is damaged or truncated: its SHA-256 is not the one"
    ):
        find_checkpoint(folder.path).load_network()
    one.write_bytes(kept)
    find_checkpoint(folder.path).load_network()
    other.write_bytes(other.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"part-1-of-2\.safetensors is damaged or truncated"):
        find_checkpoint(folder.path).load_network()
    other.unlink()
    with pytest.raises(UserError, match=r"part-1-of-2\.safetensors is missing$"):
        find_checkpoint(folder.path).load_network()


def test_a_part_of_other_tables_is_refused(folder):
    save_in_parts(folder, make_train_step(), 2)
    path = folder.path / "model.json"
    content = json.loads(path.read_text())
    content["network"]["vocabulary_size"] = 12
    path.write_text(json.dumps(content))
    message = r"does not hold the network of model\.json: part 0 of 2 has \(11, 3\) of embedding, not \(12, 3\)"
    with pytest.raises(UserError, match=message):
        find_checkpoint(folder.path).load_network()


def test_training_resumes_before_a_checkpoint_that_lacks_a_part(folder, capsys):
    train_step = make_train_step()
    for epoch in (1, 2):
        save_in_parts(folder, train_step, 2, epoch)
    (folder.path / folder.checkpoints[1].parts[1].file).unlink()
    found = ModelFolder.load(folder.path)
    last = found.last_intact()
    assert last.epoch == 1
    assert "deepfm-2_3.part-1-of-2.safetensors is missing; resuming from the one before it" in capsys.readouterr().out
    found.drop_after(last)
    names = ["deepfm-1_3.ckpt", *(f"deepfm-1_3.part-{at}-of-2.safetensors" for at in (0, 1)), "model.json"]
    assert sorted(path.name for path in folder.path.iterdir()) == names


def test_parts_are_removed_with_their_checkpoint_and_what_a_killed_save_left(folder):
    folder.keep = 1
    train_step = make_train_step()
    (folder.path / "deepfm-1_2.part-0-of-2.safetensors").touch()
    (folder.path / "deepfm-1_2.part-1-of-2.safetensors.tmp").touch()
    for epoch in (1, 2):
        save_in_parts(folder, train_step, 2, epoch)
    listed = {"deepfm-2_3.ckpt", *(part.file for part in folder.best.parts), "model.json"}
    assert {path.name for path in folder.path.iterdir()} == listed
    ModelFolder.create(folder.path, CONFIG, IDENTITY, overwrite=True)
    assert list(folder.path.iterdir()) == []


def test_a_part_that_cannot_be_written_is_named_and_leaves_nothing(folder):
    path = folder.path / "none" / "part.safetensors"
    with pytest.raises(OSError, match=re.escape(str(path))):
        save_part(PartCell(make_train_step(), Part(0, 2)), path)
    assert list(folder.path.iterdir()) == []
