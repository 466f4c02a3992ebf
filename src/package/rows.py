# SPDX-License-Identifier: Apache-2.0
"""Rows that a program hands over, as lines of text or as a data frame, to raw columns."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Union

import numpy as np
import polars as pl

from src.common.errors import UserError
from src.preprocessing.bad_lines import BadLine
from src.preprocessing.diagnosis import REASONS, diagnose
from src.preprocessing.raw_cells import count_cells
from src.preprocessing.raw_columns import to_codes, to_integers
from src.preprocessing.raw_rows import parse_chunk
from src.preprocessing.schema import FieldSchema
from src.preprocessing.typed_columns import typed_categories, typed_floats, typed_integers, typed_lists

if TYPE_CHECKING:
    import pandas as pd

NEWLINE = b"\n"
LABEL_LINES = 1000  # from which it is told whether rows have a label
LISTED_ROWS = 20  # of those that cannot be scored, in an error
Rows = Union[pl.DataFrame, "pd.DataFrame", Sequence[str], Sequence[bytes]]


class BadRowsError(UserError):
    """Rows that cannot be scored.  faults: by row, from 1, for the first of them; count: of all."""

    def __init__(self, faults: dict[int, str], count: int):
        self.faults, self.count = faults, count
        more = f"; and {count - 1:,} more" if count > 1 else ""
        super().__init__(f"{next(iter(faults.values()))}{more}")


def rows_have_label(data: bytes, schema: FieldSchema) -> bool:
    """Tell whether rows begin with a label: the more frequent of both widths among the first lines decides.

    schema: of rows with a label.
    """
    lines = itertools.islice(data.split(NEWLINE, LABEL_LINES), LABEL_LINES)
    counts = np.array([count_cells(line, schema.text) for line in lines])
    labelled, unlabelled = (np.count_nonzero(counts == schema.column_count - width) for width in (0, 1))
    return bool(labelled >= unlabelled)


def read_lines(lines: Sequence[str] | Sequence[bytes], schema: FieldSchema) -> pl.DataFrame:
    """Return the raw columns of lines of text, with or without a label; BadRowsError names those that are malformed.

    schema: of rows with a label.
    """
    encoded = to_bytes(lines)
    data = b"".join(line + NEWLINE for line in encoded)
    schema = dataclasses.replace(schema, has_label=rows_have_label(data, schema))
    parsed = parse_chunk(data, 0, schema)
    if parsed.bad_lines.count:
        faults = {bad.number: _fault(bad, encoded[bad.number - 1], schema) for bad in parsed.bad_lines.first}
        raise BadRowsError(faults, parsed.bad_lines.count)
    return parsed.frame


def to_bytes(lines: Sequence[str] | Sequence[bytes]) -> list[bytes]:
    """Return lines without their ends.  BadRowsError for one that holds two, UserError for one that is no text."""
    encoded = [_to_bytes(row, line) for row, line in enumerate(lines, 1)]
    if split := [row for row, line in enumerate(encoded, 1) if NEWLINE in line]:
        raise BadRowsError({row: f"row {row}: holds a line's end" for row in split[:LISTED_ROWS]}, len(split))
    return encoded


def _to_bytes(row, line):
    if isinstance(line, str):
        line = line.encode("utf-8", "surrogatepass")
    if not isinstance(line, (bytes, bytearray)):
        raise UserError(f"row {row} is of the type {type(line).__name__}; a row is text or bytes")
    return bytes(line).removesuffix(NEWLINE)


def _fault(bad: BadLine, line: bytes, schema: FieldSchema) -> str:
    return diagnose(bad.number, line, REASONS.index(bad.reason), schema).fault


def read_frame(frame: "pl.DataFrame | pd.DataFrame", schema: FieldSchema) -> pl.DataFrame:
    """Return the raw columns of a data frame that has them by name; other columns are left out.

    Integers may be of any integer type, floats without a fraction, or text; floats numbers or text; categories are
    text, or whole numbers whose digits are the text; multi-valued ones such text with separators, or lists of polars.
    Null, NaN and empty text stand for a missing value.  UserError for a column that is missing or of another type,
    BadRowsError for values.
    """
    names = schema.value_names
    if missing := [name for name in names if name not in frame.columns]:
        raise UserError(f"the data frame has no column {missing[0]}; a row has {names[0]} to {names[-1]}")
    if repeated := [name for name in names if list(frame.columns).count(name) > 1]:
        raise UserError(f"the data frame has several columns {repeated[0]}; leave all but one out")
    columns = pl.DataFrame({name: _to_polars(name, frame[name]) for name in names})
    integers = [to_integers(_integers(columns[name])) for name in schema.integer_names]
    floats = [_floats(columns[name]) for name in schema.float_names]
    categories = [columns[name] for name in schema.category_names]
    lists = [typed_lists(columns[name], separator) for name, separator in schema.separators.items()]
    if schema.categories_are_ids:
        categories = [_category_ids(column, schema.largest_id) for column in categories]
    else:
        categories = list(map(_categories, categories))
    return pl.DataFrame([*integers, *floats, *categories, *lists])


def _to_polars(name, column):
    """Return a column of a pandas or polars data frame as a polars Series."""
    if isinstance(column, pl.Series):
        return column.cast(pl.String) if isinstance(column.dtype, (pl.Categorical, pl.Enum)) else column
    is_plain = isinstance(column.dtype, np.dtype) and column.dtype != object
    values = column.to_numpy() if is_plain else column.astype(object).where(column.notna(), None).to_list()
    try:
        return pl.Series(name, values, nan_to_null=True, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        types = sorted({type(value).__name__ for value in values if value is not None})
        expected = "all text, or all numbers of 64 bits, are expected"
        raise UserError(f"column {name} has values of the types {', '.join(types)}; {expected}") from error


def _integers(column: pl.Series) -> pl.Series:
    """Return a column as Int64, null where a value is missing."""
    numbers, is_wrong = typed_integers(column)
    _refuse(column, is_wrong, "an integer lies between -2^63 and 2^63")
    return numbers


def _floats(column: pl.Series) -> pl.Series:
    """Return a column as Float64, NaN where a value is missing."""
    numbers, is_wrong = typed_floats(column)
    _refuse(column, is_wrong, "a float is a finite number")
    return numbers.fill_null(math.nan)


def _categories(column: pl.Series) -> pl.Series:
    return to_codes(typed_categories(column).to_frame())[0]


def _category_ids(column: pl.Series, largest: int) -> pl.Series:
    ids = _integers(column)
    _refuse(column, ~ids.is_between(0, largest).fill_null(False), f"a category is an id from 0 to {largest}")
    return ids.cast(pl.Int32)


def _refuse(column: pl.Series, is_wrong: pl.Series, rule: str) -> None:
    rows = is_wrong.arg_true().to_list()
    if rows:
        first = rows[:LISTED_ROWS]
        raise BadRowsError(
            {row + 1: f"row {row + 1}: {column.name} is {column[row]}; {rule}" for row in first}, len(rows)
        )
