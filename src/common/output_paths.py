# SPDX-License-Identifier: Apache-2.0
"""Create the folders of all outputs and prove that each can be written, before an entry point begins its work."""

import contextlib
import dataclasses
import enum
import itertools
import os
import pathlib
import stat
import uuid
from collections.abc import Iterator, Sequence

from src.common.errors import UserError
from src.common.files import is_special, resolved


class Kind(enum.Enum):
    """How an output is written."""

    LOG = "a file to which lines are appended"
    FILE = "a file that is written next to its path and then renamed"
    FOLDER = "a folder in which files are made"


@dataclasses.dataclass(frozen=True)
class Output:
    """A path to write to, and the flag that names it.

    setting: the begin of a message, if not the flag and the path.  hint: its end, the way to fix the mistake.
    """

    flag: str
    path: str
    kind: Kind
    setting: str | None = None
    hint: str = "name another path"


@contextlib.contextmanager
def prepared(outputs: Sequence[Output]) -> Iterator[None]:
    """Create the folders of all outputs and prove that each can be written; UserError names the flag and the reason.

    A file that another output would replace is refused, too.
    After the `with` block, created folders that are still empty are removed.
    """
    _check_distinct(outputs)
    created: list[pathlib.Path] = []
    try:
        for output in outputs:
            try:
                _prepare(output, created)
            except OSError as error:
                raise UserError(_message(output, error)) from error
        yield
    finally:
        for folder in reversed(created):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _check_distinct(outputs):
    """Raise UserError if two outputs are the same file, unless lines of both are appended to it."""
    for first, second in itertools.combinations(outputs, 2):
        path = resolved(second.path)
        if Kind.FILE in (first.kind, second.kind) and path == resolved(first.path) and not is_special(path):
            raise UserError(f"--{first.flag} and --{second.flag} both write {path}; name another path for one of them")


def _prepare(output, created):
    path = resolved(output.path)
    if output.kind is Kind.FOLDER:
        _create_folder(path, created)
        _probe(path)
        return
    _create_folder(path.parent, created)
    if path.is_dir():
        raise IsADirectoryError(None, "is a folder, a file is wanted", str(path))
    if is_special(path):
        if not os.access(path, os.W_OK):
            raise PermissionError(None, "permission denied", str(path))
    elif path.exists() and output.kind is Kind.LOG:
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND))
    else:
        _probe(path.parent)
        _check_replaceable(path)


def _create_folder(path, created):
    """Create a folder and those above it; append the new ones to `created`."""
    missing = []
    while not path.is_dir():
        if path.exists():
            raise NotADirectoryError(None, "is a file, a folder is wanted", str(path))
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process may have created it
            folder.mkdir()
            created.append(folder)


def _probe(folder):
    """Create a file in a folder and remove it."""
    probe = folder / f".probe-{uuid.uuid4().hex}"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        os.write(descriptor, b"\n")
    finally:
        os.close(descriptor)
        probe.unlink()


def _check_replaceable(path):
    """Raise PermissionError for the file of another user in a folder like /tmp, where only owners may rename."""
    if not path.exists():
        return
    folder, user = path.parent.stat(), os.geteuid()
    if folder.st_mode & stat.S_ISVTX and user not in (0, folder.st_uid, path.stat().st_uid):
        raise PermissionError(None, "belongs to another user", str(path))


def _message(output, error):
    reason = error.strerror or str(error)
    if error.filename and os.path.realpath(error.filename) != os.path.realpath(output.path):
        name = pathlib.Path(error.filename)
        path = name.parent if name.name.startswith(".probe-") else name
        reason = f"{path}: {reason}"
    return f"{output.setting or f'--{output.flag}={output.path}'} cannot be written: {reason}; {output.hint}"
