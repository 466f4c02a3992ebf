# SPDX-License-Identifier: Apache-2.0
"""Parse chunks of raw rows: label, integers, categories, tab-separated; malformed lines are set aside.

A line ends with a newline; carriage returns at the end of a cell, and so of a line, are not part of it.
"""

import codecs
import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import polars as pl

from src.preprocessing.bad_lines import BadLines
from src.preprocessing.diagnosis import COLUMNS, ENCODING, ID, INTEGER, LABEL_VALUE, is_utf8
from src.preprocessing.raw_cells import LONGEST_LABEL_BYTES, read_integers, read_label
from src.preprocessing.raw_columns import MISSING, to_codes, to_integers
from src.preprocessing.schema import LABEL, LINE_NUMBER, FieldSchema

TAB, NEWLINE, DIGIT_0, DIGIT_1 = b"\t\n01"
FIRST_NON_ASCII = 0x80
COUNT_SLICE_BYTES = 1 << 18
NO_LABEL = -1


@dataclasses.dataclass(frozen=True)
class ParsedChunk:
    """The lines of a chunk.

    frame: the well-formed ones: LINE_NUMBER (uint64, from 0), LABEL (int8) if rows have one, the integers and the
    categories, as src.preprocessing.raw_columns has them; categories that are ids are Int32.
    line_count: of all lines, well-formed or malformed.
    """

    frame: pl.DataFrame
    line_count: int
    bad_lines: BadLines


def count_lines(data: bytes | memoryview) -> int:
    """Return the number of lines in a chunk."""
    return _count(np.frombuffer(data, np.uint8), lambda characters: characters == NEWLINE)


def parse_chunk(data: bytes, first_line: int, schema: FieldSchema) -> ParsedChunk:
    """Parse the lines of a chunk, each of which ends with a newline.  first_line: number, from 0, of its first line."""
    characters = np.frombuffer(data, np.uint8)
    frame = _read_clean_chunk(data, characters, schema)
    if frame is None:
        return _parse_line_by_line(data, characters, first_line, schema)
    line_numbers = np.arange(first_line, first_line + frame.height, dtype=np.uint64)
    return ParsedChunk(frame.with_columns(pl.Series(LINE_NUMBER, line_numbers)), frame.height, BadLines())


def _read_clean_chunk(data: bytes, characters: np.ndarray, schema: FieldSchema) -> pl.DataFrame | None:
    """Return the columns of a chunk without a malformed line; None if it may have one."""
    line_count = _count(characters, lambda part: part == NEWLINE)
    tab_count = _count(characters, lambda part: part == TAB)
    if schema.categories_are_ids or tab_count != line_count * (schema.column_count - 1):
        return None
    if _may_hide_malformed_cells(data, schema):
        return None
    columns = {**dict.fromkeys(schema.column_names, pl.String), **dict.fromkeys(schema.integer_names, pl.Int32)}
    try:
        frame = _read_csv(data, columns)
    except pl.exceptions.PolarsError:
        return None
    if frame.height != line_count or not _are_labels(frame, schema):
        return None
    missing = MISSING[pl.Int32]
    if missing in frame.select(schema.integer_names).min().row(0):
        return None
    labels = [(pl.col(LABEL) == "1").cast(pl.Int8)] if schema.has_label else []
    numbers = frame.select(*labels, pl.col(schema.integer_names).fill_null(missing))
    return pl.DataFrame([*numbers, *to_codes(frame.select(schema.category_names))])


def _are_labels(frame: pl.DataFrame, schema: FieldSchema) -> bool:
    """Tell whether all labels, if rows have one, are in their most frequent form."""
    if not schema.has_label:
        return True
    return frame[LABEL].is_in([str(schema.negative_label), "1"]).fill_null(False).all()


def _count(characters: np.ndarray, is_counted: Callable[[np.ndarray], np.ndarray]) -> int:
    """Return the number of bytes, uint8 [n], for which `is_counted` holds; by slices that fit the processor's cache."""
    slices = (characters[start : start + COUNT_SLICE_BYTES] for start in range(0, len(characters), COUNT_SLICE_BYTES))
    return sum(np.count_nonzero(is_counted(part)) for part in slices)


def _may_hide_malformed_cells(data: bytes, schema: FieldSchema) -> bool:
    """Tell whether polars may take an integer or a label of this text that is malformed for a well-formed one.

    It skips blanks before an integer, a carriage return after a label and a byte order mark.
    """
    if not schema.has_label and (data.startswith(b" ") or _has_pair(data, b"\n ")):
        return True
    return _has_pair(data, b"\t ") or _has_pair(data, b"\r\t") or data.startswith(codecs.BOM_UTF8)


def _has_pair(data: bytes, pair: bytes) -> bool:
    """Return `pair in data`, where one of its two bytes is rare: a byte is found many times faster than two."""
    return all(byte in data for byte in pair) and pair in data


def _read_csv(data: bytes, columns: dict) -> pl.DataFrame:
    frame = pl.read_csv(data, separator="\t", has_header=False, schema=columns, quote_char=None)
    if not _has_pair(data, b"\r\r"):
        return frame
    # polars takes off one carriage return; a cell of carriage returns alone is empty.
    stripped = frame.with_columns(pl.col(pl.String).str.strip_chars_end("\r"))
    return stripped.with_columns(pl.when(pl.col(pl.String) != "").then(pl.col(pl.String)))


def _parse_line_by_line(data: bytes, characters: np.ndarray, first_line: int, schema: FieldSchema) -> ParsedChunk:
    """Do the work of parse_chunk for any chunk; each line is judged on its own."""
    ends = np.flatnonzero(characters == NEWLINE) + 1
    starts = np.concatenate([[0], ends[:-1]])
    reasons = _line_reasons(data, characters, starts, ends, schema)
    columns = []
    if schema.has_label:
        labels = _read_labels(data, characters, starts, schema.negative_label)
        reasons[(labels == NO_LABEL) & (reasons != COLUMNS)] = LABEL_VALUE
        columns.append(pl.Series(LABEL, labels[reasons == 0]))
    good = reasons == 0
    columns.append(pl.Series(LINE_NUMBER, first_line + np.flatnonzero(good), dtype=pl.UInt64))
    frame = _read_columns(characters, ends - starts, good, schema).with_columns(columns)
    frame, value_reasons = _convert_columns(frame, schema)
    reasons[good] = value_reasons
    bad = np.flatnonzero(reasons)

    def line_at(index):
        return data[starts[bad[index]] : ends[bad[index]] - 1]

    bad_lines = BadLines.from_lines(first_line + bad + 1, reasons[bad], line_at, schema)
    return ParsedChunk(_compact(frame.filter(value_reasons == 0), schema), len(ends), bad_lines)


def _read_labels(data: bytes, characters: np.ndarray, starts: np.ndarray, negative_label: int) -> np.ndarray:
    """Return the labels of the lines that begin at `starts`, int8 [lines]: 0, 1, or NO_LABEL where there is none."""
    first, second = characters[starts], characters[np.minimum(starts + 1, len(characters) - 1)]
    labels = np.where(first == DIGIT_1, 1, 0).astype(np.int8)
    is_plain = (second == TAB) & ((first == DIGIT_1) | ((first == DIGIT_0) & (negative_label == 0)))
    others = np.flatnonzero(~is_plain)
    cells = [data[start : start + LONGEST_LABEL_BYTES + 1].split(b"\t", 1)[0] for start in starts[others].tolist()]
    known = {cell: read_label(cell, negative_label) for cell in set(cells)}
    labels[others] = [NO_LABEL if known[cell] is None else known[cell] for cell in cells]
    return labels


def _line_reasons(
    data: bytes, characters: np.ndarray, starts: np.ndarray, ends: np.ndarray, schema: FieldSchema
) -> np.ndarray:
    """Return for each line, as bytes, the code of the reason why it is malformed, uint8 [lines]; 0 if it is not."""
    reasons = np.zeros(len(starts), np.uint8)
    if not is_utf8(data):
        suspects = np.flatnonzero(np.logical_or.reduceat(characters >= FIRST_NON_ASCII, starts))
        for line in suspects:
            if not is_utf8(data[starts[line] : ends[line]]):
                reasons[line] = ENCODING
    tabs = np.add.reduceat(characters == TAB, starts, dtype=np.int32)
    reasons[tabs != schema.column_count - 1] = COLUMNS
    return reasons


def _read_columns(
    characters: np.ndarray, line_lengths: np.ndarray, good: np.ndarray, schema: FieldSchema
) -> pl.DataFrame:
    """Return the cells of the good lines, bool [lines], as text."""
    if not good.all():
        characters = characters[np.repeat(good, line_lengths)]
    text_columns = dict.fromkeys(schema.column_names, pl.String)
    if not characters.size:
        return pl.DataFrame(schema=text_columns)
    return _read_csv(characters.tobytes(), text_columns)


def _convert_columns(frame: pl.DataFrame, schema: FieldSchema) -> tuple[pl.DataFrame, np.ndarray]:
    """Turn text to numbers; return the frame, and for each row the code of a reason as _line_reasons, uint8 [rows]."""
    integers, ids = schema.integer_names, schema.category_names if schema.categories_are_ids else []
    numbers = {name: read_integers(frame[name]) for name in [*integers, *ids]}
    integer_wrong = _rows_of_any(numbers[name].is_null() & frame[name].is_not_null() for name in integers)
    id_wrong = _rows_of_any(~numbers[name].is_between(0, schema.largest_id).fill_null(False) for name in ids)
    reasons = np.zeros(frame.height, np.uint8)
    reasons[id_wrong] = ID
    reasons[integer_wrong] = INTEGER
    return frame.with_columns(**numbers), reasons


def _compact(frame: pl.DataFrame, schema: FieldSchema) -> pl.DataFrame:
    """Return a frame of well-formed rows, numbers as Int64, with the column types of raw_columns.py."""
    categories = frame.select(schema.category_names)
    return frame.with_columns(
        *(to_integers(frame[name]) for name in schema.integer_names),
        *(categories.cast(pl.Int32) if schema.categories_are_ids else to_codes(categories)),
    )


def _rows_of_any(masks: Iterable[pl.Series]) -> np.ndarray:
    """Return the indices of the rows for which any mask, a boolean Series, is true."""
    wrong = np.array([], np.int64)
    for mask in masks:
        if mask.any():
            wrong = np.union1d(wrong, mask.arg_true().to_numpy())
    return wrong
