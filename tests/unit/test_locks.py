# SPDX-License-Identifier: Apache-2.0
"""Locks that real other processes hold."""

import errno
import fcntl
import subprocess
import sys

import pytest

from src.common.errors import UserError
from src.common.locks import exclusive_training, locked_folder, temporary_lock, try_lock
from tests.conftest import ROOT

HOLD = """
import sys
from src.common.locks import try_lock
file = try_lock(sys.argv[1])
print(file is not None, flush=True)
input()
"""


@pytest.fixture
def start_holder():
    """Return a function that starts a process which holds the lock of a path; it returns when it has the lock."""
    started = []

    def start(path):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout.readline() == "True\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_lock_is_refused_while_another_process_lives_and_free_once_it_is_killed(start_holder, tmp_path):
    holder = start_holder(tmp_path / "a.lock")
    assert try_lock(tmp_path / "a.lock") is None
    assert try_lock(tmp_path / "b.lock") is not None
    holder.kill()
    holder.wait()
    assert try_lock(tmp_path / "a.lock") is not None


def test_a_lock_file_that_was_removed_while_it_was_held_locks_nothing(start_holder, tmp_path):
    path = tmp_path / "a.lock"
    start_holder(path)
    path.unlink()  # as the holder does just before it releases the lock
    with temporary_lock(path) as lock:
        assert lock is not None
        assert try_lock(path) is None  # the new file is the one that counts
    assert not path.exists()


def test_a_lock_that_is_held_elsewhere_is_not_removed(start_holder, tmp_path):
    path = tmp_path / "a.lock"
    start_holder(path)
    with temporary_lock(path) as lock:
        assert lock is None
    assert path.exists()


def test_a_file_system_without_locks_is_noted(tmp_path, monkeypatch, capsys):
    def unsupported(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with temporary_lock(tmp_path / "a.lock") as lock:
        assert lock is not None
    assert capsys.readouterr().out.startswith(f"note: {tmp_path}/a.lock: this file system has no locks (No locks avail")
    assert list(tmp_path.iterdir()) == []


HOLD_FOLDER = """
import sys
from src.common.locks import locked_folder
with locked_folder(sys.argv[1], blocking=True) as is_locked:
    print(is_locked, flush=True)
    input()
"""


def test_a_folder_is_locked_until_the_block_of_another_process_ends(tmp_path):
    command = [sys.executable, "-c", HOLD_FOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "True\n"
        with locked_folder(tmp_path, blocking=False) as is_locked:
            assert not is_locked
        waiter = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiter.wait(timeout=0.5)  # it waits for the holder
        holder.communicate("\n")
    with waiter:
        assert waiter.communicate("\n")[0] == "True\n"
    with locked_folder(tmp_path, blocking=False) as is_locked:
        assert is_locked
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_file_system_without_locks_is_not_locked(tmp_path, monkeypatch):
    def unsupported(file, operation):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with locked_folder(tmp_path, blocking=True) as is_locked:
        assert not is_locked


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ("checkpoint/train.lock", "is writing to {}/checkpoint; wait for it, stop it, or choose another --ckpt_path"),
        ("loss.log", "is writing to {}/loss.log; wait for it, stop it, or choose another --loss_file_name"),
        ("auc.log", "is writing to {}/auc.log; wait for it, stop it, or choose another --eval_file_name"),
    ],
)
def test_a_second_training_is_refused_and_leaves_no_file(start_holder, tmp_path, held, message):
    (tmp_path / "checkpoint").mkdir()
    holder = start_holder(tmp_path / held)
    before = sorted(tmp_path.rglob("*"))
    logs = {"loss_file_name": tmp_path / "loss.log", "eval_file_name": tmp_path / "auc.log"}
    with pytest.raises(UserError) as caught, exclusive_training(tmp_path / "checkpoint", logs):
        pass
    assert message.format(tmp_path) in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    holder.kill()
    holder.wait()
    with exclusive_training(tmp_path / "checkpoint", logs):
        (tmp_path / "loss.log").write_text("a line\n")
    assert (tmp_path / "loss.log").read_text() == "a line\n"


def test_one_file_for_both_logs_and_a_device_are_no_conflict(tmp_path):
    same = {"loss_file_name": tmp_path / "all.log", "eval_file_name": tmp_path / "link.log"}
    (tmp_path / "link.log").symlink_to("all.log")
    devices = {"loss_file_name": "/dev/null", "eval_file_name": "/dev/null"}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with (
        exclusive_training(tmp_path, same),
        exclusive_training(tmp_path / "a", devices),
        exclusive_training(tmp_path / "b", devices),
    ):
        assert (tmp_path / "all.log").exists()
    assert not (tmp_path / "all.log").exists()  # it has stayed empty
