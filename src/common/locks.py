# SPDX-License-Identifier: Apache-2.0
"""File locks against two processes that write to the same path; the system releases those of a process that ends."""

import contextlib
import errno
import fcntl
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from src.common.errors import UserError

LOCK_NAME = "train.lock"
# The answers of network file systems that have no locks.
UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


def try_lock(path: os.PathLike | str) -> BinaryIO | None:
    """Open a file, created if it is missing, and lock it until it is closed; return it.

    Return None if another process, or another call in this one, holds the lock.  On a file system without locks,
    print a note and return the file unlocked.
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
            print(f"note: {path}: this file system has no locks ({error.strerror}); let no other run use this path")
            return file
        if _is_at(file, path):
            return file
        file.close()  # whoever held the lock has removed the file


@contextlib.contextmanager
def temporary_lock(path: os.PathLike | str) -> Iterator[BinaryIO | None]:
    """Give a `with` block the result of try_lock(path); remove the file afterwards if this process has locked it."""
    file = try_lock(path)
    try:
        yield file
    finally:
        if file is not None:
            if _is_at(file, path):
                pathlib.Path(path).unlink(missing_ok=True)
            file.close()


@contextlib.contextmanager
def locked_folder(folder: os.PathLike | str, *, blocking: bool) -> Iterator[bool]:
    """Lock a folder itself, without a file in it, for a `with` block; yield whether it is locked.

    blocking: whether to wait for another process that has locked it.  A file system without locks never locks.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield _lock(descriptor, fcntl.LOCK_EX if blocking else fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


def _lock(descriptor, operation):
    """Return whether the lock of an open folder could be had."""
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:  # EBADF: NFS locks only files opened for writing
        if error.errno not in (errno.EWOULDBLOCK, errno.EBADF, *UNSUPPORTED):
            raise
        return False
    return True


@contextlib.contextmanager
def exclusive_training(folder: os.PathLike | str, logs: Mapping[str, os.PathLike | str]) -> Iterator[None]:
    """Lock a checkpoint folder and log files for a `with` block; UserError if another training has locked one of them.

    logs: path by flag; a log that is new and still empty at the end is removed.
    """
    with contextlib.ExitStack() as stack:
        if stack.enter_context(temporary_lock(pathlib.Path(folder, LOCK_NAME))) is None:
            raise UserError(_message("ckpt_path", folder))
        locked = set()
        for flag, path in logs.items():
            stack.enter_context(_without_empty(path))
            if os.path.exists(path) and (not os.path.isfile(path) or os.path.realpath(path) in locked):
                continue  # /dev/null, for example, or both logs in one file
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
    return f"another training is writing to {path}; wait for it, stop it, or choose another --{flag}"


def _open(path):
    try:
        return open(path, "ab")
    except PermissionError:
        if not os.path.exists(path):
            raise
        return open(path, "rb")  # left by a killed run of another user; reading suffices for a lock


def _is_at(file, path):
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False
