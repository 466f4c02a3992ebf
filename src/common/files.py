# SPDX-License-Identifier: Apache-2.0
"""Read and write files and folders atomically: they appear complete or not at all."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import time
from collections.abc import Iterator

from src.common.errors import UserError

DIGEST_CHUNK_BYTES = 1 << 20
FREE_FRACTION = 0.02  # of the disk, which stays free


@contextlib.contextmanager
def replaced(path: os.PathLike | str) -> Iterator[pathlib.Path]:
    """Yield a temporary path to write a file to; at the end of the `with` block the file takes the place of `path`.

    If the block or the move fails, the temporary file is removed and `path` is as it was; OSError names `path`.
    A symbolic link stays one.
    """
    path = resolved(path)
    partial = path.with_name(f"{path.name}.tmp")
    try:
        with _errors_naming(path, partial):
            yield partial
            move_into_place(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def move_into_place(partial: pathlib.Path, path: os.PathLike | str) -> None:
    """Rename a complete file to `path`, atomically, after its content has reached the disk."""
    flush_to_disk(partial)
    partial.replace(path)


def flush_to_disk(path: pathlib.Path) -> None:
    """Wait until the content of a file has reached the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextlib.contextmanager
def replaced_folder(path: os.PathLike | str) -> Iterator[pathlib.Path]:
    """Yield a new folder to write files to; at the end of the `with` block it takes the place of the folder `path`.

    If the block fails, the new folder is removed and `path` is as it was.
    """
    path = pathlib.Path(os.path.abspath(path))
    partial = partial_path(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_text(path: os.PathLike | str, text: str) -> None:
    """Write a text file atomically; OSError names the path.

    A symbolic link stays one. A device, a pipe or the like, such as /dev/stdout, is written to directly.
    """
    if is_special(pathlib.Path(path)):
        with _errors_naming(path):
            _write_text(path, text)
    else:
        with replaced(path) as partial:
            _write_text(partial, text)


def _write_text(path, text):
    pathlib.Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")


@contextlib.contextmanager
def _errors_naming(path, partial=None):
    """Let an OSError that names no file, or the temporary one, name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(partial)):
            raise
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
    with _errors_naming(path):
        try:
            with open(path, "a", encoding="utf-8") as log:
                log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
        except OSError:
            if os.path.isfile(path):
                os.truncate(path, size)
            raise


def size_of(path: os.PathLike | str) -> int:
    """Return the size of a file in bytes; 0 if it does not exist."""
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


def listed_paths(text: str) -> list[str]:
    """Return the paths that a text names, with commas between them; a file or folder may have commas in its name."""
    return [text] if os.path.exists(text) else text.split(",")


def partial_path(folder: os.PathLike | str) -> pathlib.Path:
    """Return the path under which a file or folder is written until it is complete."""
    folder = pathlib.Path(folder)
    if folder.name in ("", ".."):  # the path is . or ends with .., which is not the name of the folder
        folder = pathlib.Path(os.path.abspath(folder))
    return folder.with_name(f"{folder.name}.partial")


def file_sha256(path: os.PathLike | str) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return file_digest(path, hashlib.sha256())


def file_digest(path: os.PathLike | str, digest: "hashlib._Hash") -> str:
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
