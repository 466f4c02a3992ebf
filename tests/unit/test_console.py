# SPDX-License-Identifier: Apache-2.0
"""Processes whose standard streams are closed, broken, full, or in an encoding with few characters."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# Prints much more than a pipe holds, writes a file with the first free descriptor, writes to 1 and 2 as native code.
WORK = """
from src.distributed.entry_point import enter
enter()
import os, sys
from src.common.errors import run_main
def main():
    with open(sys.argv[1], "w", encoding="utf-8") as result:
        for number in range(20_000):
            print("line \\u4e2d\\u6587", number)
            print("to stderr", file=sys.stderr) if number % 1000 == 0 else None
            if number % 10_000 == 0:
                for stream in (1, 2):
                    try:
                        os.write(stream, b"native\\n")
                    except OSError:
                        pass
            result.write(f"{number}\\n")
run_main(main, prints_result=sys.argv[2] == "result")
"""
RESULT = "".join(f"{number}\n" for number in range(20_000))


def shell(tmp_path, redirection, kind="work", environment=None):
    """Run WORK in a shell; return its exit status, what came to stderr, and the file that it wrote."""
    (tmp_path / "work.py").write_text(WORK)
    python = [*(environment or []), f"PYTHONPATH={ROOT}", sys.executable]
    command = f'env {" ".join(python)} "$0" "$1" {kind} {redirection}; exit "${{PIPESTATUS[0]}}"'
    finished = subprocess.run(
        ["bash", "-c", command, str(tmp_path / "work.py"), str(tmp_path / "result")], capture_output=True, check=False
    )
    return finished.returncode, finished.stderr.decode(), (tmp_path / "result").read_text(), finished.stdout


@pytest.mark.parametrize("kind", ["work", "result"])
@pytest.mark.parametrize(
    "redirection",
    [">&-", "2>&-", "<&- >&- 2>&-", ">&- 2>&-", "<&-", "2> /dev/null | true", "2> /dev/null | head -n 1",
     "2>&1 | head -n 1", "> /dev/null 2> /dev/full"],
)  # fmt: skip
def test_closed_and_broken_streams_do_not_disturb_the_work(tmp_path, redirection, kind):
    status, errors, result, _ = shell(tmp_path, redirection, kind)
    assert (status, result) == (0, RESULT)
    assert set(errors.splitlines()) <= {"to stderr", "native"}


def test_a_full_disk_does_not_disturb_the_work_and_a_lost_result_is_an_error(tmp_path):
    reason = "standard output cannot be written: No space left on device"
    for kind, status, line in (("work", 0, f"note: {reason}; the work itself is complete"),
                               ("result", 2, f"error: {reason}")):  # fmt: skip
        got_status, errors, result, _ = shell(tmp_path, "> /dev/full", kind)
        assert (got_status, result) == (status, RESULT)
        assert [text for text in errors.splitlines() if text not in ("to stderr", "native")] == [line]


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        (["PYTHONIOENCODING=ascii"], b"line \\u4e2d\\u6587 7"),
        (["PYTHONIOENCODING=latin-1"], b"line \\u4e2d\\u6587 7"),
        (["LC_ALL=C"], "line 中文 7".encode()),
        (["-i"], "line 中文 7".encode()),
        (["PYTHONIOENCODING=utf-8", "PYTHONUNBUFFERED=1"], "line 中文 7".encode()),
    ],
)
def test_characters_that_the_encoding_lacks_are_escaped(tmp_path, environment, text):
    status, errors, result, output = shell(tmp_path, "", environment=environment)
    assert (status, result) == (0, RESULT)
    lines = output.splitlines()
    assert text in lines
    assert len(lines) == 20_000 + 2  # the lines of native code
    assert set(errors.splitlines()) == {"to stderr", "native"}


def test_a_non_blocking_pipe_receives_all_output(tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, tmp_path / "work.py", tmp_path / "result", "result"], stdout=writer,
                               stderr=subprocess.DEVNULL, env=environment)  # fmt: skip
    os.close(writer)
    with open(reader, "rb") as pipe:
        lines = [line for line in pipe.read().splitlines() if line != b"native"]
    assert process.wait() == 0
    assert lines == [f"line 中文 {number}".encode() for number in range(20_000)]


@pytest.mark.parametrize(
    "script", ["train.py", "src/preprocess_data.py", "src/distributed/launch.py", "-m src.criteo_like"]
)
def test_help_whose_reader_closes_the_pipe_is_no_error(script):
    command = f"{sys.executable} {script} --help | head -n 1; exit ${{PIPESTATUS[0]}}"
    environment = {"PATH": os.environ["PATH"], "COLUMNS": "odd"}
    finished = subprocess.run(["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, b"")
    assert finished.stdout.startswith(b"usage: ")


@pytest.fixture(scope="module")
def latin_1(tmp_path_factory):
    """The environment of a locale whose encoding has 256 characters."""
    folder = tmp_path_factory.mktemp("locales")
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", str(folder / "en_US.ISO-8859-1")]
    if not shutil.which("localedef") or subprocess.run(command, capture_output=True, check=False).returncode > 1:
        pytest.skip("localedef, or its sources of locales, are missing")
    return [f"LOCPATH={folder}", "LC_ALL=en_US.ISO-8859-1"]


def test_a_utf8_path_is_found_under_a_locale_of_another_encoding(tmp_path, latin_1):
    folder = tmp_path / "中文"
    folder.mkdir()
    status, errors, result, output = shell(folder, "", environment=latin_1)
    assert (status, result) == (0, RESULT)
    assert set(errors.splitlines()) == {"to stderr", "native"}
    assert b"line \\u4e2d\\u6587 7" in output.splitlines()
    code = "from src.distributed.entry_point import *\nenter()\nimport sys\nfrom src.common.errors import *\n"
    code += "run_main(lambda: open(sys.argv[1].encode('utf-8')).close())"
    command = ["env", *latin_1, sys.executable, "-c", code, str(folder / "result")]  # encoded as MindSpore does
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_a_path_that_is_not_utf8_ends_in_one_line():
    code = "import sys\nfrom src.common.errors import *\nrun_main(lambda: sys.argv[1].encode('utf-8'))"
    command = [sys.executable, "-c", code, os.fsdecode(b"/tmp/\xff")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    line = r"error: '/tmp/\udcff': MindSpore takes UTF-8 text only; rename the path, or set LC_ALL=C.UTF-8"
    assert finished.stderr == f"{line}\n"
