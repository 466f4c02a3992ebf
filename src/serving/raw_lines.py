# SPDX-License-Identifier: Apache-2.0
"""The tensors of a request as raw rows: the lines of a log, without the newline."""

import math

from src.preprocessing.diagnosis import printable
from src.preprocessing.raw_cells import join_cells
from src.preprocessing.schema import FieldSchema
from src.serving.infer_request import BYTES, FP64, INT64, SMALLEST_INT64, Tensor
from src.serving.request_errors import MalformedRows, RequestError

SEPARATOR_NAMES = {b"\n": "a newline", b"\t": "a tab"}
ROWS = "rows"  # the input that holds complete lines


def to_lines(tensors: list[Tensor], schema: FieldSchema) -> list[bytes]:
    """Return the rows of a request: those of the input "rows", or the columns of a tensor each, joined.

    schema: of the rows.  An integer is INT64, missing ones -2^63, or BYTES; a float FP64, missing ones NaN, or BYTES; a
    category BYTES, and so a multi-valued one, with the separator of the log between its values.  Missing texts are
    empty.  Raises RequestError, MalformedRows if a cell would become two.
    """
    names = [tensor.name for tensor in tensors]
    if names == [ROWS]:
        return _bytes_of(tensors[0])
    columns = schema.value_names
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) < len(names) or by_name.keys() != set(columns):
        raise RequestError(_describe_names(names, columns))
    if len({len(tensor.data) for tensor in tensors}) > 1:
        raise RequestError("inputs: all columns must have the same number of rows")
    cells = {name: _integer_cells(by_name[name]) for name in schema.integer_names}
    cells |= {name: _float_cells(by_name[name]) for name in schema.float_names}
    cells |= {name: _bytes_of(by_name[name]) for name in schema.sparse_names}
    _check_cells(cells, schema.text)
    return join_cells(cells, schema)


def _describe_names(names, columns):
    expected = f'inputs must be one named "{ROWS}" or one for each of {columns[0]} to {columns[-1]}'
    known = {ROWS, *columns}
    if unknown := [name for name in names if name not in known]:
        return f"{expected}; {printable(unknown[0].encode())} is none of them"
    if missing := sorted(set(columns) - set(names), key=columns.index):
        return f"{expected}; {missing[0]} is missing"
    return f"{expected}, each once"


def _bytes_of(tensor):
    if tensor.datatype != BYTES:
        raise RequestError(f"input {tensor.name}: its datatype must be {BYTES}")
    return tensor.data


def _integer_cells(tensor):
    if tensor.datatype == BYTES:
        return tensor.data
    _check_datatype(tensor, INT64)
    return [b"" if number == SMALLEST_INT64 else b"%d" % number for number in tensor.data]


def _float_cells(tensor):
    if tensor.datatype == BYTES:
        return tensor.data
    _check_datatype(tensor, FP64)
    return [b"" if math.isnan(number) else repr(number).encode() for number in tensor.data]


def _check_datatype(tensor, datatype):
    if tensor.datatype != datatype:
        raise RequestError(f"input {tensor.name}: its datatype must be {datatype} or {BYTES}")


def _check_cells(columns, text):
    """Raise MalformedRows for the rows of which a cell, bytes, would become two."""
    faults: dict[int, str] = {}
    separators = [b"\n", *([] if text.has_quotes else [text.separator.encode()])]
    described = " or ".join(SEPARATOR_NAMES.get(separator, separator.decode()) for separator in reversed(separators))
    for name, cells in columns.items():
        if _holds_any(b"".join(cells), separators):
            for row in (row for row, cell in enumerate(cells, 1) if _holds_any(cell, separators)):
                faults.setdefault(row, f"row {row}: {name} holds {described}")
    if faults:
        raise MalformedRows(dict(sorted(faults.items())), len(faults), len(next(iter(columns.values()))))


def _holds_any(text, separators):
    return any(separator in text for separator in separators)
