# SPDX-License-Identifier: Apache-2.0
"""The output appears complete or not at all, and what was saved of it is resumed, to the byte."""

import contextlib
import errno
import io
import os

import numpy as np
import pytest

from src.common.errors import UserError
from src.common.files import replaced
from src.scoring import output_file
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


def saved(**arrays):
    """Return the bytes of an .npz file."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def array(content):
    """Return the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, content)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"the journal of a traveller",
        b"PK",
        b"\0" * 100,
        array(np.arange(3)),
        saved(x=np.arange(3)),
        saved(head=np.frombuffer(b"[]", np.uint8)),
        saved(head=np.frombuffer(b"{}", np.uint8)),
        saved(head=np.frombuffer(b"head", np.uint8)),
    ],
)
def test_a_file_with_the_name_of_the_journal_stays_as_it_is(path, content):
    journal = path.with_name(NAMES[1])
    journal.write_bytes(content)
    with pytest.raises(
        UserError, match=r"journal is no journal of predict\.py; move it or choose another --output_path"
    ):
        resume(path)
    assert names(path) == NAMES[1:2] and journal.read_bytes() == content


def test_a_file_with_the_name_of_the_partial_one_stays_as_it_is(path):
    partial = path.with_name(NAMES[2])
    partial.write_bytes(b"a letter")
    with pytest.raises(UserError, match=r"partial is no file of predict\.py; move it or choose another --output_path"):
        resume(path)
    assert names(path) == NAMES[2:] and partial.read_bytes() == b"a letter"


def test_empty_files_of_both_names_are_used(path):
    for name in NAMES[1:]:
        path.with_name(name).touch()
    assert resume(path) is None
    assert path.read_bytes() == b"c\n"


def test_lines_that_were_killed_before_the_first_save_are_replaced(path):
    for identity in (IDENTITY, None):
        with open_output(str(path), identity) as output:
            output.write(b"a\n")
            killed = {name: path.with_name(name).read_bytes() for name in NAMES[1:]}
        path.unlink()
        for name, content in killed.items():  # as SIGKILL leaves them
            path.with_name(name).write_bytes(content)
        assert resume(path, identity) is None
        assert path.read_bytes() == b"c\n"
        assert names(path) == NAMES[:1]


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


def test_a_signal_right_after_the_first_journal_was_saved_keeps_it(path, monkeypatch):
    hints = []

    @contextlib.contextmanager
    def replaced_before_a_signal(journal):
        with replaced(journal) as partial:
            yield partial
        hints.append(output.discard_unless_resumable())

    with open_output(str(path), IDENTITY) as output:
        output.write(b"a\n")
        monkeypatch.setattr(output_file, "replaced", replaced_before_a_signal)
        output.save({})
        assert hints == ["run the same command again to resume"]
        assert names(path) == NAMES[1:]


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
