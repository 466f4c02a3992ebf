# SPDX-License-Identifier: Apache-2.0
"""How lines of a table are written, found from the lines alone: their separator, and whether the first is a header."""

import re
from collections import Counter
from collections.abc import Sequence

from src.common.errors import UserError
from src.preprocessing.diagnosis import MISSING_WORDS, SEPARATORS
from src.preprocessing.raw_cells import count_cells, split_cells
from src.preprocessing.schema import TextFormat
from src.preprocessing.schema_inference.label import LABEL_NAMES

BYTE_ORDER_MARK = "\ufeff"
READ_LINES = 1000
LEAST_ALIKE = 0.9  # of the lines have the same number of cells
PREFERRED = "\t\x01"  # text hardly holds them
LAST = " "  # text often holds it
VALUE = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|\d{4}-\d\d-\d\d.*", re.IGNORECASE)  # a number or a date


def find_separator(lines: Sequence[bytes]) -> str | None:
    """Return the character by which most lines have the same number of cells, more than one; None if there is none."""
    widths = {}
    for separator in (each.decode() for each in SEPARATORS):
        counts = Counter(count_cells(line, TextFormat(separator)) for line in lines[:READ_LINES])
        width, frequency = counts.most_common(1)[0]
        if width > 1 and frequency >= LEAST_ALIKE * counts.total():
            widths[separator] = width
    for separator in PREFERRED:
        if separator in widths:
            return separator
    return max(widths, key=lambda separator: (separator != LAST, widths[separator]), default=None)


def header_of(lines: Sequence[bytes], text: TextFormat, file: str) -> list[str] | None:
    """Return the names of the columns, if the first line is a header; None if it is a row.

    A header has no number, and a name above a column of numbers, or the name of a label that is not a value below it.
    UserError if a name is there twice.
    """
    names, *rows = [_texts(line, text) for line in lines[:READ_LINES]]
    names[0] = names[0].removeprefix(BYTE_ORDER_MARK)
    columns = list(zip(*(row for row in rows if len(row) == len(names)))) or [()] * len(names)
    is_named = any(name.lower() in LABEL_NAMES and name not in column for name, column in zip(names, columns))
    is_above = any(_are_values(column) for name, column in zip(names, columns) if not _is_missing(name))
    if not is_named and (not is_above or any(map(VALUE.fullmatch, names))):
        return None
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{file}: the header has the column {repeated[0]!r} twice")
    return names


def _texts(line, text):
    return [cell.decode("utf-8", "replace").rstrip("\r") for cell in split_cells(line, text) or []] or [""]


def _is_missing(cell):
    return not cell or cell.lower() in MISSING_WORDS


def _are_values(cells):
    """Tell whether cells, those of missing values aside, are numbers or dates."""
    filled = [cell for cell in cells if not _is_missing(cell)]
    return bool(filled) and all(map(VALUE.fullmatch, filled))
