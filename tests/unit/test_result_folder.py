# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from src.common.errors import UserError
from src.dataset_meta import DatasetMeta
from src.preprocessing.result_folder import ResultFolder
from src.preprocessing.source import identify

SOURCE, SETTINGS = {"name": "train.txt", "bytes": 7}, {"threshold": 3}


def result_folder(path, source=SOURCE, settings=SETTINGS):
    return ResultFolder(path / "mindrecord", source, settings)


@pytest.fixture(scope="module")
def meta(dataset):
    return DatasetMeta.load(dataset)


def names(path):
    return sorted(entry.name for entry in path.iterdir())


def test_a_result_appears_complete_and_the_work_folder_goes(tmp_path, meta):
    folder = result_folder(tmp_path)
    (folder.start() / "shard").write_text("rows")
    assert (folder.is_finished(), folder.is_committed(), folder.path.exists()) == (False, False, False)
    folder.finish(meta)
    assert (folder.is_finished(), folder.is_committed(), folder.path.exists()) == (True, False, False)
    folder.commit()
    assert (folder.is_finished(), folder.is_committed()) == (False, True)
    assert names(tmp_path) == ["mindrecord"]
    assert names(folder.path) == ["dataset_meta.json", "shard", "source.json"]


def test_a_new_start_removes_the_unfinished_files_of_the_last_one(tmp_path, meta):
    folder = result_folder(tmp_path)
    (folder.start() / "shard").touch()
    folder.finish(meta)
    (folder.start() / "other").touch()
    assert names(folder.start()) == []
    assert not folder.is_finished()


@pytest.mark.parametrize(("source", "settings"), [({**SOURCE, "bytes": 8}, SETTINGS), (SOURCE, {"threshold": 4})])
def test_a_result_of_another_source_or_other_settings_is_not_this_one(tmp_path, meta, source, settings):
    other = result_folder(tmp_path, source, settings)
    other.start()
    other.finish(meta)
    assert not result_folder(tmp_path).is_finished()
    other.commit()
    folder = result_folder(tmp_path)
    assert not folder.is_committed()
    with pytest.raises(UserError, match=r"made from another file or with other settings; --overwrite=True replaces it"):
        folder.check_target(overwrite=False)
    folder.check_target(overwrite=True)
    (folder.start() / "new").touch()
    folder.finish(meta)
    folder.commit()
    assert names(tmp_path) == ["mindrecord"]
    assert "new" in names(folder.path)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"source": 1}'])
def test_a_result_whose_source_file_is_damaged_is_not_this_one(tmp_path, meta, content):
    folder = result_folder(tmp_path)
    folder.start()
    folder.finish(meta)
    folder.commit()
    (folder.path / "source.json").write_text(content)
    assert not folder.is_committed()


def test_a_folder_of_other_files_is_no_target_and_an_empty_one_is(tmp_path):
    folder = result_folder(tmp_path)
    folder.path.mkdir()
    folder.check_target(overwrite=False)
    (folder.path / "photo.jpg").touch()
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds other files than MindRecord"):
            folder.check_target(overwrite=overwrite)


def test_one_run_at_a_time_has_the_folder(tmp_path):
    folder = result_folder(tmp_path)
    again = result_folder(tmp_path).exclusive("data_path", "--data_path=x")
    with (
        folder.exclusive("data_path", "--data_path=x"),
        pytest.raises(UserError, match="another run is preprocessing"),
        again,
    ):
        pass
    with folder.exclusive("data_path", "--data_path=x"):
        pass
    assert names(tmp_path) == []


def test_the_identity_of_a_file_changes_with_its_name_size_and_time(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("0\t1")
    first = identify(path)
    assert (first["name"], first["bytes"]) == ("train.txt", 3)
    os.utime(path, ns=(0, first["mtime_ns"] + 1))
    assert identify(path) == {**first, "mtime_ns": first["mtime_ns"] + 1}
    assert identify(path.rename(tmp_path / "other"))["name"] == "other"
