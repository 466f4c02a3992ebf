# SPDX-License-Identifier: Apache-2.0
"""Unpack a .zip file from an untrusted source."""

import contextlib
import os
import pathlib
import shutil
import stat
import zipfile
import zlib

from src.common.errors import UserError
from src.common.files import check_room
from src.common.progress import Progress

CHUNK_BYTES = 1 << 20


def unpack(archive: os.PathLike | str, folder: os.PathLike | str) -> None:
    """Unpack a .zip file into a folder.

    UserError if it is damaged or encrypted, contains a link or a path that leaves the folder, or does not fit the disk.
    """
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            opened = stack.enter_context(zipfile.ZipFile(archive))
            members = [member for member in opened.infolist() if not member.is_dir()]
            for member in members:
                _check(archive, member)
            check_room(folder, sum(member.file_size for member in members), str(archive))
            progress = Progress("unpack", len(members), "files", leave=False)
            for member in members:
                path = pathlib.Path(folder, member.filename)
                path.parent.mkdir(parents=True, exist_ok=True)
                with opened.open(member) as packed, open(path, "wb") as file:
                    shutil.copyfileobj(packed, file, CHUNK_BYTES)
                progress.advance(1)
            progress.close()
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise UserError(f"{archive} is damaged or no readable zip file: {error}") from error


def _check(archive: os.PathLike | str, member: zipfile.ZipInfo) -> None:
    """Raise UserError unless a member is a plain file inside the folder."""
    path = pathlib.PurePosixPath(member.filename)
    if path.is_absolute() or ".." in path.parts or "\\" in member.filename:
        raise UserError(f"{archive}: {member.filename!r} leads out of the folder into which it is unpacked")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise UserError(f"{archive}: {member.filename!r} is not a file but a link or a device")
    if member.flag_bits & 1:
        raise UserError(f"{archive}: {member.filename!r} is encrypted")
