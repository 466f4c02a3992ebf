# SPDX-License-Identifier: Apache-2.0
"""Pieces of raw files, each of which one worker reads."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator

from src.preprocessing.chunks import (
    Position,
    RawChunk,
    parquet_rows,
    read_parquet,
    read_source,
    schema_of_header,
    schema_of_parquet,
)
from src.preprocessing.raw_rows import count_lines
from src.preprocessing.schema import FieldSchema
from src.preprocessing.source import PARQUET_EXPANSION, Source, is_parquet, schema_of_file
from src.preprocessing.streams import is_packed

COUNTED_BYTES = 1 << 20  # of text at once: a larger buffer would come from the system, and go back, each time


@dataclasses.dataclass(frozen=True)
class Piece:
    """The lines of a file that begin from byte `start` to byte `end`, the rows of Parquet from `start` to `end`, or all
    rows of a packed file, whose end is None.

    name: of the file in messages, empty if there is no other.  file_split: as RawChunk has it.
    """

    path: str
    start: int = 0
    end: int | None = None
    name: str = ""
    file_split: int = 0

    @property
    def file(self) -> pathlib.Path:
        return pathlib.Path(self.path)


def cut(source: Source, piece_bytes: float) -> list[Piece]:
    """Return the pieces of a source, in the order of its rows, of about piece_bytes of text; packed files are whole."""
    pieces = []
    for number, file in enumerate(source.files):
        path, name, file_split = str(file), source.name_of(file), source.split_of(number)
        if is_packed(file):
            pieces.append(Piece(path, name=name, file_split=file_split))
            continue
        units, text = file.stat().st_size, float(file.stat().st_size)
        if is_parquet(file):
            units, text = parquet_rows(file), text * PARQUET_EXPANSION
        count = min(max(round(text / piece_bytes), 1), max(units, 1))
        ends = [units * cut_number // count for cut_number in range(count + 1)]
        pieces += [Piece(path, start, end, name, file_split) for start, end in itertools.pairwise(ends)]
    return pieces


def read_piece(
    piece: Piece, schema: FieldSchema, chunk_bytes: int, first_row: int = 0, first_line: int = 1
) -> Iterator[RawChunk]:
    """Yield the rows of a piece in chunks of about chunk_bytes of text; the fraction of a chunk is that of the piece.

    first_row: number of its first row among all rows, from 0; first_line: that of its first line in its file, from 1.
    """
    if piece.end is None:
        for chunk in read_source(Source((piece.file,)), schema, chunk_bytes):
            start, (name, line) = chunk.start, chunk.place
            place = " in ".join(filter(None, [name, piece.name])) if name != piece.name else name, line
            start = dataclasses.replace(start, rows=start.rows + first_row)
            yield dataclasses.replace(chunk, start=start, place=place, file_split=piece.file_split)
        return
    read = _read_frames(piece, schema) if is_parquet(piece.file) else _read_text(piece, schema, chunk_bytes)
    start = Position(rows=first_row)
    for rows, count, fraction, own_schema in read:
        end = dataclasses.replace(start, lines=start.lines + count)
        place = piece.name, first_line + start.lines
        yield RawChunk(rows, start, end, own_schema, place, fraction, piece.file_split)
        start = end


def _read_frames(piece, schema):
    """Yield frames, their numbers of rows, the fractions of the piece by then, and the schema."""
    schema = schema_of_parquet(schema, piece.file)
    rows = 0
    for frame in read_parquet(piece.file, schema, piece.start, piece.end):
        rows += frame.height
        yield frame, frame.height, rows / (piece.end - piece.start), schema


def _read_text(piece, schema, chunk_bytes):
    """Yield lines, their numbers, the fractions of the piece by then, and the schema."""
    schema = schema_of_file(schema, piece.file)
    with open(piece.path, "rb") as file:
        if schema.text.has_header:
            schema = schema_of_header(file.readline(), schema, piece.file)
        if piece.start > file.tell() or (piece.start and not schema.text.has_header):
            # The line that has begun before, also if it ends just before `start`, is not of this piece.
            file.seek(piece.start - 1)
            file.readline()
        while (left := piece.end - file.tell()) > 0 and (data := file.read(min(left, chunk_bytes))):
            if not data.endswith(b"\n"):
                data += file.readline()
            fraction = min((file.tell() - piece.start) / (piece.end - piece.start), 1.0)
            data = data if data.endswith(b"\n") else data + b"\n"
            yield data, count_lines(data), fraction, schema


def count_piece_rows(piece: Piece, schema: FieldSchema) -> int:
    """Return the number of rows of a piece, well-formed or malformed."""
    if piece.end is None:
        return sum(chunk.end.lines - chunk.start.lines for chunk in read_piece(piece, schema, COUNTED_BYTES))
    if is_parquet(piece.file):
        return piece.end - piece.start
    line_count = int(piece.start == 0 < piece.end)  # each other line begins after the end of one
    buffer = memoryview(bytearray(COUNTED_BYTES))
    with open(piece.path, "rb", buffering=0) as file:
        file.seek(max(piece.start - 1, 0))
        while (left := piece.end - 1 - file.tell()) > 0 and (size := file.readinto(buffer[:left])):
            line_count += count_lines(buffer[:size])
    has_header = schema_of_file(schema, piece.file).text.has_header
    return line_count - int(has_header and piece.start == 0 and line_count > 0)
