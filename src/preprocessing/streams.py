# SPDX-License-Identifier: Apache-2.0
"""Files of text, plain or packed, as streams of bytes; an archive may have several."""

import bz2
import contextlib
import gzip
import io
import pathlib
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple

from src.common.errors import UserError

TEXT_NAME = "train.txt"
GZIP, BZIP2, ZSTD, ZIP = ".gz", ".bz2", ".zst", ".zip"
PACKED_SUFFIXES = (GZIP, BZIP2, ZSTD)
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.zst", ".tar", ZIP)
TEXT_SUFFIXES = (".txt", ".csv", ".tsv", ".dat")
BUFFER_BYTES = 1 << 16
DAMAGES = EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError, zipfile.BadZipFile
COMPRESSION = 2.4  # raw rows are as many times as large as dac.tar.gz


class TextStream(NamedTuple):
    """A text.  name: of a member of an archive, "" elsewhere."""

    name: str
    stream: IO[bytes]


def is_archive(path: pathlib.Path) -> bool:
    """Tell whether a file may hold several texts."""
    return path.name.endswith(ARCHIVE_SUFFIXES)


def is_packed(path: pathlib.Path) -> bool:
    """Tell whether a file can only be read from its beginning."""
    return is_archive(path) or path.suffix in PACKED_SUFFIXES


def text_bytes_of(path: pathlib.Path) -> float:
    """Return the size of the text of a file in bytes; an estimate if it is packed."""
    return path.stat().st_size * (COMPRESSION if is_packed(path) and path.suffix != ".tar" else 1)


def open_streams(path: pathlib.Path, file: IO[bytes], members: Sequence[str] = (TEXT_NAME,)) -> Iterator[TextStream]:
    """Yield the texts in `file`, the open file `path`, each of which is valid until the next one.

    members: of an archive that has one of these names, this text alone, the first of them that it has; else all of its
    texts, in its order.  UserError if the file is damaged or has no text.
    """
    with damage_named(path), contextlib.ExitStack() as stack:
        if path.suffix == ZIP:
            yield from _zip_members(path, file, members)
        elif is_archive(path):
            yield from _tar_members(path, file, members)
        else:
            yield TextStream("", _unpacked(path, file, stack))


@contextlib.contextmanager
def damage_named(path: pathlib.Path) -> Iterator[None]:
    """Turn the errors of damaged files into a UserError."""
    try:
        yield
    except DAMAGES as error:
        raise UserError(f"{path} is damaged or truncated: {error}") from error
    except OSError as error:
        if error.errno is None and path.suffix == BZIP2:  # bz2 has no error of its own
            raise UserError(f"{path} is damaged or truncated: {error}") from error
        raise


def _unpacked(path, file, stack):
    """Return the stream of the text in a file that is no archive, or of the archive without its compression."""
    suffix = GZIP if path.suffix == ".tgz" else path.suffix
    if suffix == GZIP:
        return stack.enter_context(gzip.open(file))
    if suffix == BZIP2:
        return stack.enter_context(bz2.open(file))
    if suffix == ZSTD:
        try:
            import zstandard
        except ModuleNotFoundError:
            raise UserError(f"{path} needs the package zstandard: pip install zstandard") from None
        return stack.enter_context(io.BufferedReader(_ZstdReader(file, zstandard), BUFFER_BYTES))
    return file


class _ZstdReader(io.RawIOBase):
    """The text in a file of frames of Zstandard; EOFError if it is damaged.

    The reader of the package zstandard takes a truncated file for a complete one.
    """

    def __init__(self, file: IO[bytes], zstandard: Any):
        self._file = file
        self._decompressor, self._error = zstandard.ZstdDecompressor(), zstandard.ZstdError
        self._frame: Any = None
        self._text = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._text:
            data = self._file.read(BUFFER_BYTES)
            if not data and self._frame is not None:
                raise EOFError("it ends within a frame")
            if not data:
                return 0
            try:
                self._text = memoryview(b"".join(self._decompress(data)))
            except self._error as error:
                raise EOFError(str(error)) from None
        size = min(len(buffer), len(self._text))
        buffer[:size], self._text = self._text[:size], self._text[size:]
        return size

    def _decompress(self, data):
        """Yield the text in some bytes of the file, which may end one frame and begin others."""
        while data:
            self._frame = self._frame or self._decompressor.decompressobj()
            yield self._frame.decompress(data)
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = None


def _tar_members(path, file, names):
    """Yield the texts in a .tar that may be packed."""
    chosen = names[0] if len(names) == 1 else _first_of(path, file, names)
    found = False
    for wanted in (lambda name: name == chosen, _is_text):  # the first pass is enough for an archive that has it
        for member, text in _tar_texts(path, file):
            if wanted(_base_name(member)):
                found = True
                yield TextStream(member, text)
                if _base_name(member) == chosen:
                    return
        if found:
            return
    raise _no_text(path, names)


def _first_of(path, file, names):
    """Return the first of `names` that a .tar has; an empty name if it has none."""
    found: set[str] = set()
    for member, _ in _tar_texts(path, file):
        found.add(_base_name(member))
        if names[0] in found:
            break
    return next((name for name in names if name in found), "")


def _tar_texts(path, file):
    """Yield the name and the stream of each file in a .tar, from its beginning."""
    file.seek(0)
    with contextlib.ExitStack() as stack:
        outer = file if path.suffix == ".tar" else _unpacked(path, file, stack)
        archive = stack.enter_context(tarfile.open(fileobj=outer, mode="r|", bufsize=BUFFER_BYTES))
        for member in archive:
            if member.isfile() and (text := archive.extractfile(member)) is not None:
                yield member.name, text


def _zip_members(path, file, names):
    """Yield the texts in a .zip."""
    with zipfile.ZipFile(file) as archive:
        members = [member.filename for member in archive.infolist() if not member.is_dir()]
        named = [name for wanted in names for name in members if _base_name(name) == wanted]
        found = named[:1] or [name for name in members if _is_text(_base_name(name))]
        for name in found:
            with archive.open(name) as text:
                yield TextStream(name, text)
    if not found:
        raise _no_text(path, names)


def _no_text(path, names):
    return UserError(f"{path}: holds no {' or '.join(names)} and no file that ends with {', '.join(TEXT_SUFFIXES)}")


def _base_name(name):
    return pathlib.PurePosixPath(name).name


def _is_text(name):
    return name.endswith(TEXT_SUFFIXES) and not name.lower().startswith((".", "_", "readme"))
