# SPDX-License-Identifier: Apache-2.0
"""The tensors of a request as raw rows: the lines of a log, without the newline."""

from collections.abc import Sequence

from src.preprocessing.diagnosis import printable
from src.serving.infer_request import BYTES, INT64, SMALLEST_INT64, Tensor
from src.serving.request_errors import MalformedRows, RequestError

ROWS = "rows"  # the input that holds complete lines


def to_lines(tensors: list[Tensor], integers: Sequence[str], categories: Sequence[str]) -> list[bytes]:
    """Return the rows of a request: those of the input "rows", or the columns of a tensor each, joined by tabs.

    integers, categories: the names of the columns of a row.  An integer is INT64, missing ones -2^63, or BYTES; a
    category is BYTES; missing ones are empty.  Raises RequestError, MalformedRows if a cell would become two.
    """
    names = [tensor.name for tensor in tensors]
    if names == [ROWS]:
        return _bytes_of(tensors[0])
    columns = [*integers, *categories]
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) < len(names) or by_name.keys() != set(columns):
        raise RequestError(_describe_names(names, columns))
    if len({len(tensor.data) for tensor in tensors}) > 1:
        raise RequestError("inputs: all columns must have the same number of rows")
    cells = [_integer_cells(by_name[name]) for name in integers] + [_bytes_of(by_name[name]) for name in categories]
    _check_cells(columns, cells)
    return [b"\t".join(row) for row in zip(*cells)]


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
    if tensor.datatype != INT64:
        return tensor.data
    return [b"" if number == SMALLEST_INT64 else b"%d" % number for number in tensor.data]


def _check_cells(names, columns):
    """Raise MalformedRows for the rows of which a cell, bytes, would become two."""
    faults = {}
    for name, cells in zip(names, columns):
        if _holds_separator(b"".join(cells)):
            for row in (row for row, cell in enumerate(cells, 1) if _holds_separator(cell)):
                faults.setdefault(row, f"row {row}: {name} holds a tab or a newline")
    if faults:
        raise MalformedRows(dict(sorted(faults.items())), len(faults), len(columns[0]))


def _holds_separator(text):
    return b"\t" in text or b"\n" in text
