# SPDX-License-Identifier: Apache-2.0
"""Parse lines of raw rows of which some may be malformed: each is judged on its own."""

import math
from collections.abc import Iterable

import numpy as np
import polars as pl

from src.preprocessing.bad_lines import BadLines
from src.preprocessing.diagnosis import (
    COLUMNS,
    ENCODING,
    FLOAT,
    ID,
    INTEGER,
    LABEL_VALUE,
    TIME_VALUE,
    WEIGHT_VALUE,
    is_utf8,
)
from src.preprocessing.raw_cells import (
    QUOTE,
    label_of,
    read_csv,
    read_floats,
    read_integers,
    read_times,
    split_cells,
    to_weights,
)
from src.preprocessing.raw_columns import to_codes, to_integers
from src.preprocessing.schema import LABEL, LINE_NUMBER, TIME, WEIGHT, FieldSchema, TextFormat

NEWLINE, DIGIT_0, DIGIT_1 = b"\n01"
FIRST_NON_ASCII = 0x80
NO_LABEL = -1
PLAIN_SEPARATORS = [chr(code) for code in range(0x1F, 0, -1) if chr(code) not in "\n\r"]


def judge_lines(
    data: bytes, first_row: int, schema: FieldSchema, place: tuple[str, int]
) -> tuple[pl.DataFrame, int, BadLines]:
    """Return the well-formed lines of a chunk as a frame, the number of all lines, and the malformed ones.

    The frame is that of a ParsedChunk.  first_row: number, from 0, of the first line among all rows.
    place: its file, if there are several, and its number there, from 1.
    """
    file, first_line = place
    text, original = schema.text, None
    if text.has_quotes and QUOTE in data:
        original = data.split(b"\n")[:-1]
        text = plain_format(data)
        data = b"".join(without_quotes(line, schema, text) + b"\n" for line in original)
    lines = _Lines(data, text, schema)
    columns = []
    if schema.has_label:
        labels = lines.labels()
        lines.reasons[(labels == NO_LABEL) & (lines.reasons != COLUMNS)] = LABEL_VALUE
        columns.append(pl.Series(LABEL, labels[lines.reasons == 0]))
    good = lines.reasons == 0
    columns.append(pl.Series(LINE_NUMBER, first_row + np.flatnonzero(good), dtype=pl.UInt64))
    frame, value_reasons = _convert_columns(lines.cells(good).with_columns(columns), schema)
    lines.reasons[good] = value_reasons
    bad = np.flatnonzero(lines.reasons)

    def line_at(index):
        return lines.line(bad[index]) if original is None else original[bad[index]]

    bad_lines = BadLines.from_lines(first_line + bad, lines.reasons[bad], line_at, schema, file)
    return _compact(frame.filter(value_reasons == 0), schema), len(good), bad_lines


def plain_format(data: bytes) -> TextFormat:
    """Return a format without quotes, for lines whose quotes are removed: its separator is in none of their cells."""
    unused = (separator for separator in PLAIN_SEPARATORS if separator.encode() not in data)
    return TextFormat(separator=next(unused, PLAIN_SEPARATORS[0]))


def without_quotes(line: bytes, schema: FieldSchema, text: TextFormat) -> bytes:
    """Return a line with the separator of `text` and no quotes; with too many cells if its quotes are malformed."""
    plain = text.separator.encode()
    cells = None if plain in line else split_cells(line, schema.text)
    return plain * schema.column_count if cells is None else plain.join(cells)


class _Lines:
    """Lines of text.  reasons: for each the code of the reason why it is malformed, uint8 [lines]; 0 if it is not."""

    def __init__(self, data: bytes, text: TextFormat, schema: FieldSchema):
        self._data, self._text, self._schema = data, text, schema
        self._characters = np.frombuffer(data, np.uint8)
        self._ends = np.flatnonzero(self._characters == NEWLINE) + 1
        self._starts = np.concatenate([[0], self._ends[:-1]])
        self._is_separator = self._characters == ord(text.separator)
        self.reasons = np.zeros(len(self._ends), np.uint8)
        if not is_utf8(data):
            suspects = np.flatnonzero(np.logical_or.reduceat(self._characters >= FIRST_NON_ASCII, self._starts))
            self.reasons[[line for line in suspects if not is_utf8(self.line(line) + b"\n")]] = ENCODING
        separators = np.add.reduceat(self._is_separator, self._starts, dtype=np.int32)
        self.reasons[separators != schema.column_count - 1] = COLUMNS

    def line(self, number: int) -> bytes:
        """Return a line without its end."""
        return self._data[self._starts[number] : self._ends[number] - 1]

    def labels(self) -> np.ndarray:
        """Return the labels, int8 [lines]: 0, 1, or NO_LABEL for a line that has none or the wrong columns."""
        labels = np.full(len(self.reasons), NO_LABEL, np.int8)
        lines = np.flatnonzero(self.reasons != COLUMNS)
        starts, ends = self._label_spans(lines)
        first, is_short = self._characters[starts], ends - starts == 1
        is_click = is_short & (first == DIGIT_1) & (not self._schema.clicks)
        is_none = is_short & (first == DIGIT_0) & (not self._schema.clicks and self._schema.negative_label == 0)
        labels[lines[is_click]], labels[lines[is_none]] = 1, 0
        others = np.flatnonzero(~(is_click | is_none))
        cells = [self._data[start:end] for start, end in zip(starts[others].tolist(), ends[others].tolist())]
        known = {cell: label_of(cell, self._schema) for cell in set(cells)}
        labels[lines[others]] = [NO_LABEL if known[cell] is None else known[cell] for cell in cells]
        return labels

    def _label_spans(self, lines):
        """Return the starts and the ends of the labels in lines with the right number of cells."""
        index = self._schema.column_names.index(LABEL)
        width = self._schema.column_count - 1
        positions = np.flatnonzero(self._is_separator & np.repeat(self.reasons != COLUMNS, self._ends - self._starts))
        positions = positions.reshape(-1, width) if width else np.empty((len(lines), 0), np.int64)
        starts = positions[:, index - 1] + 1 if index else self._starts[lines]
        ends = positions[:, index] if index < width else self._ends[lines] - 1
        return starts, ends

    def cells(self, good: np.ndarray) -> pl.DataFrame:
        """Return the cells of the columns that are used of the good lines, bool [lines], as text."""
        names = [name for name in self._schema.used_names if name != LABEL]
        characters = self._characters
        if not good.all():
            characters = characters[np.repeat(good, self._ends - self._starts)]
        if not characters.size:
            return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        types = dict.fromkeys(self._schema.column_names, pl.String)
        text = TextFormat(self._text.separator, missing=self._schema.text.missing)
        return read_csv(characters.tobytes(), types, text, names)


def _convert_columns(frame: pl.DataFrame, schema: FieldSchema) -> tuple[pl.DataFrame, np.ndarray]:
    """Turn text to numbers; return the frame, and for each row the code of a reason as _Lines has it, uint8 [rows]."""
    ids = schema.category_names if schema.categories_are_ids else ()
    numbers = {name: read_integers(frame[name]) for name in [*schema.integer_names, *ids]}
    numbers |= {name: read_floats(frame[name]) for name in schema.float_names}
    if WEIGHT in frame.columns:
        numbers[WEIGHT] = to_weights(read_floats(frame[WEIGHT]), schema)
    if TIME in frame.columns:
        numbers[TIME] = read_times(frame[TIME])
    reasons = np.zeros(frame.height, np.uint8)
    # The first reason of a line counts, so that it is set last.
    for role, reason in ((TIME, TIME_VALUE), (WEIGHT, WEIGHT_VALUE)):
        reasons[_rows_of_any(numbers[name].is_null() for name in (role,) if name in numbers)] = reason
    reasons[_rows_of_any(~numbers[name].is_between(0, schema.largest_id).fill_null(False) for name in ids)] = ID
    for names, reason in ((schema.float_names, FLOAT), (schema.integer_names, INTEGER)):
        reasons[_rows_of_any(numbers[name].is_null() & frame[name].is_not_null() for name in names)] = reason
    return frame.with_columns(**numbers), reasons


def _compact(frame: pl.DataFrame, schema: FieldSchema) -> pl.DataFrame:
    """Return a frame of well-formed rows, integers as Int64, with the column types of raw_columns.py."""
    categories = frame.select(schema.category_names)
    return frame.with_columns(
        *(to_integers(frame[name]) for name in schema.integer_names),
        *(frame[name].fill_null(math.nan) for name in schema.float_names),
        *(categories.cast(pl.Int32) if schema.categories_are_ids else to_codes(categories)),
        *(frame[name].fill_null("") for name in schema.text_names),
    )


def _rows_of_any(masks: Iterable[pl.Series]) -> np.ndarray:
    """Return the indices of the rows for which any mask, a boolean Series, is true."""
    wrong = np.array([], np.int64)
    for mask in masks:
        if mask.any():
            wrong = np.union1d(wrong, mask.arg_true().to_numpy())
    return wrong
