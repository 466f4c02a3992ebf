# SPDX-License-Identifier: Apache-2.0
"""Read and write single files: complete or not at all, and checked."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import time

from src.common.errors import UserError

DIGEST_CHUNK_BYTES = 1 << 20
FREE_FRACTION = 0.02  # of a disk that is left free


def write_text(path: os.PathLike | str, text: str) -> None:
    """Write a text file atomically (temporary file, fsync, rename); OSError names the path.

    A symbolic link stays one. What is not a regular file, such as /dev/stdout, is written to directly.
    """
    path = resolved(path)
    partial = path.with_name(f"{path.name}.tmp")
    target = path if is_special(path) else partial
    try:
        with open(target, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            if target is partial:
                os.fsync(file.fileno())
        if target is partial:
            partial.replace(path)
    except OSError as error:
        if target is partial:
            with contextlib.suppress(OSError):
                partial.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def write_json(path: os.PathLike | str, content: object) -> None:
    """Write `content` as JSON, atomically; OSError names the path."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_json(path: pathlib.Path) -> object | None:
    """Return the content of a JSON file; None if it does not exist."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def append_line(path: os.PathLike | str, text: str) -> None:
    """Append a line with the local time to a log file, completely or not at all; OSError names the file."""
    size = size_of(path)
    try:
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    except OSError as error:
        if os.path.isfile(path):
            os.truncate(path, size)
        raise OSError(error.errno, error.strerror, str(path)) from error


def size_of(path: os.PathLike | str) -> int:
    """Return the size of a file in bytes; 0 if it does not exist, or no longer."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def resolved(path: os.PathLike | str) -> pathlib.Path:
    """Return the target of symbolic links; for /dev/stdout and the like the path itself."""
    path = pathlib.Path(path)
    return path if is_special(path) else pathlib.Path(os.path.realpath(path))


def is_special(path: pathlib.Path) -> bool:
    """Tell whether a path exists and is neither a regular file nor a folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def partial_path(folder: os.PathLike | str) -> pathlib.Path:
    """Return the path under which a file or folder is written until it is complete."""
    folder = pathlib.Path(folder)
    if folder.name in ("", ".."):  # . and .. are not the folder's own name
        folder = pathlib.Path(os.path.abspath(folder))
    return folder.with_name(f"{folder.name}.partial")


def file_sha256(path: os.PathLike | str) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return file_digest(path, hashlib.sha256())


def file_digest(path: os.PathLike | str, digest) -> str:
    """Return the digest of a file, in hexadecimal.  digest: a new hash object of hashlib."""
    with open(path, "rb") as file:
        while chunk := file.read(DIGEST_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_room(folder: os.PathLike | str, byte_count: int, source: str) -> None:
    """Raise UserError if `byte_count` bytes of `source` do not fit the disk of a folder."""
    disk = shutil.disk_usage(folder)
    free = disk.free - FREE_FRACTION * disk.total
    if byte_count > free:
        raise UserError(f"{source} needs {byte_count / 1e9:,.1f} GB, {folder} has room for {max(free, 0) / 1e9:,.1f}")
