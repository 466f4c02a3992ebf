# SPDX-License-Identifier: Apache-2.0
"""Single files on the real file system: written completely or not at all."""

import hashlib
import os
import re
import shutil

import pytest

from src.common.errors import UserError
from src.common.files import (
    append_line,
    check_room,
    file_sha256,
    partial_path,
    read_json,
    replaced,
    replaced_folder,
    size_of,
    write_json,
    write_text,
)
from tests.limits import files_of_at_most


def test_a_text_that_cannot_be_written_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "page.html"
    write_text(path, "before")
    with files_of_at_most(100), pytest.raises(OSError, match=f"File too large: '{path}'"):
        write_text(path, "x" * 1000)
    assert path.read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_a_binary_file_is_replaced_at_the_end_of_the_block(tmp_path):
    path = tmp_path / "rows.npz"
    path.write_bytes(b"before")
    with replaced(path) as partial:
        partial.write_bytes(b"after\x00")
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after\x00"
    assert [file.name for file in tmp_path.iterdir()] == ["rows.npz"]


def test_a_binary_file_that_cannot_be_written_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "rows.npz"
    path.write_bytes(b"before")
    with (
        files_of_at_most(100),
        pytest.raises(OSError, match=f"File too large: '{path}'"),
        replaced(path) as partial,
        partial.open("wb") as file,
    ):
        file.write(bytes(1000))
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == ["rows.npz"]


def test_an_error_of_another_file_keeps_its_name_and_leaves_the_earlier_file(tmp_path):
    (tmp_path / "copy").write_text("before")
    with pytest.raises(FileNotFoundError, match="none'"), replaced(tmp_path / "copy") as partial:
        partial.write_text("half")
        shutil.copy(tmp_path / "none", partial)
    assert (tmp_path / "copy").read_text() == "before"
    assert [file.name for file in tmp_path.iterdir()] == ["copy"]


def test_a_folder_that_does_not_exist_is_an_error_that_names_the_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"'{tmp_path}/none/rows.npz'")):
        write_text(tmp_path / "none" / "rows.npz", "text")


def test_a_folder_is_replaced_at_the_end_of_the_block(tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "old.bin").touch()
    (tmp_path / "inputs.partial").mkdir()
    (tmp_path / "inputs.partial" / "of_a_killed_run.bin").touch()
    with replaced_folder(tmp_path / "inputs") as partial:
        (partial / "new.bin").touch()
        assert os.listdir(tmp_path / "inputs") == ["old.bin"]
    assert os.listdir(tmp_path) == ["inputs"]
    assert os.listdir(tmp_path / "inputs") == ["new.bin"]


def test_a_folder_that_cannot_be_written_leaves_the_earlier_folder(tmp_path):
    (tmp_path / "inputs").mkdir()
    (tmp_path / "inputs" / "old.bin").touch()
    with (
        files_of_at_most(100),
        pytest.raises(OSError, match="File too large"),
        replaced_folder(tmp_path / "inputs") as partial,
    ):
        (partial / "new.bin").write_bytes(bytes(1000))
    assert os.listdir(tmp_path) == ["inputs"]
    assert os.listdir(tmp_path / "inputs") == ["old.bin"]


def test_content_that_is_not_json_leaves_the_earlier_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, None]})
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": object()})
    assert read_json(tmp_path / "a.json") == {"a": [1, None]}
    assert read_json(tmp_path / "b.json") is None


def test_a_symbolic_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "text")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "target").read_text() == "text"


def test_a_path_that_is_no_utf8_can_stand_in_a_text(tmp_path):
    write_text(tmp_path / "x", os.fsdecode(b"a\xffb"))
    assert (tmp_path / "x").read_bytes() == rb"a\udcffb"


def test_lines_are_appended_with_the_time(tmp_path):
    append_line(tmp_path / "a.log", "one")
    append_line(tmp_path / "a.log", "two")
    times = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.fullmatch(f"{times} one\n{times} two\n", (tmp_path / "a.log").read_text())


def test_a_line_that_does_not_fit_leaves_none_of_it(tmp_path):
    append_line(tmp_path / "a.log", "one")
    size = size_of(tmp_path / "a.log")
    with files_of_at_most(size + 10), pytest.raises(OSError, match=re.escape(f"'{tmp_path / 'a.log'}'")):
        append_line(tmp_path / "a.log", "two")
    assert size_of(tmp_path / "a.log") == size > 0
    assert size_of(tmp_path / "b.log") == 0


def test_a_digest_is_that_of_all_chunks(tmp_path):
    content = bytes(range(256)) * 10_000  # more than two chunks
    (tmp_path / "x").write_bytes(content)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(("name", "expected"), [("a/b", "a/b.partial"), ("a/b/", "a/b.partial")])
def test_the_partial_path_is_a_sibling(name, expected):
    assert str(partial_path(name)) == expected


def test_the_partial_path_of_the_working_folder_has_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert partial_path(".") == tmp_path.with_name(f"{tmp_path.name}.partial")


def test_two_percent_of_a_disk_stay_free(tmp_path, monkeypatch):
    usage = type(shutil.disk_usage(tmp_path))(total=100 * 10**9, used=90 * 10**9, free=10 * 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    check_room(tmp_path, 8 * 10**9, "a.zip")
    with pytest.raises(UserError, match=re.escape(f"a.zip needs 8.1 GB, {tmp_path} has room for 8.0")):
        check_room(tmp_path, 8_100_000_000, "a.zip")
