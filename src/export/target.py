# SPDX-License-Identifier: Apache-2.0
"""The path of an exported file: it may hold any characters, and the file appears complete or not at all."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

from src.common.errors import UserError
from src.common.files import flush_to_disk, move_into_place
from src.common.locks import locked_folder
from src.common.output_paths import Kind, Output, prepared
from src.common.signals import cleaned_up
from src.package.package import MANIFEST_NAME

SUFFIXES = {"MINDIR": ".mindir", "ONNX": ".onnx", "AIR": ".air", "PACKAGE": ""}
WORK_PREFIX, REPLACED_PREFIX = ".deepfm-export-", ".deepfm-replaced-"
SECONDS_TO_LOCK = 60  # longer than it takes from the creation of a work folder to its lock
PLAIN_STEM = "model.partial"  # MindSpore takes letters, digits and @ _ - . : / \ only


@dataclasses.dataclass(frozen=True)
class ExportTarget:
    """The path of an exported file or package, and the path in a work folder to write it to until it is complete."""

    path: pathlib.Path
    partial: pathlib.Path

    def commit(self) -> None:
        """Move the finished file or folder to its path, readable for all whom the umask allows."""
        if not self.partial.is_dir():
            _make_readable(self.partial, 0o666)
            move_into_place(self.partial, self.path)
            return
        for file in self.partial.iterdir():
            _make_readable(file, 0o666)
            flush_to_disk(file)
        _make_readable(self.partial, 0o777)
        self._replace_folder()

    def _replace_folder(self) -> None:
        """Let the finished folder take the place of an earlier one, which a kill in between leaves as `earlier`."""
        earlier = self.path.with_name(f"{REPLACED_PREFIX}{self.path.name}")
        if self.path.exists():
            self._remove(earlier)
            self.path.rename(earlier)
        try:
            self.partial.rename(self.path)
        except BaseException:
            if os.path.lexists(earlier):
                earlier.rename(self.path)
            raise
        self._remove(earlier)

    def _remove(self, folder: pathlib.Path) -> None:
        """Move a folder, if it exists, to the work folder, which is removed at the end."""
        if os.path.lexists(folder):
            folder.rename(pathlib.Path(tempfile.mkdtemp(dir=self.partial.parent), "replaced"))


def _make_readable(path: pathlib.Path, mode: int) -> None:
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(mode & ~umask)


@contextlib.contextmanager
def export_target(file_name: str, file_format: str) -> Iterator[ExportTarget]:
    """Yield the target of an export; its work folder, next to the file, is removed at the end of the `with` block.

    file_name: as the user gave it, with or without the suffix of the format.  UserError if it cannot be used.
    """
    path = _target_path(file_name, file_format)
    if file_format == "PACKAGE":
        _check_replaceable(path, file_name)
    probed = path / MANIFEST_NAME if file_format == "PACKAGE" and path.is_dir() else path
    with (
        prepared([Output("file_name", str(probed), Kind.FILE, f"--file_name={file_name}")]),
        _work_folder(path.parent) as work,
    ):
        yield ExportTarget(path, work / f"{PLAIN_STEM}{path.suffix}")


def _check_replaceable(path: pathlib.Path, file_name: str) -> None:
    """Raise UserError if the path of a package holds anything but a package."""
    is_other_folder = path.is_dir() and any(path.iterdir()) and not (path / MANIFEST_NAME).is_file()
    if is_other_folder or (path.exists() and not path.is_dir()):
        raise UserError(f"--file_name={file_name} exists and is not a model package; name another folder")


@contextlib.contextmanager
def _work_folder(parent: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield a new locked folder in `parent`, which is removed at the end."""
    _remove_abandoned(parent)
    work = pathlib.Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=os.path.abspath(parent)))
    remove = functools.partial(shutil.rmtree, work, ignore_errors=True)
    try:
        with cleaned_up(remove), locked_folder(work, blocking=True):
            yield work
    finally:
        remove()


def _target_path(file_name: str, file_format: str) -> pathlib.Path:
    suffix = SUFFIXES[file_format]
    file_name = file_name.rstrip("/") if file_format == "PACKAGE" else file_name
    name = os.path.basename(file_name)
    if name in ("", ".", "..", suffix):
        raise UserError(f"--file_name={file_name}: must end with the name of a file, as in ./deepfm")
    for other, other_suffix in SUFFIXES.items():
        if other != file_format and other_suffix and name.endswith(other_suffix):
            raise UserError(
                f"--file_name={file_name}: {other_suffix} is the suffix of {other}, but --file_format={file_format}; "
                "leave the suffix out"
            )
    path = pathlib.Path(f"{file_name.removesuffix(suffix)}{suffix}")
    # In a/../b the folder a need not exist.
    return pathlib.Path(os.path.realpath(path.parent), path.name) if ".." in path.parts else path


def _remove_abandoned(parent: pathlib.Path) -> None:
    """Remove the work folders of exports that were killed; a running export holds the lock of its folder."""
    for folder in parent.glob(f"{WORK_PREFIX}*"):
        with contextlib.suppress(OSError), locked_folder(folder, blocking=False) as is_abandoned:
            if is_abandoned and time.time() - folder.stat().st_mtime > SECONDS_TO_LOCK:
                shutil.rmtree(folder, ignore_errors=True)
