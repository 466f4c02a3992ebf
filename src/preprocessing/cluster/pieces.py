# SPDX-License-Identifier: Apache-2.0
"""Pieces of raw files, each of which one worker reads."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterable, Iterator

from src.preprocessing.raw_file import RawChunk, read_chunks
from src.preprocessing.raw_rows import count_lines

PACKED_SUFFIX = ".gz"
COUNTED_BYTES = 1 << 20  # of text at once: a larger buffer would come from the system, and go back, each time


@dataclasses.dataclass(frozen=True)
class Piece:
    """The lines of a file that begin from byte `start` to byte `end`; all lines of a packed file, whose end is None."""

    path: str
    start: int = 0
    end: int | None = None


def cut(files: Iterable[pathlib.Path], piece_bytes: float) -> list[Piece]:
    """Return the pieces of some files, in the order of the lines: of about piece_bytes, or all of a packed file."""
    pieces = []
    for file in files:
        if file.suffix == PACKED_SUFFIX:
            pieces.append(Piece(str(file)))
            continue
        size = file.stat().st_size
        count = max(round(size / piece_bytes), 1)
        ends = [size * number // count for number in range(count + 1)]
        pieces += [Piece(str(file), start, end) for start, end in itertools.pairwise(ends)]
    return pieces


def read_piece(piece: Piece, chunk_bytes: int) -> Iterator[RawChunk]:
    """Yield the lines of a piece in chunks of about chunk_bytes; the fraction of a chunk is that of the piece."""
    if piece.end is None:
        yield from read_chunks(pathlib.Path(piece.path), chunk_bytes)
        return
    with open(piece.path, "rb") as file:
        if piece.start:  # the line that has begun before, also if it ends just before `start`, is not of this piece
            file.seek(piece.start - 1)
            file.readline()
        while (left := piece.end - file.tell()) > 0 and (data := file.read(min(left, chunk_bytes))):
            if not data.endswith(b"\n"):
                data += file.readline()
            fraction = min((file.tell() - piece.start) / (piece.end - piece.start), 1.0)
            yield RawChunk(data if data.endswith(b"\n") else data + b"\n", fraction)


def count_piece_lines(piece: Piece) -> int:
    """Return the number of lines of a piece."""
    if piece.end is None:
        return sum(count_lines(chunk.data) for chunk in read_piece(piece, COUNTED_BYTES))
    line_count = int(piece.start == 0 < piece.end)  # each other line begins after the end of one
    buffer = memoryview(bytearray(COUNTED_BYTES))
    with open(piece.path, "rb", buffering=0) as file:
        file.seek(max(piece.start - 1, 0))
        while (left := piece.end - 1 - file.tell()) > 0 and (size := file.readinto(buffer[:left])):
            line_count += count_lines(buffer[:size])
    return line_count
