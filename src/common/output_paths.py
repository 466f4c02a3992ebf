# SPDX-License-Identifier: Apache-2.0
"""The files and folders that an entry point is going to write: made, and proved writable, before its work begins."""

import contextlib
import dataclasses
import enum
import os
import pathlib
import stat
import uuid

from src.common.errors import UserError
from src.common.files import is_special, resolved


class Kind(enum.Enum):
    """How an output is written."""

    LOG = "a file to which lines are appended"
    FILE = "a file that is written beside its path and then renamed"
    FOLDER = "a folder in which files are made"


@dataclasses.dataclass(frozen=True)
class Output:
    """A path to write to, and the flag that names it.

    setting: what a message begins with, if not the flag and the path.  hint: what it ends with, the way to fix it.
    """

    flag: str
    path: str
    kind: Kind
    setting: str | None = None
    hint: str = "name another path"


@contextlib.contextmanager
def prepared(outputs):
    """Make the folders of all outputs and prove that each can be written; UserError names the flag and the reason.

    After the `with` block, folders that were made for it and are still empty are removed.
    """
    made = []
    try:
        for output in outputs:
            try:
                _prepare(output, made)
            except OSError as error:
                raise UserError(_message(output, error)) from error
        yield
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _prepare(output, made):
    path = resolved(output.path)
    if output.kind is Kind.FOLDER:
        _make_folder(path, made)
        _create_in(path)
        return
    _make_folder(path.parent, made)
    if path.is_dir():
        raise IsADirectoryError(None, "is a folder, a file is wanted", str(path))
    if is_special(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(None, "permission denied", str(path))
    elif path.exists() and output.kind is Kind.LOG:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    else:
        _create_in(path.parent)
        _check_replaceable(path)


def _make_folder(path, made):
    """Make a folder and those above it; append the new ones to `made`."""
    missing = []
    while not path.is_dir():
        if path.exists():
            raise NotADirectoryError(None, "is a file, a folder is wanted", str(path))
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process may have been faster
            folder.mkdir()
            made.append(folder)


def _create_in(folder):
    """Make a file in a folder and remove it."""
    probe = folder / f".probe-{uuid.uuid4().hex}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(descriptor, b"\n")
    finally:
        os.close(descriptor)
        probe.unlink()


def _check_replaceable(path):
    """Raise PermissionError if a file is another user's in a folder such as /tmp, where only owners may rename."""
    if not path.exists():
        return
    folder, user = path.parent.stat(), os.geteuid()
    if folder.st_mode & stat.S_ISVTX and user not in (0, folder.st_uid, path.stat().st_uid):
        raise PermissionError(None, "belongs to another user", str(path))


def _message(output, error):
    reason = error.strerror or str(error)
    if error.filename and os.path.realpath(error.filename) != os.path.realpath(output.path):
        name = pathlib.Path(error.filename)
        place = name.parent if name.name.startswith(".probe-") else name
        reason = f"{place}: {reason}"
    return f"{output.setting or f'--{output.flag}={output.path}'} cannot be written: {reason}; {output.hint}"
