# SPDX-License-Identifier: Apache-2.0
"""The output of a scoring: a file that appears complete or not at all and that a killed run resumes, or a stream.

The lines go to PATH.partial.  From time to time they are flushed to the disk, and then the journal, PATH.journal, is
replaced: it says how long the file was, and what the scoring knew then.  A resumed run drops what came later.
"""

import contextlib
import json
import os
import pathlib
import select
import zipfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Protocol

import numpy as np

from src.common.errors import UserError
from src.common.files import is_special, move_into_place, partial_path, replaced, resolved
from src.common.locks import try_lock
from src.common.signals import cleaned_up
from src.scoring.options import STANDARD_STREAM

FORMAT_VERSION = 1
STDOUT = 1
HEAD = "head"  # of the journal: the array that holds JSON
Arrays = Mapping[str, np.ndarray]


class Output(Protocol):
    """Takes the lines of the output.  earlier: what an earlier run has saved, if this one resumes it."""

    earlier: Arrays | None

    def write(self, text: bytes) -> None:
        """Append lines."""

    def save(self, arrays: Arrays) -> None:
        """Save what a later run needs to resume after the lines so far, if that is possible."""


class OutputStream:
    """A stream, such as stdout, that takes lines at once and resumes nothing."""

    earlier: Arrays | None = None

    def __init__(self, descriptor: int):
        self._descriptor = descriptor

    def write(self, text: bytes) -> None:
        write_all(self._descriptor, text)

    def save(self, arrays: Arrays) -> None:
        pass


class OutputFile:
    """A file.  identity: all that its content depends on, a dict for JSON; None if a run cannot be resumed."""

    def __init__(self, path: pathlib.Path, file: BinaryIO, identity: dict | None):
        """file: PATH.partial, open to append."""
        self._path, self._file = path, file
        self._identity = None if identity is None else {"format_version": FORMAT_VERSION, **identity}
        self._journal = journal_path(path)
        size, self.earlier = self._read_journal()
        self._file.truncate(size)

    def write(self, text: bytes) -> None:
        write_all(self._file.fileno(), text)

    def save(self, arrays: Arrays) -> None:
        if self._identity is None:
            return
        os.fsync(self._file.fileno())
        head = json.dumps({"identity": self._identity, "bytes": self._size()}).encode()
        with replaced(self._journal) as partial, open(partial, "wb") as file:
            np.savez(file, **{HEAD: np.frombuffer(head, np.uint8)}, **arrays)

    def commit(self) -> None:
        """Give the complete file its name, and remove the journal."""
        move_into_place(partial_path(self._path), self._path)
        self._journal.unlink(missing_ok=True)

    def is_resumable(self) -> bool:
        """Tell whether a later run can resume from what is saved."""
        return self._journal.exists()

    def discard_unless_resumable(self) -> None:
        """Remove all files if a later run could not resume from them."""
        if not self.is_resumable():
            self.discard()

    def discard(self) -> None:
        """Remove all files."""
        for path in (partial_path(self._path), self._journal):
            path.unlink(missing_ok=True)

    def _size(self):
        return os.fstat(self._file.fileno()).st_size

    def _read_journal(self) -> tuple[int, Arrays | None]:
        """Return the size of the file and the arrays that were saved with it; 0 and None if nothing can be resumed."""
        try:
            with np.load(self._journal) as content:
                arrays = dict(content)
            head = json.loads(arrays.pop(HEAD).tobytes())
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            head = {"identity": None}
        if self._identity is None or head["identity"] != self._identity or self._size() < head["bytes"]:
            self._journal.unlink(missing_ok=True)
            return 0, None
        return head["bytes"], arrays


def write_all(descriptor: int, text: bytes) -> None:
    """Write bytes to an open file, without a buffer whose rest would fail again when the file is closed."""
    rest = memoryview(text)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # the pipe is full, and another process has made it non-blocking
            select.select([], [descriptor], [])


def journal_path(path: pathlib.Path) -> pathlib.Path:
    """Return the path of the journal of an output."""
    return path.with_name(f"{path.name}.journal")


@contextlib.contextmanager
def open_output(output_path: str, identity: dict | None) -> Iterator[Output]:
    """Yield the Output that --output_path names; a file is committed at the end of the `with` block.

    If the block fails, what a later run can resume is kept after an OSError, such as a full disk, which then says so;
    a UserError leaves nothing behind.
    """
    path = pathlib.Path(output_path)
    if output_path == STANDARD_STREAM:
        yield OutputStream(STDOUT)
    elif is_special(path):
        with open(path, "wb") as stream:
            yield OutputStream(stream.fileno())
    else:
        with _open_file(resolved(path), identity) as output:
            yield output


@contextlib.contextmanager
def _open_file(path: pathlib.Path, identity: dict | None) -> Iterator[OutputFile]:
    locked = try_lock(partial_path(path))
    if locked is None:
        raise UserError(f"another run is writing to {path}; wait for it, or choose another --output_path")
    with locked:
        output = OutputFile(path, locked, identity)
        try:
            with cleaned_up(output.discard_unless_resumable):
                yield output
            output.commit()
        except OSError as error:
            output.discard_unless_resumable()
            if not output.is_resumable():
                raise
            raise OSError(
                f"{error}. The scores so far are kept in {partial_path(path)}: run the same command again to resume"
            ) from error
        except UserError:
            output.discard()
            raise
        except BaseException:
            output.discard_unless_resumable()
            raise
