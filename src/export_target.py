# SPDX-License-Identifier: Apache-2.0
"""The path of an exported file, which appears complete or not at all, whatever characters the path holds."""

import contextlib
import errno
import fcntl
import functools
import os
import pathlib
import shutil
import stat
import tempfile
import time

from src.errors import UserError
from src.stopping import cleaned_up

SUFFIXES = {"MINDIR": ".mindir", "ONNX": ".onnx", "AIR": ".air"}
WORK_PREFIX = ".deepfm-export-"
SECONDS_TO_LOCK = 60  # more than enough between the creation of a work folder and its lock
PLAIN_STEM = "model.partial"  # MindSpore takes letters, digits and @ _ - . : / \ only


class ExportTarget:
    """A context manager that makes a work folder in the folder of the target; the rest of a failed export is removed.

    partial: the path in the work folder for export to write; commit() moves it to `path`.
    """

    def __init__(self, file_name: str, file_format: str):
        """file_name: as the user gave it, with or without the suffix of the format.  UserError if it cannot be used."""
        self.path = _target_path(file_name, file_format)
        self.partial = None
        self._file_name = file_name

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.callback(_remove_empty, _missing_folders(self.path.parent))
            self._make_work_folder(stack)
            self.partial = self._work / f"{PLAIN_STEM}{self.path.suffix}"
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _make_work_folder(self, stack):
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if stat.S_ISDIR(_mode(self.path)):
                raise IsADirectoryError(errno.EISDIR, f"{self.path} is a folder")
            _remove_abandoned(self.path.parent)
            self._work = pathlib.Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=os.path.abspath(self.path.parent)))
        except OSError as error:
            raise UserError(f"--file_name={self._file_name}: {error.strerror}; choose another path") from error
        remove = functools.partial(shutil.rmtree, self._work, ignore_errors=True)
        stack.callback(remove)
        stack.enter_context(cleaned_up(remove))
        stack.enter_context(_locked(self._work))

    def commit(self) -> None:
        """Move the finished file to its path, readable for all whom the umask allows."""
        umask = os.umask(0)
        os.umask(umask)
        self.partial.chmod(0o666 & ~umask)
        with self.partial.open("rb") as file:
            os.fsync(file.fileno())
        self.partial.replace(self.path)


def _target_path(file_name, file_format):
    suffix = SUFFIXES[file_format]
    name = os.path.basename(file_name)
    if name in ("", ".", "..", suffix):
        raise UserError(f"--file_name={file_name}: must end with the name of a file, as in ./deepfm")
    for other, other_suffix in SUFFIXES.items():
        if other != file_format and name.endswith(other_suffix):
            raise UserError(
                f"--file_name={file_name}: {other_suffix} is the suffix of {other}, but --file_format={file_format}; "
                "leave the suffix out"
            )
    return pathlib.Path(f"{file_name.removesuffix(suffix)}{suffix}")


def _mode(path):
    """Return the mode of a file, 0 if it does not exist; OSError if its name is too long."""
    try:
        return path.stat().st_mode
    except FileNotFoundError:
        return 0


def _missing_folders(folder):
    """Return `folder` and those above it that do not exist, the innermost first."""
    return [path for path in (folder, *folder.parents) if not os.path.lexists(path)]


def _remove_empty(folders):
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _remove_abandoned(parent):
    """Remove the work folders of exports that were killed; an export that runs holds the lock of its own."""
    for folder in parent.glob(f"{WORK_PREFIX}*"):
        with contextlib.suppress(OSError), _locked(folder):
            if time.time() - folder.stat().st_mtime > SECONDS_TO_LOCK:
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _locked(folder):
    """Hold the lock of a folder; OSError if another process holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
