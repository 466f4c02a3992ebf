# SPDX-License-Identifier: Apache-2.0
"""Outputs that can be written, and those that cannot, on the real file system."""

import os
import subprocess
import sys

import pytest

from src.common.errors import UserError
from src.common.files import write_text
from src.common.output_paths import Kind, Output, prepared
from tests.conftest import ROOT


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("kind", Kind)
def test_missing_folders_exist_during_the_work_and_are_removed_if_nothing_was_written(tmp_path, kind):
    path = tmp_path / "a" / "b" / "c"
    with prepared([Output("flag", path, kind)]):
        assert tree(tmp_path) == (["a", "a/b", "a/b/c"] if kind is Kind.FOLDER else ["a", "a/b"])
    assert tree(tmp_path) == []
    with prepared([Output("flag", path, kind)]):
        (path.parent / "result").touch()
    assert "a/b/result" in tree(tmp_path)


@pytest.mark.parametrize("kind", [Kind.LOG, Kind.FILE])
def test_the_content_of_a_file_is_left_alone(tmp_path, kind):
    (tmp_path / "x.log").write_text("before\n")
    with prepared([Output("flag", tmp_path / "x.log", kind)]):
        pass
    assert (tmp_path / "x.log").read_text() == "before\n"
    assert tree(tmp_path) == ["x.log"]


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("folder", Kind.LOG, "--flag={}/folder cannot be written: is a folder, a file is wanted; name another path"),
        ("folder", Kind.FILE, "--flag={}/folder cannot be written: is a folder, a file is wanted; name another path"),
        ("file", Kind.FOLDER, "--flag={}/file cannot be written: is a file, a folder is wanted; name another path"),
        ("file/x", Kind.LOG, "--flag={0}/file/x cannot be written: {0}/file: is a file, a folder is wanted"),
        ("new/file/../../file/x/y", Kind.FOLDER, "{0}/file: is a file, a folder is wanted"),
        ("new/" + "n" * 300, Kind.LOG, "File name too long"),
        ("/proc/none/x.log", Kind.LOG, "--flag=/proc/none/x.log cannot be written: /proc/none: No such file"),
    ],
)
def test_an_output_that_cannot_be_written_is_named_and_nothing_is_left(tmp_path, path, kind, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    outputs = [
        Output("other", tmp_path / "new" / "deep" / "other.log", Kind.LOG),
        Output("flag", tmp_path / path, kind),
    ]
    with pytest.raises(UserError) as caught, prepared(outputs):
        pass
    assert message.format(tmp_path) in str(caught.value)
    assert tree(tmp_path) == ["file", "folder"]


def test_one_file_for_two_outputs_is_refused_unless_both_append_lines(tmp_path):
    (tmp_path / "link").symlink_to("x")
    for kinds in ((Kind.FILE, Kind.FILE), (Kind.FILE, Kind.LOG), (Kind.LOG, Kind.FILE)):
        for path in ("x", "link", "new/../x"):
            outputs = [Output("a", tmp_path / "x", kinds[0]), Output("b", tmp_path / path, kinds[1])]
            with pytest.raises(UserError) as caught, prepared(outputs):
                pass
            assert str(caught.value) == f"--a and --b both write {tmp_path}/x; name another path for one of them"
    with prepared([Output("a", tmp_path / "x", Kind.LOG), Output("b", tmp_path / "x", Kind.LOG)]):
        pass
    assert tree(tmp_path) == ["link"]


@pytest.mark.parametrize("kind", Kind)
def test_a_folder_without_the_right_to_write_is_refused(tmp_path, kind):
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0o555)
    code = (
        "import sys\nfrom src.common.output_paths import *\nfrom src.common.errors import run_main\n"
        "def main():\n with prepared([Output('flag', sys.argv[1], Kind[sys.argv[2]])]): pass\n"
        "run_main(main)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "closed" / "new" / "x"), kind.name]
    if os.geteuid() == 0:  # without the capability to write anywhere
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: --flag=")
    assert "closed/new: Permission denied; name another path\n" in finished.stderr
    assert tree(tmp_path) == ["closed"]


def test_a_log_that_may_not_be_appended_to_is_refused(tmp_path):
    (tmp_path / "x.log").touch()
    (tmp_path / "x.log").chmod(0o444)
    code = (
        "import sys\nfrom src.common.output_paths import *\nfrom src.common.errors import run_main\n"
        "def main():\n with prepared([Output('flag', sys.argv[1], Kind.LOG)]): pass\nrun_main(main)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.log")]
    if os.geteuid() == 0:
        command = ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *command]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (
        2, f"error: --flag={tmp_path}/x.log cannot be written: Permission denied; name another path\n"
    )  # fmt: skip


def test_a_device_is_an_output_and_stays_one():
    with prepared([Output("flag", "/dev/null", Kind.FILE), Output("flag", "/dev/null", Kind.LOG)]):
        write_text("/dev/null", "text")
    assert not os.path.isfile("/dev/null")
