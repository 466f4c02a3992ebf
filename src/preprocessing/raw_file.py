# SPDX-License-Identifier: Apache-2.0
"""The file of raw rows, plain or packed, read as chunks of complete lines."""

import contextlib
import dataclasses
import gzip
import pathlib
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from typing import IO

from src.common.errors import UserError

TEXT_NAME, GZIP_NAME, ARCHIVE_NAME = "train.txt", "train.txt.gz", "dac.tar.gz"
ARCHIVE_SUFFIX = ".tar.gz"
ARCHIVE_BUFFER_BYTES = 1 << 16
ByteStream = IO[bytes] | gzip.GzipFile
COMPRESSION = 2.4  # raw rows are as many times as large as dac.tar.gz


@dataclasses.dataclass(frozen=True)
class RawChunk:
    """Lines of a raw file.  data: bytes that end with a newline.  fraction: fraction of the file read by now."""

    data: bytes
    fraction: float


def find_source(data_path: str) -> pathlib.Path:
    """Return the raw file in `data_path`/origin_data or in `data_path` itself."""
    folders = (pathlib.Path(data_path, "origin_data"), pathlib.Path(data_path))
    for folder in folders:
        for name in (TEXT_NAME, GZIP_NAME, ARCHIVE_NAME):
            if (folder / name).is_file():
                return folder / name
    raise UserError(
        f"no {TEXT_NAME}, {GZIP_NAME} or {ARCHIVE_NAME} in {folders[0]} or {folders[1]}; --data_path names the folder"
    )


def text_bytes(source: pathlib.Path) -> float:
    """Return the size of the text of a raw file in bytes; an estimate if it is packed."""
    return source.stat().st_size * (COMPRESSION if source.suffix == ".gz" else 1)


def read_chunks(
    source: pathlib.Path, chunk_bytes: int, skip_bytes: int = 0, member: str = TEXT_NAME
) -> Iterator[RawChunk]:
    """Yield the text of `source` (plain, .gz, or `member` within a .tar.gz) in chunks of about chunk_bytes.

    skip_bytes: bytes of the text to leave out at its beginning.  UserError if the file is damaged.
    """
    with _damage_named(source), contextlib.ExitStack() as stack:
        file = stack.enter_context(open(source, "rb"))
        size = source.stat().st_size
        stream = _open_text(source, file, stack, member)
        _skip(stream, skip_bytes, chunk_bytes)
        for data in read_lines(stream, chunk_bytes):
            yield RawChunk(data, min(file.tell() / size, 1.0))


def read_lines(stream: ByteStream, chunk_bytes: int) -> Iterator[bytes]:
    """Yield complete lines of a stream, about chunk_bytes at once; the last line gets an end if it has none."""
    while data := stream.read(chunk_bytes):
        if not data.endswith(b"\n"):
            data += stream.readline()
        yield data if data.endswith(b"\n") else data + b"\n"


def find_member(source: pathlib.Path, names: Sequence[str]) -> str:
    """Return the first of `names` that a file within a .tar.gz has; UserError if there is none."""
    found: set[str] = set()
    with _damage_named(source), tarfile.open(source, "r|gz", bufsize=ARCHIVE_BUFFER_BYTES) as archive:
        for member in archive:
            found.update(name for name in names if _is_text(member, name))
            if names[0] in found:
                break
    for name in names:
        if name in found:
            return name
    raise UserError(f"{source}: holds no {' or '.join(names)}")


@contextlib.contextmanager
def _damage_named(source: pathlib.Path) -> Iterator[None]:
    """Turn the errors of damaged files into a UserError."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError) as error:
        raise UserError(f"{source} is damaged or truncated: {error}") from error


def _skip(stream: ByteStream, byte_count: int, chunk_bytes: int) -> None:
    while byte_count > 0 and (data := stream.read(min(byte_count, chunk_bytes))):
        byte_count -= len(data)


def _open_text(source: pathlib.Path, file: IO[bytes], stack: contextlib.ExitStack, name: str) -> ByteStream:
    """Return the text in `file`, the open source, as a stream of bytes that `stack` closes.  name: in an archive."""
    if not source.name.endswith(ARCHIVE_SUFFIX):
        return stack.enter_context(gzip.open(file)) if source.suffix == ".gz" else file
    archive = stack.enter_context(tarfile.open(fileobj=file, mode="r|gz", bufsize=ARCHIVE_BUFFER_BYTES))
    for member in archive:
        if _is_text(member, name) and (text := archive.extractfile(member)) is not None:
            return text
    raise UserError(f"{source}: holds no {name}")


def _is_text(member: tarfile.TarInfo, name: str) -> bool:
    return member.isfile() and pathlib.PurePosixPath(member.name).name == name
