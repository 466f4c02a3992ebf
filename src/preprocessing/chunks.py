# SPDX-License-Identifier: Apache-2.0
"""The rows of a Source in chunks, and the place from which reading resumes."""

import codecs
import contextlib
import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import IO

import polars as pl

from src.common.errors import UserError
from src.preprocessing.diagnosis import is_utf8
from src.preprocessing.frame_rows import frame_names
from src.preprocessing.raw_cells import split_cells
from src.preprocessing.raw_rows import count_lines
from src.preprocessing.schema import FieldSchema
from src.preprocessing.source import Source, is_parquet, schema_of_file
from src.preprocessing.streams import damage_named, open_streams

PARQUET_ROWS = 1 << 17  # at once


@dataclasses.dataclass(frozen=True)
class Position:
    """A place between two rows of a source.

    part: number of the text or the Parquet file, from 0.  offset: bytes of the text, after its header, or rows of the
    file before it.  lines: of this part before it, without a header.  rows: of all parts before it, well-formed or not.
    """

    part: int = 0
    offset: int = 0
    lines: int = 0
    rows: int = 0


START = Position()


@dataclasses.dataclass(frozen=True)
class RawChunk:
    """Consecutive rows of one part.

    rows: bytes of text, complete lines that end with a newline, or a frame of Parquet.  start, end: their positions.
    schema: with the columns of this part.
    place: of the first row in messages, the name of the part, if there are several, and the number of its line.
    fraction: fraction of the source that has been read with it.
    file_split: the split of all rows of its file, an index of SPLITS; 0 if the file does not decide on it.
    member: the name of the text in an archive; empty if its file is none.
    """

    rows: bytes | pl.DataFrame
    start: Position
    end: Position
    schema: FieldSchema
    place: tuple[str, int]
    fraction: float
    file_split: int = 0
    member: str = ""

    @property
    def names_columns(self) -> bool:
        """Whether its file names the columns, and so tells whether there is a label."""
        return isinstance(self.rows, pl.DataFrame) or self.schema.text.has_header


def read_source(source: Source, schema: FieldSchema, chunk_bytes: int, start: Position = START) -> Iterator[RawChunk]:
    """Yield the rows of a source from a place on, in chunks of about chunk_bytes of text.

    UserError for a file that is damaged or lacks columns.
    """
    position, done, total = Position(), 0, sum(file.stat().st_size for file in source.files)
    for number, file in enumerate(source.files):
        for part in _parts(source, file, schema, chunk_bytes):
            if position.part == start.part:
                position = start
            if position.part >= start.part:
                for chunk in part.chunks(position):
                    fraction = min((done + chunk.fraction) / max(total, 1), 1.0)
                    yield dataclasses.replace(chunk, fraction=fraction, file_split=source.split_of(number))
                    position = chunk.end
            position = Position(position.part + 1, 0, 0, position.rows + position.lines)
        done += file.stat().st_size


def read_stream(stream: IO[bytes], name: str, schema: FieldSchema, chunk_bytes: int) -> Iterator[RawChunk]:
    """Return the rows of a text in a stream in chunks; the fraction of a chunk is 0.  name: of the stream."""
    return _TextPart(pathlib.Path(name), "", schema, None, stream, chunk_bytes).chunks(START)


def _parts(source, file, schema, chunk_bytes):
    """Yield the parts of a file."""
    if is_parquet(file):
        yield _ParquetPart(file, source.name_of(file), schema)
        return
    with open(file, "rb") as opened:
        for member, stream in open_streams(file, opened, source.members):
            is_only = member == "" or pathlib.PurePosixPath(member).name in source.members
            name = source.name_of(file) if is_only else f"{member} in {file.name}"
            yield _TextPart(file, name, schema_of_file(schema, file), opened, stream, chunk_bytes, member)


@dataclasses.dataclass
class _TextPart:
    """A text.

    file: where it is.  name: in messages on its lines.  opened: that file, if it is one.  stream: of the text.
    """

    file: pathlib.Path
    name: str
    schema: FieldSchema
    opened: IO[bytes] | None
    stream: IO[bytes]
    chunk_bytes: int
    member: str = ""

    def chunks(self, start: Position) -> Iterator[RawChunk]:
        """Yield its rows from a place on; the fraction of a chunk is the number of bytes of the file read by now."""
        with damage_named(self.file):
            has_header = self.schema.text.has_header
            schema = schema_of_header(self.stream.readline(), self.schema, self.file) if has_header else self.schema
            _skip(self.stream, start.offset, self.chunk_bytes)
            for data in read_lines(self.stream, self.chunk_bytes):
                end = dataclasses.replace(start, offset=start.offset + len(data), lines=start.lines + count_lines(data))
                place = self.name, start.lines + 1 + int(has_header)
                fraction = self.opened.tell() if self.opened else 0
                yield RawChunk(data, start, end, schema, place, fraction, member=self.member)
                start = end


@dataclasses.dataclass
class _ParquetPart:
    """A file of Parquet."""

    file: pathlib.Path
    name: str
    schema: FieldSchema

    def chunks(self, start: Position) -> Iterator[RawChunk]:
        """Yield its rows from a place on; the fraction of a chunk is the number of bytes of the file read by now."""
        schema, height = schema_of_parquet(self.schema, self.file), parquet_rows(self.file)
        size = self.file.stat().st_size
        for frame in read_parquet(self.file, schema, start.offset, height):
            offset = start.offset + frame.height
            end = dataclasses.replace(start, offset=offset, lines=offset)
            place = self.name, start.lines + 1
            yield RawChunk(frame, start, end, schema, place, size * offset / height)
            start = end


def schema_of_parquet(schema: FieldSchema, file: pathlib.Path) -> FieldSchema:
    """Return the schema of the rows of a file of Parquet; UserError if it is damaged or lacks columns."""
    with _parquet_errors(file):
        columns = tuple(pl.scan_parquet(file, glob=False).collect_schema())
    return _in_file(schema, columns, file)


def parquet_rows(file: pathlib.Path) -> int:
    """Return the number of rows of a file of Parquet."""
    with _parquet_errors(file):
        return pl.scan_parquet(file, glob=False).select(pl.len()).collect().item()


def read_parquet(file: pathlib.Path, schema: FieldSchema, start: int, end: int) -> Iterator[pl.DataFrame]:
    """Yield the columns of the schema of the rows from `start` to `end`, PARQUET_ROWS at a time or fewer."""
    with _parquet_errors(file):
        rows = pl.scan_parquet(file, glob=False).select(frame_names(schema)).slice(start, end - start)
        # A slice of its own for each chunk would decode a row group as often as it has chunks.
        yield from rows.collect_batches(chunk_size=PARQUET_ROWS, maintain_order=True)


@contextlib.contextmanager
def _parquet_errors(file):
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{file} is damaged or no Parquet file: {error}") from error


def schema_of_header(line: bytes, schema: FieldSchema, file: pathlib.Path) -> FieldSchema:
    """Return the schema of the lines of a file whose first line is this one; UserError if it is no header of them."""
    if not line:
        raise UserError(f"{file} is empty: it lacks even the header; leave it out")
    if not is_utf8(line):
        raise UserError(f"{file}: the header is not UTF-8: convert the file with iconv")
    cells = split_cells(line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n"), schema.text)
    if cells is None:
        raise UserError(f"{file}: the quotes of the header are malformed")
    names = [cell.decode() for cell in cells]
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{file}: the header has the column {repeated[0]!r} twice")
    return _in_file(schema, tuple(names), file)


def _in_file(schema, columns, file):
    try:
        return schema.in_file(columns)
    except ValueError as error:
        hint = "; a log with other columns than Criteo's takes --schema_path" if schema.text.follows_suffix else ""
        raise UserError(f"{file}: {error}{hint}") from None


def read_lines(stream: IO[bytes], chunk_bytes: int) -> Iterator[bytes]:
    """Yield complete lines of a stream, about chunk_bytes at once; the last line gets an end if it has none."""
    while data := stream.read(chunk_bytes):
        if not data.endswith(b"\n"):
            data += stream.readline()
        yield data if data.endswith(b"\n") else data + b"\n"


def _skip(stream: IO[bytes], byte_count: int, chunk_bytes: int) -> None:
    while byte_count > 0 and (data := stream.read(min(byte_count, chunk_bytes))):
        byte_count -= len(data)
