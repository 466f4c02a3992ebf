# SPDX-License-Identifier: Apache-2.0
"""Tables in the form of Criteo's, which need no schema."""

import polars as pl

from src.preprocessing.schema import FieldSchema
from src.preprocessing.schema_inference.first_rows import FirstRows
from src.preprocessing.typed_columns import typed_integers

CRITEO = FieldSchema.criteo(13, 26)
CODE = "^[0-9a-f]{8}$"


def has_criteo_form(rows: FirstRows, is_csv: bool) -> bool:
    """Tell whether rows, with or without labels, are read without a schema.

    They have Criteo's columns, 13 integers and 26 categories of 8 hexadecimal digits: in a text with tabs by their
    order, in a CSV file or Parquet by their names.
    """
    frame = rows.frame
    if rows.text is not None and (rows.text.separator, rows.text.has_header) != (
        (",", True) if is_csv else ("\t", False)
    ):
        return False
    if rows.names_columns:
        labels = [frame[CRITEO.label_name]] if CRITEO.label_name in frame.columns else []
    else:
        labels = [frame.to_series(0)] if frame.width == len(CRITEO.value_names) + 1 else []
        frame = frame.drop(frame.columns[: len(labels)])
        if frame.width != len(CRITEO.value_names):
            return False
        frame = frame.rename(dict(zip(frame.columns, CRITEO.value_names)))
    return (
        set(CRITEO.value_names) <= set(frame.columns)
        and all(_are_labels(column) for column in labels)
        and all(_are_integers(frame[name]) for name in CRITEO.integer_names)
        and all(_are_codes(frame[name]) for name in CRITEO.category_names)
    )


def _are_labels(column):
    return not column.null_count() and set(column.cast(pl.String)) <= {"0", "1"}


def _are_integers(column):
    if not (column.dtype.is_numeric() or column.dtype in (pl.String, pl.Null)) or column.dtype == pl.Decimal:
        return False
    return not typed_integers(column)[1].any()


def _are_codes(column):
    if column.dtype not in (pl.String, pl.Null):
        return False
    return bool(column.cast(pl.String).drop_nulls().str.contains(CODE).all())
