# SPDX-License-Identifier: Apache-2.0
"""The boundaries of a split by time, found in all rows before they are parsed and written to the spill."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import polars as pl

from src.preprocessing.pieces import Piece, count_piece_rows, cut, read_piece
from src.preprocessing.reading import parse_raw_chunk
from src.preprocessing.schema import TIME, FieldSchema
from src.preprocessing.source import Source
from src.preprocessing.splits import KeySplits
from src.preprocessing.value_counts import COUNT, VALUE, add_tallies, tally

TIMES_SCHEMA = {VALUE: pl.Int64, COUNT: pl.Int64}


@dataclasses.dataclass(frozen=True)
class TimeSplit:
    """A split of which the last rows are the test split, and those before them the validation split.

    They are the last ones by the time column of the schema, or else in the order of the files.
    valid_ratio, test_ratio: fractions of the rows whose split their file does not decide on.
    """

    valid_ratio: float
    test_ratio: float

    def place(
        self, splits: KeySplits, source: Source, schema: FieldSchema, chunk_bytes: int, max_batch: int
    ) -> KeySplits:
        """Return the splits with the boundaries of the rows of a source.  max_batch: times to count at once."""
        pieces = cut(source.divided, math.inf)
        if schema.time_name is None:
            row_count = sum(count_piece_rows(piece, schema) for piece in pieces)
            return splits.by_row(row_count, self.valid_ratio, self.test_ratio)
        times = add_times(count_times(piece, schema, chunk_bytes, max_batch) for piece in pieces)
        return splits.by_time(times, self.valid_ratio, self.test_ratio)


def count_times(piece: Piece, schema: FieldSchema, chunk_bytes: int, max_batch: int) -> pl.DataFrame:
    """Return the times of the well-formed rows of a piece, VALUE (Int64), and the number of rows of each, COUNT."""
    return tally(_times(piece, schema, chunk_bytes), max_batch).get(pl.Int64, pl.DataFrame(schema=TIMES_SCHEMA))


def add_times(counts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the sum of what count_times returns for some pieces."""
    return add_tallies({pl.Int64: each} for each in counts)[pl.Int64]


def _times(piece, schema, chunk_bytes) -> Iterator[pl.Series]:
    """Yield the times of the rows of a piece in chunks."""
    for chunk in read_piece(piece, schema.without_values(), chunk_bytes):
        yield parse_raw_chunk(chunk).frame[TIME]
