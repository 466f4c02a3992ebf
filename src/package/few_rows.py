# SPDX-License-Identifier: Apache-2.0
"""Read and score a few raw rows by plain Python and one call of model.onnx.

polars, which reads and encodes many rows, takes milliseconds for a call even of one row.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from src.package.rows import LISTED_ROWS, BadRowsError, rows_have_label, to_bytes
from src.package.runtime import PROBABILITY, OnnxNetwork
from src.preprocessing.diagnosis import COLUMNS, ENCODING, FLOAT, ID, INTEGER, LABEL_VALUE, diagnose
from src.preprocessing.encoder import FeatureEncoder
from src.preprocessing.line_by_line import plain_format, without_quotes
from src.preprocessing.raw_cells import QUOTE, label_of, read_float, read_integer
from src.preprocessing.raw_columns import MISSING_INTEGER
from src.preprocessing.schema import LABEL, FieldSchema

FEW_ROWS = 2000  # up to here plain Python takes less time than polars
PLAIN_DIGITS = 18  # an integer of so many is within 64 bits


def read_columns(lines: Sequence[str] | Sequence[bytes], schema: FieldSchema) -> list[list]:
    """Return the raw columns of lines: integers, floats and texts; missing ones are -2^63, NaN and empty.

    lines: with or without a label, as src.package.rows reads them.  schema: of rows with a label.
    Raises BadRowsError for malformed ones.
    """
    stripped = to_bytes(lines)
    schema = dataclasses.replace(schema, has_label=rows_have_label(b"\n".join(stripped), schema))
    columns = _read_well_formed(stripped, schema)
    return columns if columns is not None else _refuse(stripped, schema)


def _read_well_formed(lines, schema):
    """Return the columns of lines, without the label; None if one of the lines is malformed."""
    width, separator = schema.column_count, schema.text.separator
    if schema.text.has_quotes and any(QUOTE in line for line in lines):
        text = plain_format(b"".join(lines))
        lines, separator = [without_quotes(line, schema, text) for line in lines], text.separator
    if any(line.count(separator.encode()) != width - 1 for line in lines):
        return None
    joined = separator.encode().join(lines)
    try:
        cells = joined.decode().split(separator)
    except UnicodeDecodeError:
        return None
    columns = {name: cells[start::width] for start, name in enumerate(schema.column_names)}
    if schema.has_label and any(label_of(cell.encode(), schema) is None for cell in columns[LABEL]):
        return None
    values = [_read_values(name, columns[name], schema) for name in schema.value_names]
    return None if any(None in column for column in values) else values


def _read_values(name, cells, schema):
    """Return the values of a column, None for a cell that is malformed."""
    texts = [cell.rstrip("\r") for cell in cells]
    if schema.text.missing:
        texts = ["" if text in schema.text.missing else text for text in texts]
    if name in schema.integer_names:
        return _read_integers(texts)
    if name in schema.float_names:
        return _read_floats(texts)
    return _read_ids(texts, schema) if schema.categories_are_ids else texts


def _read_integers(cells):
    """Return the integers of a column, None for a cell that is malformed."""
    return [
        int(cell) if cell.isdecimal() and cell.isascii() and len(cell) <= PLAIN_DIGITS else _read_other(cell)
        for cell in cells
    ]


def _read_other(cell):
    return read_integer(cell) if cell else MISSING_INTEGER


def _read_floats(cells):
    """Return the floats of a column, NaN for a missing one and None for a cell that is malformed."""
    return [read_float(cell) if cell else math.nan for cell in cells]


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
    separator = schema.text.separator.encode()
    if schema.text.has_quotes and QUOTE in line:
        text = plain_format(line)
        line, separator = without_quotes(line, schema, text), text.separator.encode()
    if line.count(separator) != schema.column_count - 1:  # before the line is split: it may hold millions of separators
        return COLUMNS
    cells = dict(zip(schema.column_names, line.split(separator)))
    if schema.has_label and label_of(cells.pop(LABEL), schema) is None:
        return LABEL_VALUE
    try:
        texts = {name: cell.decode() for name, cell in cells.items()}
    except UnicodeDecodeError:
        return ENCODING
    for names, reason in ((schema.integer_names, INTEGER), (schema.float_names, FLOAT), (schema.category_names, ID)):
        if any(None in _read_values(name, [texts[name]], schema) for name in names):
            return reason
    return 0


def score_columns(network: OnnxNetwork, columns: list[list], encoder: FeatureEncoder) -> np.ndarray:
    """Return the probabilities, float32 [n], of the columns of n rows that read_columns has returned."""
    schema = encoder.schema
    types = dict.fromkeys(schema.value_names, np.int64 if schema.categories_are_ids else object)
    types |= {**dict.fromkeys(schema.integer_names, np.int64), **dict.fromkeys(schema.float_names, np.float64)}
    inputs = {name: np.array(column, types[name])[:, None] for name, column in zip(schema.value_names, columns)}
    for name, separator in schema.separators.items():
        inputs[name] = _split_cells(inputs[name].ravel(), separator, encoder.list_lengths[name])
    return network.session.run([PROBABILITY], inputs)[0].ravel()


def _split_cells(cells, separator, length):
    """Return the first values of multi-valued cells, texts [n, length], empty behind the last one."""
    values = np.full((len(cells), length), "", object)
    for row, cell in enumerate(cells):
        found = [value for value in cell.split(separator) if value][:length]
        values[row, : len(found)] = found
    return values
