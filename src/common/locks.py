# SPDX-License-Identifier: Apache-2.0
"""Locks that keep two processes from writing to one place; the system releases those of a process that has ended."""

import contextlib
import errno
import fcntl
import os
import pathlib

from src.common.errors import UserError

LOCK_NAME = "train.lock"
# Some network file systems answer so.
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def try_lock(path):
    """Return an open file, made if need be, whose lock this process holds until the file is closed.

    None if another process, or another call in this one, holds it.  On a file system without locks a note says so, and
    the file comes back without one.
    """
    while True:
        file = _open(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                file.close()
                raise
            print(f"note: {path}: this file system has no locks ({error.strerror}); keep other runs away yourself")
            return file
        if _is_at(file, path):
            return file
        file.close()  # whoever held the lock has removed the file


@contextlib.contextmanager
def temporary_lock(path):
    """Give a `with` block the file of try_lock(path), or None; a file that is held is removed afterwards."""
    file = try_lock(path)
    try:
        yield file
    finally:
        if file is not None:
            if _is_at(file, path):
                pathlib.Path(path).unlink(missing_ok=True)
            file.close()


@contextlib.contextmanager
def exclusive_training(folder, logs):
    """Keep other trainings from a checkpoint folder and from logs for a `with` block; UserError if there is one.

    logs: by flag, paths; a log that is new and still empty in the end is removed.
    """
    with contextlib.ExitStack() as stack:
        if stack.enter_context(temporary_lock(pathlib.Path(folder, LOCK_NAME))) is None:
            raise UserError(_message("ckpt_path", folder))
        locked = set()
        for flag, path in logs.items():
            stack.enter_context(_without_empty(path))
            if os.path.exists(path) and (not os.path.isfile(path) or os.path.realpath(path) in locked):
                continue  # as /dev/null, or both logs in one file
            file = try_lock(path)
            if file is None:
                raise UserError(_message(flag, path))
            locked.add(os.path.realpath(path))
            stack.enter_context(file)
        yield


@contextlib.contextmanager
def _without_empty(path):
    is_new = not os.path.exists(path)
    try:
        yield
    finally:
        if is_new and os.path.isfile(path) and os.path.getsize(path) == 0:
            os.unlink(path)


def _message(flag, path):
    return f"another training is writing to {path}; wait for it, stop it, or name another --{flag}"


def _open(path):
    try:
        return open(path, "ab")
    except PermissionError:
        if not os.path.exists(path):
            raise
        return open(path, "rb")  # another user's, left by a run that was killed; that is enough for a lock


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
