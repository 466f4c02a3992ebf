# SPDX-License-Identifier: Apache-2.0
"""Folders and .zip files as dicts from names to contents."""

import pathlib
import zipfile
from collections.abc import Mapping


def write_files(folder: pathlib.Path, contents: Mapping[str, bytes]) -> pathlib.Path:
    """Write files by their names relative to a folder; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read_files(folder: pathlib.Path) -> dict[str, bytes]:
    """Return the content of every file below a folder by its name relative to it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_zip(
    path: pathlib.Path, contents: Mapping[str | zipfile.ZipInfo, bytes], compression: int = zipfile.ZIP_DEFLATED
) -> pathlib.Path:
    """Write a .zip file; return its path."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path
