# SPDX-License-Identifier: Apache-2.0
"""Parse rows that are a data frame already, as Parquet has them; malformed ones are set aside."""

import dataclasses
import math

import numpy as np
import polars as pl

from src.preprocessing.bad_lines import BadLines
from src.preprocessing.diagnosis import FLOAT, ID, INTEGER, LABEL_VALUE, TIME_VALUE, WEIGHT_VALUE
from src.preprocessing.raw_cells import to_weights
from src.preprocessing.raw_columns import to_codes, to_integers
from src.preprocessing.raw_rows import ParsedChunk
from src.preprocessing.schema import CRITEO, LABEL, LINE_NUMBER, TIME, WEIGHT, FieldSchema
from src.preprocessing.typed_columns import (
    NO_LABEL,
    typed_categories,
    typed_floats,
    typed_integers,
    typed_labels,
    typed_lists,
    typed_times,
)


def parse_frame(
    frame: pl.DataFrame, first_row: int, schema: FieldSchema, file: str = "", first_line: int = 1
) -> ParsedChunk:
    """Parse the rows of a frame, which has the columns of the schema.

    first_row: number, from 0, of its first row among all rows.  file, first_line: as parse_chunk takes them.
    UserError for a column of a type that none of its values may have.
    """
    frame = _without_missing(frame, schema)
    reasons = np.zeros(frame.height, np.uint8)
    ids = schema.category_names if schema.categories_are_ids else ()
    columns = {LINE_NUMBER: pl.Series(np.arange(first_row, first_row + frame.height, dtype=np.uint64))}
    for role, reason in ((TIME, TIME_VALUE), (WEIGHT, WEIGHT_VALUE)):
        if role in schema.used_names:
            columns[role] = _typed_role(role, frame, schema)
            reasons[columns[role].is_null().to_numpy()] = reason
    for name in ids:
        columns[name], _ = typed_integers(frame[name])
        reasons[~columns[name].is_between(0, schema.largest_id).fill_null(False).to_numpy()] = ID
    for names, read, reason in (
        (schema.float_names, typed_floats, FLOAT),
        (schema.integer_names, typed_integers, INTEGER),
    ):
        for name in names:
            columns[name], is_wrong = read(frame[name])
            if is_wrong.any():
                reasons[is_wrong.to_numpy()] = reason
    for name in schema.category_names[len(ids) :]:
        columns[name] = typed_categories(frame[name])
    for name, separator in schema.separators.items():
        columns[name] = typed_lists(frame[name], separator)
    for name in schema.kept_names:
        columns[name] = frame[name].cast(pl.String).fill_null("")
    if schema.has_label:
        labels = typed_labels(frame[schema.label_name], schema)
        reasons[labels == NO_LABEL] = LABEL_VALUE
        columns[LABEL] = pl.Series(labels)
    good = pl.DataFrame(columns)
    bad = np.flatnonzero(reasons)
    if bad.size:
        good = good.filter(reasons == 0)
    plain = dataclasses.replace(schema, file_columns=tuple(frame_names(schema)), text=CRITEO)

    def line_at(index):
        cells = frame.row(int(bad[index]), named=True)
        return "\t".join("" if cells[name] is None else str(cells[name]) for name in frame_names(schema)).encode()

    bad_lines = BadLines.from_lines(first_line + bad, reasons[bad], line_at, plain, file)
    return ParsedChunk(_compact(good, schema), frame.height, bad_lines)


def frame_names(schema: FieldSchema) -> list[str]:
    """Return the names, in the file, of the columns that are read."""
    roles = {role: name for name, role in schema.roles.items()}
    return [roles.get(name, name) for name in schema.used_names]


def _typed_role(role, frame, schema):
    """Return the weights or the times of rows, null where there is none."""
    if role == TIME:
        return typed_times(frame[schema.time_name])
    return to_weights(typed_floats(frame[schema.weight_name])[0], schema)


def _without_missing(frame, schema):
    """Return a frame with nulls for the texts of missing values."""
    if not schema.text.missing:
        return frame
    is_missing = pl.col(pl.String).is_in(schema.text.missing)
    return frame.with_columns(pl.when(~is_missing).then(pl.col(pl.String)))


def _compact(frame, schema):
    """Return a frame of well-formed rows with the types of raw_columns.py."""
    categories = frame.select(schema.category_names)
    return frame.with_columns(
        *(to_integers(frame[name]) for name in schema.integer_names),
        *(frame[name].fill_null(math.nan) for name in schema.float_names),
        *(categories.cast(pl.Int32) if schema.categories_are_ids else to_codes(categories)),
    )
