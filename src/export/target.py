# SPDX-License-Identifier: Apache-2.0
"""The path of an exported file: it may hold any characters, and the file appears complete or not at all."""

import contextlib
import fcntl
import functools
import os
import pathlib
import shutil
import tempfile
import time

from src.common.errors import UserError
from src.common.files import move_into_place
from src.common.output_paths import Kind, Output, prepared
from src.common.signals import cleaned_up

SUFFIXES = {"MINDIR": ".mindir", "ONNX": ".onnx", "AIR": ".air"}
WORK_PREFIX = ".deepfm-export-"
SECONDS_TO_LOCK = 60  # longer than it takes from the creation of a work folder to its lock
PLAIN_STEM = "model.partial"  # MindSpore takes letters, digits and @ _ - . : / \ only


class ExportTarget:
    """A context manager that makes a work folder in the folder of the target and removes it at the end.

    partial: the path in the work folder to write the model to; commit() moves it to `path`.
    """

    def __init__(self, file_name: str, file_format: str):
        """file_name: as the user gave it, with or without the suffix of the format.  UserError if it cannot be used."""
        self.path = _target_path(file_name, file_format)
        self.partial = None
        self._file_name = file_name

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(
                prepared([Output("file_name", str(self.path), Kind.FILE, f"--file_name={self._file_name}")])
            )
            self._make_work_folder(stack)
            self.partial = self._work / f"{PLAIN_STEM}{self.path.suffix}"
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _make_work_folder(self, stack):
        _remove_abandoned(self.path.parent)
        self._work = pathlib.Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=os.path.abspath(self.path.parent)))
        remove = functools.partial(shutil.rmtree, self._work, ignore_errors=True)
        stack.callback(remove)
        stack.enter_context(cleaned_up(remove))
        stack.enter_context(_locked(self._work))

    def commit(self) -> None:
        """Move the finished file to its path, readable for all whom the umask allows."""
        umask = os.umask(0)
        os.umask(umask)
        self.partial.chmod(0o666 & ~umask)
        move_into_place(self.partial, self.path)


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
    path = pathlib.Path(f"{file_name.removesuffix(suffix)}{suffix}")
    # In a/../b the folder a need not exist.
    return pathlib.Path(os.path.realpath(path.parent), path.name) if ".." in path.parts else path


def _remove_abandoned(parent):
    """Remove the work folders of exports that were killed; a running export holds the lock of its folder."""
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
