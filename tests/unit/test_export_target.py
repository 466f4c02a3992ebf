# SPDX-License-Identifier: Apache-2.0
import fcntl
import os
import pathlib
import time

import pytest

from src.common.errors import UserError
from src.export.target import export_target
from tests.limits import files_of_at_most
from tests.odd_paths import ODD_NAMES


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", [*ODD_NAMES, "v1.2/deepfm", "deepfm.v2", "a/../b/c", "new/and/deeper/deepfm"])
@pytest.mark.parametrize("file_format", ["MINDIR", "ONNX"])
def test_the_file_has_its_name_and_the_suffix_and_nothing_else_is_left(tmp_path, name, file_format):
    with export_target(name, file_format) as target:
        target.partial.write_text("content")
        target.commit()
    expected = os.path.normpath(f"{name}.{file_format.lower()}")  # a folder before .. need not exist
    assert open(expected).read() == "content"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [(tmp_path / expected).resolve()]
    assert not list(tmp_path.rglob(".deepfm*"))


def test_the_suffix_of_the_format_may_be_given(tmp_path):
    with export_target("deepfm.mindir", "MINDIR") as target:
        target.partial.touch()
        target.commit()
    assert os.listdir() == ["deepfm.mindir"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("models/", "must end with the name of a file"),
        ("..", "must end with the name of a file"),
        ("models/.", "must end with the name of a file"),
        ("deepfm.onnx", "is the suffix of ONNX, but --file_format=MINDIR"),
        ("folder", "is a folder, a file is wanted"),
        ("x" * 250, "File name too long"),
        ("plain/deepfm", "is a file, a folder is wanted"),
    ],
)
def test_an_impossible_name_is_refused_before_the_work_and_nothing_is_left(tmp_path, name, message):
    (tmp_path / "folder.mindir").mkdir()
    (tmp_path / "plain").touch()
    with pytest.raises(UserError, match=message), export_target(name, "MINDIR"):
        pytest.fail("the work has begun")
    assert sorted(os.listdir()) == ["folder.mindir", "plain"]


def test_a_failed_export_leaves_an_earlier_file_as_it_was_and_removes_new_folders(tmp_path):
    (tmp_path / "old.mindir").write_text("old")
    for name in ("old", "new/deeper/deepfm"):
        with pytest.raises(RuntimeError), export_target(name, "MINDIR") as target:
            target.partial.write_text("half")
            raise RuntimeError
    assert os.listdir() == ["old.mindir"]
    assert (tmp_path / "old.mindir").read_text() == "old"


def test_a_disk_that_is_full_leaves_an_earlier_file_as_it_was(tmp_path):
    (tmp_path / "old.mindir").write_text("old")
    with (
        files_of_at_most(100),
        pytest.raises(OSError, match="File too large"),
        export_target("old", "MINDIR") as target,
    ):
        target.partial.write_bytes(bytes(1000))
        target.commit()
    assert os.listdir() == ["old.mindir"]
    assert (tmp_path / "old.mindir").read_text() == "old"


def test_work_folders_of_killed_exports_are_removed_and_those_in_use_are_not(tmp_path):
    for name in ("killed", "running", "starting"):
        (tmp_path / f".deepfm-export-{name}").mkdir()
        if name != "starting":
            os.utime(tmp_path / f".deepfm-export-{name}", times=(time.time() - 3600,) * 2)
    running = os.open(tmp_path / ".deepfm-export-running", os.O_RDONLY)
    fcntl.flock(running, fcntl.LOCK_EX)
    with export_target("deepfm", "MINDIR"):
        pass
    os.close(running)
    assert sorted(os.listdir()) == [".deepfm-export-running", ".deepfm-export-starting"]


def test_the_file_can_be_read_by_all_whom_the_umask_allows(tmp_path):
    earlier = os.umask(0o027)
    try:
        with export_target("deepfm", "MINDIR") as target:
            target.partial.touch(0o400)  # as MindSpore makes it
            target.commit()
    finally:
        os.umask(earlier)
    assert (tmp_path / "deepfm.mindir").stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_is_replaced_and_the_file_that_it_names_stays(tmp_path):
    (tmp_path / "first.mindir").write_text("first")
    (tmp_path / "latest.mindir").symlink_to("first.mindir")
    with export_target("latest", "MINDIR") as target:
        target.partial.write_text("second")
        target.commit()
    assert (tmp_path / "first.mindir").read_text() == "first"
    assert (tmp_path / "latest.mindir").read_text() == "second"


def write_package(folder, content):
    folder.mkdir()
    (folder / "package.json").write_text(content)
    (folder / "model.onnx").touch(0o400)


@pytest.mark.parametrize("name", ["model", "model/", "new/deeper/model"])
def test_a_package_takes_the_place_of_an_earlier_one(tmp_path, name):
    earlier = os.umask(0o027)
    try:
        for content in ("first", "second"):
            with export_target(name, "PACKAGE") as target:
                write_package(target.partial, content)
                target.commit()
    finally:
        os.umask(earlier)
    path = tmp_path / name
    assert (path / "package.json").read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o750 and (path / "model.onnx").stat().st_mode & 0o777 == 0o640
    assert os.listdir(path.parent) == ["model"]


def test_a_package_that_fails_leaves_the_earlier_one(tmp_path):
    write_package(tmp_path / "model", "first")
    with pytest.raises(RuntimeError), export_target("model", "PACKAGE") as target:
        write_package(target.partial, "half")
        raise RuntimeError
    assert os.listdir() == ["model"]
    assert (tmp_path / "model" / "package.json").read_text() == "first"


def test_an_earlier_package_is_not_lost_whatever_happens_between_the_two_renames(tmp_path, monkeypatch):
    write_package(tmp_path / "model", "first")
    rename = pathlib.Path.rename

    def fail(source, target):
        if source.name == "model.partial":
            raise failure
        return rename(source, target)

    monkeypatch.setattr(pathlib.Path, "rename", fail)
    for failure in (OSError("disk"), KeyboardInterrupt()):
        with pytest.raises(type(failure)), export_target(str(tmp_path / "model"), "PACKAGE") as target:
            write_package(target.partial, "second")
            target.commit()
        assert (tmp_path / "model" / "package.json").read_text() == "first"
        assert os.listdir(tmp_path) == ["model"]


def test_a_package_that_a_kill_has_left_aside_stays_until_another_is_there(tmp_path):
    aside = tmp_path / ".deepfm-replaced-model"
    write_package(aside, "first")
    with export_target(str(tmp_path / "model"), "PACKAGE") as target:
        write_package(target.partial, "second")
        assert (aside / "package.json").read_text() == "first"
        target.commit()
    assert (tmp_path / "model" / "package.json").read_text() == "second"
    assert os.listdir(tmp_path) == ["model"]


def test_an_empty_folder_may_become_a_package(tmp_path):
    (tmp_path / "model").mkdir()
    with export_target("model", "PACKAGE") as target:
        write_package(target.partial, "new")
        target.commit()
    assert (tmp_path / "model" / "package.json").read_text() == "new"


def test_a_package_does_not_take_the_place_of_anything_else(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("notes", "file", "."):
        with pytest.raises(UserError, match="--file_name="), export_target(name, "PACKAGE"):
            pass
    assert (tmp_path / "notes" / "mine.txt").read_text() == (tmp_path / "file").read_text() == "mine"
