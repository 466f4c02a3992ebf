# SPDX-License-Identifier: Apache-2.0
"""The output appears complete or not at all, and what was saved of it is resumed, to the byte."""

import errno
import os

import numpy as np
import pytest

from src.common.errors import UserError
from src.scoring.output_file import open_output

IDENTITY = {"rows": 1}
NO_SPACE = OSError(errno.ENOSPC, "no space")
NAMES = ["scores.csv", "scores.csv.journal", "scores.csv.partial"]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scores.csv"


def names(path):
    return sorted(each.name for each in path.parent.iterdir())


def interrupt(path, identity=IDENTITY, error=NO_SPACE):
    """Write a, save it, write b, and fail."""
    with pytest.raises(type(error)) as caught, open_output(str(path), identity) as output:
        output.write(b"a\n")
        output.save({"number": np.array([7])})
        output.write(b"b\n")
        raise error
    return caught.value


def resume(path, identity=IDENTITY):
    """Return what an earlier run has saved, and write c after it."""
    with open_output(str(path), identity) as output:
        earlier = output.earlier
        output.write(b"c\n")
    return earlier


def test_the_file_appears_at_the_end(path):
    with open_output(str(path), IDENTITY) as output:
        assert output.earlier is None
        output.write(b"a\n")
        output.save({})
        output.write(b"b\n")
        assert names(path) == NAMES[1:]
    assert path.read_bytes() == b"a\nb\n"
    assert names(path) == NAMES[:1]


def test_an_interrupted_run_resumes_after_what_it_has_saved(path):
    message = str(interrupt(path))
    assert message.startswith("[Errno 28] no space. The scores so far are kept in ")
    assert message.endswith("scores.csv.partial: run the same command again to resume")
    assert resume(path)["number"].tolist() == [7]
    assert path.read_bytes() == b"a\nc\n"
    assert names(path) == NAMES[:1]


@pytest.mark.parametrize("identity", [{"rows": 2}, None])
def test_what_was_saved_of_other_scores_is_not_used(path, identity):
    interrupt(path)
    assert resume(path, identity) is None
    assert path.read_bytes() == b"c\n"
    assert names(path) == NAMES[:1]


@pytest.mark.parametrize("damage", [b"", b"PK", b"\0" * 100])
def test_a_damaged_journal_is_not_used(path, damage):
    interrupt(path)
    path.with_name(NAMES[1]).write_bytes(damage)
    assert resume(path) is None
    assert path.read_bytes() == b"c\n"


def test_a_journal_without_its_lines_is_not_used(path):
    interrupt(path)
    path.with_name(NAMES[2]).write_bytes(b"")
    assert resume(path) is None
    assert path.read_bytes() == b"c\n"


def test_after_a_mistake_or_without_anything_to_resume_nothing_is_left(path):
    path.write_bytes(b"earlier\n")
    interrupt(path, error=UserError("a malformed row"))
    assert names(path) == NAMES[:1]
    assert "kept" not in str(interrupt(path, identity=None))
    assert names(path) == NAMES[:1]
    assert path.read_bytes() == b"earlier\n"


def test_a_second_run_at_the_same_time_is_refused(path):
    with open_output(str(path), IDENTITY) as output:
        output.write(b"a\n")
        with pytest.raises(UserError, match=r"another run is writing to .*scores\.csv"):
            resume(path)
    assert path.read_bytes() == b"a\n"


def test_a_link_stays_one(path, tmp_path):
    path.symlink_to(tmp_path / "other.csv")
    resume(path)
    assert path.is_symlink() and path.read_bytes() == b"c\n"


def test_a_pipe_takes_the_lines_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open_output(str(tmp_path / "pipe"), IDENTITY) as output:
        output.write(b"a\n")
        output.save({})
        assert output.earlier is None
        assert os.read(reader, 10) == b"a\n"
    os.close(reader)
    assert [each.name for each in tmp_path.iterdir()] == ["pipe"]
