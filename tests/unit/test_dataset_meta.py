# SPDX-License-Identifier: Apache-2.0
import json
import shutil

import pytest

from src.common.errors import UserError
from src.dataset_meta import META_NAME, DatasetMeta


@pytest.fixture
def folder(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "mindrecord")


def test_saving_what_was_loaded_gives_the_same_bytes(folder, tmp_path):
    data = DatasetMeta.load(folder)
    data.save(tmp_path)
    assert (tmp_path / META_NAME).read_bytes() == (folder / META_NAME).read_bytes()


def test_the_path_is_that_of_the_folder_and_is_not_part_of_the_file(dataset, folder):
    data, original = DatasetMeta.load(folder), DatasetMeta.load(str(dataset))
    assert (data.path, original.path) == (folder, dataset)
    assert data == original
    assert "path" not in json.loads((folder / META_NAME).read_text())


@pytest.mark.parametrize(
    "name", ["train_input_part.mindrecord00", "valid_input_part.mindrecord00.db", "vocabulary.tsv"]
)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(UserError, match=f"{name} is missing"):
        DatasetMeta.load(folder)


def test_a_truncated_shard_is_named(folder):
    shard = folder / "test_input_part.mindrecord00"
    shard.chmod(0o600)
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"test_input_part\.mindrecord00 has .* bytes, not .*; preprocess again"):
        DatasetMeta.load(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format_version": 1}', '{"format_version": 1, "splits": {"train": {}}}']
)
def test_a_damaged_file_is_refused(folder, text):
    (folder / META_NAME).write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        DatasetMeta.load(folder)


def test_another_version_is_refused(folder):
    content = json.loads((folder / META_NAME).read_text())
    (folder / META_NAME).write_text(json.dumps({**content, "format_version": 99}))
    with pytest.raises(UserError, match="another version"):
        DatasetMeta.load(folder)


def test_for_the_parent_folder_the_right_one_is_suggested(folder):
    with pytest.raises(UserError, match=f"did you mean --dataset_path={folder}"):
        DatasetMeta.load(folder.parent)


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"names a folder that src/preprocess_data\.py wrote"):
        DatasetMeta.load(tmp_path)
