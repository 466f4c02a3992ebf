# SPDX-License-Identifier: Apache-2.0
"""Columns of data frames, which have types of their own, to those of raw rows."""

import numpy as np
import polars as pl

from src.common.errors import UserError
from src.preprocessing.raw_cells import label_of, read_floats, read_integers, read_times
from src.preprocessing.raw_columns import MISSING_INTEGER, without_negative_zeros
from src.preprocessing.schema import FieldSchema

NO_LABEL = -1


def typed_integers(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return a column as Int64, null where a value is missing or none, and where it is none, a boolean Series.

    Integers may be of any integer type, floats without a fraction, or text.  Null, NaN and empty text are missing.
    UserError for a column of another type.
    """
    if column.dtype == pl.Null:
        return column.cast(pl.Int64), pl.zeros(len(column), pl.Boolean, eager=True)
    if column.dtype.is_integer() or column.dtype == pl.Boolean:
        numbers = column.cast(pl.Int64, strict=False)
        if numbers.null_count() == column.null_count() and numbers.min() != MISSING_INTEGER:
            return numbers, pl.zeros(len(column), pl.Boolean, eager=True)
        numbers = numbers.set(numbers == MISSING_INTEGER, None)
        is_missing = column.is_null()
    elif column.dtype.is_float():
        is_missing = column.is_null() | column.is_nan()
        whole = (column == column.floor()) & (column.abs() < 2.0**63)
        numbers = column.set(~whole.fill_null(False), None).cast(pl.Int64)
    elif column.dtype == pl.String:
        is_missing = column.is_null() | (column == "")
        numbers = read_integers(column.set(column == "", None))
    else:
        raise UserError(f"column {column.name} has the type {column.dtype}; integers, floats or text are expected")
    return numbers, numbers.is_null() & ~is_missing


def typed_floats(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return a column as Float64, null where a value is missing or none, and where it is none, a boolean Series.

    Floats may be of any type of numbers, or text.  Null, NaN and empty text are missing.  UserError for another type.
    """
    if column.dtype == pl.String:
        is_missing = column.is_null() | (column == "")
        numbers = read_floats(column.set(column == "", None))
    elif column.dtype.is_numeric() or column.dtype in (pl.Null, pl.Boolean):
        numbers = without_negative_zeros(column.cast(pl.Float64))
        is_missing = numbers.is_null() | numbers.is_nan()
        numbers = numbers.set(~numbers.is_finite(), None)
    else:
        raise UserError(f"column {column.name} has the type {column.dtype}; numbers or text are expected")
    return numbers, numbers.is_null() & ~is_missing.fill_null(True)


def typed_times(column: pl.Series) -> pl.Series:
    """Return the times in a column, as read_times has them; UserError for a column of another type."""
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if column.dtype.is_temporal() and column.dtype != pl.Time:
        return column.cast(pl.Datetime("us")).cast(pl.Int64)
    return typed_integers(column)[0] if column.dtype != pl.String else read_times(column)


def typed_lists(column: pl.Series, separator: str) -> pl.Series:
    """Return a multi-valued column as text, empty where it is missing: text, or lists of text or whole numbers."""
    if isinstance(column.dtype, pl.List):
        inner = column.dtype.inner
        if not (inner in (pl.String, pl.Null) or inner.is_integer()):
            raise UserError(f"column {column.name} has the type {column.dtype}; lists of text or integers are expected")
        texts = column.cast(pl.List(pl.String)).list.drop_nulls().list.join(separator)
    else:
        texts = typed_categories(column)
    return texts.fill_null("")


def typed_categories(column: pl.Series) -> pl.Series:
    """Return a column as text, null or empty if a value is missing: text, or whole numbers, whose digits are the text.

    UserError for a column of another type.
    """
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype.is_float() and column.fill_nan(None).null_count() == len(column):
        column = pl.Series(column.name, [None] * len(column), pl.String)  # as a reader of CSV leaves an empty column
    if not (column.dtype in (pl.String, pl.Null, pl.Boolean) or column.dtype.is_integer()):
        raise UserError(f"column {column.name} has the type {column.dtype}; a category is text or a whole number")
    return column.cast(pl.String)


def typed_labels(column: pl.Series, schema: FieldSchema) -> np.ndarray:
    """Return the labels, int8 [n]: 0, 1, or NO_LABEL where there is none."""
    is_plain = column.dtype.is_integer() and not schema.clicks and not schema.negative_label
    if is_plain and not column.has_nulls() and column.min() in (0, 1) and column.max() in (0, 1):
        return column.cast(pl.Int8).to_numpy()
    values = column.unique()
    texts = values.cast(pl.Float64) if values.dtype == pl.Float32 else values
    known = {
        value: None if text is None else label_of(str(text).encode(), schema)
        for value, text in zip(values.to_list(), texts.to_list())
    }
    found = {value: NO_LABEL if label is None else label for value, label in known.items()}
    return column.replace_strict(list(found), list(found.values()), return_dtype=pl.Int8).to_numpy()
