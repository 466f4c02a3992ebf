# SPDX-License-Identifier: Apache-2.0
"""Parse chunks of raw rows as text; malformed lines are set aside.

A line ends with a newline; carriage returns at the end of a cell, and so of a line, are not part of it.
"""

import codecs
import dataclasses
import math

import numpy as np
import polars as pl

from src.preprocessing.bad_lines import BadLines
from src.preprocessing.line_by_line import judge_lines
from src.preprocessing.raw_cells import QUOTE, has_pair, read_csv, read_floats, read_times, to_weights
from src.preprocessing.raw_columns import MISSING, to_codes, without_negative_zeros
from src.preprocessing.schema import LABEL, LINE_NUMBER, TIME, WEIGHT, FieldSchema, TextFormat

NEWLINE = ord("\n")
COUNT_SLICE_BYTES = 1 << 18


@dataclasses.dataclass(frozen=True)
class ParsedChunk:
    """The lines of a chunk.

    frame: the well-formed ones: LINE_NUMBER (uint64, from 0), LABEL (int8), WEIGHT (float32) and TIME (int64) if rows
    have them, and the columns that a model uses, as src.preprocessing.raw_columns has them; categories that are ids are
    Int32.
    line_count: of all lines, well-formed or malformed.
    """

    frame: pl.DataFrame
    line_count: int
    bad_lines: BadLines


def count_lines(data: bytes | memoryview) -> int:
    """Return the number of lines in a chunk."""
    return _count(np.frombuffer(data, np.uint8), NEWLINE)


def parse_chunk(
    data: bytes, first_row: int, schema: FieldSchema, file: str = "", first_line: int | None = None
) -> ParsedChunk:
    """Parse the lines of a chunk, each of which ends with a newline.

    first_row: number, from 0, of its first line among all rows.
    file, first_line: for messages, the name of the file if there are several, and the number of the first line there,
    from 1, if it is not first_row + 1.
    """
    frame = _read_clean_chunk(data, schema)
    if frame is None:
        place = file, first_row + 1 if first_line is None else first_line
        return ParsedChunk(*judge_lines(data, first_row, schema, place))
    row_numbers = np.arange(first_row, first_row + frame.height, dtype=np.uint64)
    return ParsedChunk(frame.with_columns(pl.Series(LINE_NUMBER, row_numbers)), frame.height, BadLines())


def _read_clean_chunk(data: bytes, schema: FieldSchema) -> pl.DataFrame | None:
    """Return the columns of a chunk without a malformed line; None if it may have one, or if categories are ids."""
    characters = np.frombuffer(data, np.uint8)
    line_count = _count(characters, NEWLINE)
    has_quotes = schema.text.has_quotes and QUOTE in data
    separator_count = _count_separators(characters, schema.text, has_quotes)
    if schema.categories_are_ids or separator_count != line_count * (schema.column_count - 1):
        return None
    if _may_hide_malformed_cells(data, schema):
        return None
    types = dict.fromkeys(schema.column_names, pl.String)
    types |= {**dict.fromkeys(schema.integer_names, pl.Int32), **dict.fromkeys(schema.float_names, pl.Float64)}
    try:
        frame = read_csv(data, types, schema.text, schema.used_names, has_quotes=has_quotes)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != line_count or not _are_labels(frame, schema) or not _are_numbers(frame, schema):
        return None
    roles = _read_roles(frame, schema)
    if any(column.has_nulls() for column in roles):
        return None
    integers = frame.select(pl.col(schema.integer_names).fill_null(MISSING[pl.Int32]))  # at once, which is faster
    floats = [without_negative_zeros(frame[name].fill_null(math.nan)) for name in schema.float_names]
    texts = [frame[name].fill_null("") for name in schema.text_names]
    return pl.DataFrame([*roles, *integers, *floats, *to_codes(frame.select(schema.category_names)), *texts])


def _are_numbers(frame: pl.DataFrame, schema: FieldSchema) -> bool:
    """Tell whether there is no number that a missing value is marked by."""
    floats = frame.select(pl.col(schema.float_names).is_finite().all()) if schema.float_names else None
    if floats is not None and not all(floats.row(0)):
        return False
    return MISSING[pl.Int32] not in frame.select(schema.integer_names).min().row(0)


def _read_roles(frame, schema):
    """Return the label, the weight and the time of each row, if rows have them; null for one that is none."""
    columns = []
    if LABEL in frame.columns:
        is_click = frame[LABEL].is_in(schema.clicks) if schema.clicks else frame[LABEL] == "1"
        columns.append(is_click.cast(pl.Int8))
    if WEIGHT in frame.columns:
        columns.append(to_weights(read_floats(frame[WEIGHT]), schema))
    if TIME in frame.columns:
        columns.append(read_times(frame[TIME]))
    return columns


def _are_labels(frame: pl.DataFrame, schema: FieldSchema) -> bool:
    """Tell whether all labels, if rows have one, are in their most frequent form."""
    if not schema.has_label:
        return True
    if schema.clicks:
        return (frame[LABEL] != "").fill_null(False).all()  # a cell that is empty within quotes is no null
    return frame[LABEL].is_in([str(schema.negative_label), "1"]).fill_null(False).all()


def _count_separators(characters: np.ndarray, text: TextFormat, has_quotes: bool) -> int:
    """Return the number of separators outside of quotes in lines, uint8 [n]; -1 if a line's end is in quotes."""
    if not has_quotes:
        return _count(characters, ord(text.separator))
    is_inside = np.bitwise_xor.accumulate(characters == ord(QUOTE))
    if np.any(is_inside & (characters == NEWLINE)):
        return -1
    return int(np.count_nonzero(~is_inside & (characters == ord(text.separator))))


def _count(characters: np.ndarray, character: int) -> int:
    """Return how often a byte occurs, in uint8 [n]; by slices that fit the processor's cache."""
    slices = (characters[start : start + COUNT_SLICE_BYTES] for start in range(0, len(characters), COUNT_SLICE_BYTES))
    return sum(np.count_nonzero(part == character) for part in slices)


def _may_hide_malformed_cells(data: bytes, schema: FieldSchema) -> bool:
    """Tell whether polars may take a number or a label of this text that is malformed for a well-formed one.

    It skips blanks before a number, in quotes too, a carriage return after a label and a byte order mark; one before
    the end of quotes it does not skip.
    """
    separator = schema.text.separator.encode()
    starts = [separator, *([] if schema.column_names[0] == LABEL else [b"\n"])]  # of cells that are no label
    if schema.text.has_quotes:
        starts += [start + QUOTE for start in starts]
    blanks = [blank for blank in (b" ", b"\t") if blank != separator]
    if any(has_pair(data, start + blank) for blank in blanks for start in starts):
        return True
    first = data[:2].lstrip(QUOTE)[:1]
    ends = [separator, *([QUOTE] if schema.text.has_quotes else [])]  # of cells
    is_return_before = any(has_pair(data, b"\r" + end) for end in ends)
    return first in blanks or is_return_before or data.startswith(codecs.BOM_UTF8)
