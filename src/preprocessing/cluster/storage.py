# SPDX-License-Identifier: Apache-2.0
"""The folder that the client and all workers share: a directory, or an address of an object store, by fsspec."""

import contextlib
import functools
import os
import pathlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Sequence

from src.common.files import replaced

Span = tuple[str, int, int]  # a file, and the first byte of a part of it and the one after the part


class Directory:
    """A directory under the same path on all machines; names are relative to it."""

    def __init__(self, path: str):
        self._path = pathlib.Path(path)

    def read(self, name: str, start: int = 0) -> bytes:
        """Return a file from byte `start` on, which counts from the end if it is negative."""
        with open(self._path / name, "rb") as file:
            file.seek(start, os.SEEK_END if start < 0 else os.SEEK_SET)
            return file.read()

    def read_spans(self, spans: Sequence[Span]) -> list[bytes]:
        """Return parts of files; OSError if a file ends before."""
        return [self._read_span(*span) for span in spans]

    def _read_span(self, name, start, end):
        path = self._path / name
        with open(path, "rb") as file:
            file.seek(start)
            return _checked(file.read(end - start), path, end - start)

    def read_existing(self, names: Sequence[str]) -> list[bytes | None]:
        """Return files, None for each that does not exist."""
        return [self._read_existing(self._path / name) for name in names]

    @staticmethod
    def _read_existing(path):
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which appears complete or not at all."""
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as partial:
            partial.write_bytes(content)

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the files and folders in a folder; none if there is no folder."""
        path = self._path / folder
        return sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []

    def remove(self, name: str = "") -> None:
        """Remove a file or a folder with all that is in it, if it is there."""
        path = self._path / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[pathlib.Path]:
        """Yield a new directory in the folder `name`, for publish(); others there are of workers that were killed."""
        shutil.rmtree(self._path / name, ignore_errors=True)
        own = self._path / name / uuid.uuid4().hex
        own.mkdir(parents=True)
        try:
            yield own
        finally:
            shutil.rmtree(own, ignore_errors=True)

    def publish(self, own: pathlib.Path, name: str, last: str) -> None:
        """Let the files of a scratch directory appear as the folder `name`; the file `last` not before the others."""
        os.rename(own, self._path / name)

    def take(self, name: str, path: pathlib.Path) -> None:
        """Move a file to a path of this machine."""
        shutil.move(self._path / name, path)


class ObjectStore:
    """What is at an address of an object store, as s3://BUCKET/FOLDER; the same methods."""

    def __init__(self, address: str):
        import fsspec

        self._address = address
        with _errors_at(address):
            self._files, self._path = fsspec.core.url_to_fs(address, use_listings_cache=False)

    def read(self, name: str, start: int = 0) -> bytes:
        """Return a file from byte `start` on, which counts from the end if it is negative."""
        with self._errors(name):
            return self._files.cat_file(self._at(name), start=start or None)

    def read_spans(self, spans: Sequence[Span]) -> list[bytes]:
        """Return parts of files, which are requested at the same time; OSError if a file ends before."""
        if not spans:
            return []
        names, starts, ends = zip(*spans)
        with self._errors(names[0]):
            contents = self._files.cat_ranges(list(map(self._at, names)), list(starts), list(ends), on_error="raise")
        return [_checked(content, self._at(name), end - start) for content, (name, start, end) in zip(contents, spans)]

    def read_existing(self, names: Sequence[str]) -> list[bytes | None]:
        """Return files, which are requested at the same time; None for each that does not exist."""
        if not names:
            return []
        paths, whole = list(map(self._at, names)), [None] * len(names)
        with self._errors(names[0]):
            found = self._files.cat_ranges(paths, whole, whole, on_error="return")
        return [self._content(name, result) for name, result in zip(names, found)]

    def _content(self, name, result):
        """Return the content of a file, None if it does not exist; raise another error."""
        if isinstance(result, FileNotFoundError):
            return None
        if isinstance(result, Exception):
            with self._errors(name):
                raise result
        return result

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which appears complete or not at all."""
        with self._errors(name):
            self._files.pipe_file(self._at(name), content)

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the files and folders in a folder; none if there is no folder."""
        try:
            with self._errors(folder):
                found = self._files.ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(path.rstrip("/").rpartition("/")[2] for path in found)

    def remove(self, name: str = "") -> None:
        """Remove a file or a folder with all that is in it, if it is there."""
        with contextlib.suppress(FileNotFoundError), self._errors(name):
            self._files.rm(self._at(name), recursive=True)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[pathlib.Path]:
        """Yield a new directory on this machine, for publish()."""
        with tempfile.TemporaryDirectory(prefix="deepfm-") as own:
            yield pathlib.Path(own)

    def publish(self, own: pathlib.Path, name: str, last: str) -> None:
        """Upload the files of a scratch directory as the folder `name`; the file `last` after the others."""
        for path in sorted(own.iterdir(), key=lambda path: (path.name == last, path.name)):
            with self._errors(name):
                self._files.put_file(str(path), self._at(f"{name}/{path.name}"))

    def take(self, name: str, path: pathlib.Path) -> None:
        """Download a file to a path of this machine."""
        with self._errors(name):
            self._files.get_file(self._at(name), str(path))

    def _at(self, name):
        return f"{self._path}/{name}".rstrip("/")

    def _errors(self, name):
        return _errors_at(f"{self._address}/{name}")


Storage = Directory | ObjectStore


@functools.cache
def storage_at(address: str) -> Storage:
    """Return the storage at the path of a directory or at an address."""
    return ObjectStore(address) if is_address(address) else Directory(address)


def is_address(text: str) -> bool:
    """Tell whether a text is an address of an object store, as s3://BUCKET/FOLDER, rather than a path."""
    return "://" in text


def _checked(content, path, size):
    if len(content) != size:
        raise OSError(f"{path} is truncated; delete its folder")
    return content


@contextlib.contextmanager
def _errors_at(address: str) -> Iterator[None]:
    """Turn the errors of a file system of fsspec, each of which has its own, into an OSError with an address."""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{address}: no such file, folder or bucket") from None
    except Exception as error:
        raise OSError(f"{address}: {error or type(error).__name__}") from None
