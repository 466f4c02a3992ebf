# SPDX-License-Identifier: Apache-2.0
"""The output of a scoring: a file that appears complete or not at all and that a killed run resumes, or a stream.

The lines go to PATH.partial.  From time to time they are flushed to the disk, and then the journal, PATH.journal, is
replaced: it says how long the file was, and what the scoring knew then.  A resumed run drops what came later.
The first journal is written before the first line.  So lines without a journal are not those of a killed run, and files
of these names that are of another origin are refused.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import select
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Protocol

import numpy as np

from src.common.errors import UserError
from src.common.files import is_special, move_into_place, partial_path, replaced, resolved
from src.common.locks import try_lock
from src.common.signals import cleaned_up
from src.scoring.options import STANDARD_STREAM
from src.scoring.paths import journal_path

FORMAT_VERSION = 1
STDOUT = 1
RESUME_HINT = "run the same command again to resume"
HEAD = "head"  # of the journal: the array that holds JSON
Arrays = Mapping[str, np.ndarray]


class Output(Protocol):
    """Takes the lines of the output."""

    @property
    def earlier(self) -> Arrays | None:
        """What an earlier run has saved, if this one resumes it."""

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


@dataclasses.dataclass(frozen=True)
class Journal:
    """The content of a journal.  bytes: the size of PATH.partial when it was written."""

    identity: Any
    bytes: int
    arrays: Arrays

    @classmethod
    def read(cls, path: pathlib.Path) -> "Journal | None":
        """Return a journal, None if there is none or an empty file; UserError if the file is anything else."""
        try:
            if not path.stat().st_size:
                return None
            with np.load(path) as content:
                head = json.loads(content[HEAD].tobytes())
                arrays = {name: content[name] for name in content if name != HEAD}
                return cls(head["identity"], int(head["bytes"]), arrays)
        except FileNotFoundError:
            return None
        # AttributeError and TypeError: .npy holds one array without a name; KeyError: .npz of another program
        except (AttributeError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
            raise UserError(f"{path} is no journal of predict.py; move it or choose another --output_path") from None


class OutputFile:
    """A file.  identity: all that its content depends on, a dict for JSON; None if a run cannot be resumed."""

    def __init__(self, path: pathlib.Path, file: BinaryIO, identity: dict | None):
        """file: PATH.partial, open to append.  UserError if it or the journal is not a file of predict.py."""
        self._path, self._file = path, file
        self._identity = None if identity is None else {"format_version": FORMAT_VERSION, **identity}
        self._journal = journal_path(path)
        found = Journal.read(self._journal)
        if found is None and self._size():
            partial = partial_path(path)
            raise UserError(f"{partial} is no file of predict.py; move it or choose another --output_path")
        self._resumed = found if self._resumes(found) else None

    @property
    def earlier(self) -> Arrays | None:
        return None if self._resumed is None else self._resumed.arrays

    def begin(self) -> None:
        """Drop the lines that are not resumed, and write the first journal."""
        self._file.truncate(0 if self._resumed is None else self._resumed.bytes)
        if self._resumed is None:
            self._write_journal({})

    def write(self, text: bytes) -> None:
        write_all(self._file.fileno(), text)

    def save(self, arrays: Arrays) -> None:
        if self._identity is not None:
            os.fsync(self._file.fileno())
            self._write_journal(arrays)

    def commit(self) -> None:
        """Give the complete file its name, and remove the journal."""
        move_into_place(partial_path(self._path), self._path)
        self._journal.unlink(missing_ok=True)

    def discard_unless_resumable(self) -> str | None:
        """Return how a later run resumes; None if it cannot: then all files are removed."""
        if self._resumes(Journal.read(self._journal)):  # as it is on the disk: this may run in the midst of save()
            return RESUME_HINT
        self.discard()
        return None

    def discard(self) -> None:
        """Remove all files."""
        for path in (partial_path(self._path), self._journal):
            path.unlink(missing_ok=True)

    def _resumes(self, journal):
        """Tell whether a run with this identity resumes a journal; None never."""
        return (
            journal is not None
            and journal.identity is not None
            and journal.identity == self._identity
            and 0 < journal.bytes <= self._size()
        )

    def _size(self):
        return os.fstat(self._file.fileno()).st_size

    def _write_journal(self, arrays):
        head = json.dumps({"identity": self._identity, "bytes": self._size()}).encode()
        with replaced(self._journal) as partial, open(partial, "wb") as file:
            np.savez(file, **{HEAD: np.frombuffer(head, np.uint8)}, **arrays)


def write_all(descriptor: int, text: bytes) -> None:
    """Write bytes to an open file, without a buffer whose rest would fail again when the file is closed."""
    rest = memoryview(text)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # the pipe is full, and another process has made it non-blocking
            select.select([], [descriptor], [])


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
        output = _own_file(path, locked, identity)
        try:
            with cleaned_up(output.discard_unless_resumable):
                output.begin()
                yield output
            output.commit()
        except OSError as error:
            hint = output.discard_unless_resumable()
            if hint is None:
                raise
            raise OSError(f"{error}. The scores so far are kept in {partial_path(path)}: {hint}") from error
        except UserError:
            output.discard()
            raise
        except BaseException:
            output.discard_unless_resumable()
            raise


def _own_file(path, locked, identity):
    """Return the OutputFile.  If it is refused, the files stay as they were before they were opened."""
    try:
        return OutputFile(path, locked, identity)
    except BaseException:
        if not os.fstat(locked.fileno()).st_size:
            partial_path(path).unlink()
        raise
