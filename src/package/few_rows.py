# SPDX-License-Identifier: Apache-2.0
"""Read and score a few raw rows by plain Python and one call of model.onnx.

polars, which reads and encodes many rows, takes milliseconds for a call even of one row.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from src.package.rows import LISTED_ROWS, BadRowsError, rows_have_label, to_bytes
from src.package.runtime import PROBABILITY, OnnxNetwork
from src.preprocessing.diagnosis import COLUMNS, ENCODING, ID, INTEGER, LABEL_VALUE, diagnose
from src.preprocessing.raw_cells import read_integer, read_label
from src.preprocessing.raw_columns import MISSING_INTEGER
from src.preprocessing.schema import FieldSchema

FEW_ROWS = 2000  # up to here plain Python takes less time than polars
PLAIN_DIGITS = 18  # an integer of so many is within 64 bits


def read_columns(lines: Sequence[str] | Sequence[bytes], schema: FieldSchema) -> list[list]:
    """Return the raw columns of lines: integers, missing ones -2^63, then categories, missing ones empty.

    lines: with or without a label, as src.package.rows reads them.  schema: of rows with a label.
    Raises BadRowsError for malformed ones.
    """
    stripped = to_bytes(lines)
    schema = dataclasses.replace(schema, has_label=rows_have_label(b"\n".join(stripped), schema))
    columns = _read_well_formed(stripped, schema)
    return columns if columns is not None else _refuse(stripped, schema)


def _read_well_formed(lines, schema):
    """Return the columns of lines, without the label; None if one of the lines is malformed."""
    width = schema.column_count
    if any(line.count(b"\t") != width - 1 for line in lines):
        return None
    joined = b"\t".join(lines)
    try:
        cells = joined.decode().split("\t")
    except UnicodeDecodeError:
        return None
    if schema.has_label and any(read_label(cell.encode(), schema.negative_label) is None for cell in cells[::width]):
        return None
    if b"\r" in joined:
        cells = [cell.rstrip("\r") for cell in cells]
    columns = [cells[start::width] for start in range(int(schema.has_label), width)]
    columns[: schema.dense_dim] = [_read_integers(column) for column in columns[: schema.dense_dim]]
    if schema.categories_are_ids:
        columns[schema.dense_dim :] = [_read_ids(column, schema) for column in columns[schema.dense_dim :]]
    return None if any(None in column for column in columns) else columns


def _read_integers(cells):
    """Return the integers of a column, None for a cell that is malformed."""
    return [
        int(cell) if cell.isdecimal() and cell.isascii() and len(cell) <= PLAIN_DIGITS else _read_other(cell)
        for cell in cells
    ]


def _read_other(cell):
    return read_integer(cell) if cell else MISSING_INTEGER


def _read_ids(cells, schema):
    ids = map(read_integer, cells)
    return [each if each is not None and 0 <= each <= schema.largest_id else None for each in ids]


def _refuse(lines, schema):
    """Raise BadRowsError for lines of which at least one is malformed."""
    reasons = {number: reason for number, line in enumerate(lines, 1) if (reason := _reason(line, schema))}
    listed = list(reasons.items())[:LISTED_ROWS]
    faults = {number: diagnose(number, lines[number - 1], reason, schema).fault for number, reason in listed}
    raise BadRowsError(faults, len(reasons))


def _reason(line, schema):
    """Return the code of the reason why a line is malformed, 0 for a well-formed one."""
    if line.count(b"\t") != schema.column_count - 1:  # before the line is split: it may hold millions of tabs
        return COLUMNS
    cells = line.split(b"\t")
    if schema.has_label and read_label(cells[0], schema.negative_label) is None:
        return LABEL_VALUE
    try:
        texts = [cell.rstrip(b"\r").decode() for cell in cells[int(schema.has_label) :]]
    except UnicodeDecodeError:
        return ENCODING
    if None in _read_integers(texts[: schema.dense_dim]):
        return INTEGER
    return ID if schema.categories_are_ids and None in _read_ids(texts[schema.dense_dim :], schema) else 0


def score_columns(network: OnnxNetwork, columns: list[list], schema: FieldSchema) -> np.ndarray:
    """Return the probabilities, float32 [n], of the columns of n rows that read_columns has returned."""
    types = [np.int64] * schema.dense_dim + [np.int64 if schema.categories_are_ids else object] * schema.slot_dim
    names = [*schema.integer_names, *schema.category_names]
    inputs = {name: np.array(column, kind)[:, None] for name, kind, column in zip(names, types, columns)}
    return network.session.run([PROBABILITY], inputs)[0].ravel()
