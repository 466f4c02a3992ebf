# SPDX-License-Identifier: Apache-2.0
"""The cells of lines; read the text of one as a label, a number or a time, also in the forms of pandas, Spark and SQL.

An integer is exact: its text does not go through a float.  A float is the one nearest to its text.
"""

import csv
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence

import polars as pl

from src.preprocessing.raw_columns import MISSING_INTEGER, without_negative_zeros
from src.preprocessing.schema import LABEL, FieldSchema, TextFormat

QUOTE = b'"'

# By the label of a row without a click: the texts of both labels; a match of the group "negative" is that label.
LABEL_FORMS = {
    0: re.compile(rb"(?P<negative>0(\.0{1,20})?|false)|1(\.0{1,20})?|true", re.IGNORECASE),
    -1: re.compile(rb"(?P<negative>-1(\.0{1,20})?)|\+?1(\.0{1,20})?"),
}
NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,18}))?")
FLOAT = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
LONGEST_INTEGER_DIGITS = 19  # those of 2^63 - 1
DATE_LENGTH = 10  # of "2014-10-21"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S%.f"


def read_label(cell: bytes, negative_label: int) -> int | None:
    """Return the label, 1 for a click and 0 for none, that a cell writes; None if it writes none.

    negative_label: the label of a row without a click, 0 or -1.
    """
    match = LABEL_FORMS[negative_label].fullmatch(cell)
    return None if match is None else int(match["negative"] is None)


def split_cells(line: bytes, text: TextFormat) -> list[bytes] | None:
    """Return the cells of a line without its end; None if its quotes are malformed."""
    if not (text.has_quotes and QUOTE in line):
        return line.split(text.separator.encode())
    try:  # latin-1 has a character for each byte
        (cells,) = csv.reader([line.decode("latin-1")], delimiter=text.separator, strict=True)
    except (csv.Error, ValueError):
        return None
    return [cell.encode("latin-1") for cell in cells]


def count_cells(line: bytes, text: TextFormat) -> int:
    """Return the number of cells of a line; 0 if its quotes are malformed."""
    if text.has_quotes and QUOTE in line:
        return len(split_cells(line, text) or [])
    return line.count(text.separator.encode()) + 1


def join_cells(columns: Mapping[str, Sequence[bytes]], schema: FieldSchema) -> list[bytes]:
    """Return rows without a label as lines, from the cells of the columns that a model uses, by name.

    The cells of other columns of the file are empty.  Without quotes no cell may hold the separator; none a line's end.
    """
    separator = schema.text.separator.encode()
    names = dataclasses.replace(schema, has_label=False).column_names
    count = len(next(iter(columns.values())))
    if schema.text.has_quotes:
        columns = {name: [_quoted(cell, separator) for cell in cells] for name, cells in columns.items()}
    return [separator.join(row) for row in zip(*(columns.get(name, [b""] * count) for name in names))]


def _quoted(cell, separator):
    if separator not in cell and QUOTE not in cell:
        return cell
    return QUOTE + cell.replace(QUOTE, QUOTE + QUOTE) + QUOTE


def label_of(cell: bytes, schema: FieldSchema) -> int | None:
    """Return the label, 1 for a click and 0 for none, that a cell of a row writes; None if it writes none."""
    if not schema.clicks:
        is_last = schema.column_names[-1] == LABEL  # then carriage returns at its end are the line's
        return read_label(cell.rstrip(b"\r") if is_last else cell, schema.negative_label)
    text = cell.rstrip(b"\r").decode("utf-8", "replace")
    return None if text in ("", *schema.text.missing) else int(text in schema.clicks)


def read_integer(text: str) -> int | None:
    """Return the integer n that a text such as "-5", "3.0" or "1e+16" writes; None unless -(2^63) < n < 2^63."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, before_point, after_point, exponent = match.groups("")
    digits = before_point + after_point
    significant = digits.rstrip("0").lstrip("0")
    if not significant:
        return 0 if digits else None
    power = int(exponent or 0) - len(after_point) + len(digits) - len(digits.rstrip("0"))
    if power < 0 or len(significant) + power > LONGEST_INTEGER_DIGITS:
        return None
    number = int(sign + significant) * 10**power
    return number if abs(number) < 2**63 else None


def read_integers(texts: pl.Series) -> pl.Series:
    """Return read_integer of each text of a Series, Int64; null for a null and for a text without an integer."""
    numbers = texts.cast(pl.Int64, strict=False)
    numbers = numbers.set(numbers == MISSING_INTEGER, None)
    others = (numbers.is_null() & texts.is_not_null()).arg_true()
    return numbers.scatter(others, _read_others(texts.gather(others))) if len(others) else numbers


def _read_others(texts: pl.Series) -> pl.Series:
    """Do the work of read_integers for texts that are no plain integers; the most frequent form, "3.0", in polars."""
    numbers = texts.str.replace(r"\.0*$", "").cast(pl.Int64, strict=False)
    numbers = numbers.set(numbers == MISSING_INTEGER, None)
    others = numbers.is_null().arg_true()
    cells = texts.gather(others).to_list()
    known = {cell: read_integer(cell) for cell in set(cells)}
    return numbers.scatter(others, pl.Series([known[cell] for cell in cells], dtype=pl.Int64))


def read_float(text: str) -> float | None:
    """Return the finite number in a text as read_floats does; None if there is none."""
    number = float(text) if FLOAT.fullmatch(text) else math.inf
    return number + 0.0 if math.isfinite(number) else None  # a negative zero becomes 0


def read_floats(texts: pl.Series) -> pl.Series:
    """Return the finite number in each text, such as "-5", "0.25" or "1e-3", Float64; null if there is none.

    A negative zero is given as 0.
    """
    numbers = texts.cast(pl.Float64, strict=False)
    return without_negative_zeros(numbers.set(~numbers.is_finite(), None))


def read_times(texts: pl.Series) -> pl.Series:
    """Return the times in texts, Int64; null if there is none.

    Integers, such as seconds or 14102100, are themselves; dates and times in the form of ISO 8601 without a zone, such
    as "2014-10-21 13:05:22" or "2014-10-21", are microseconds.
    """
    integers = texts.cast(pl.Int64, strict=False)
    if integers.null_count() == texts.null_count():
        return integers
    plain = texts.str.replace("T", " ", literal=True).str.strip_suffix("Z")
    midnight = pl.when(plain.str.len_bytes() == DATE_LENGTH).then(plain + " 00:00:00").otherwise(plain)
    dates = pl.select(midnight.str.to_datetime(TIME_FORMAT, time_unit="us", strict=False)).to_series()
    return integers.fill_null(dates.cast(pl.Int64))


def to_weights(numbers: pl.Series, schema: FieldSchema) -> pl.Series:
    """Return numbers, Float64, as weights, Float32; null for one that is missing or negative.

    A row to score is not malformed for its weight: it does not count in the metrics instead.
    """
    weights = numbers.set(numbers < 0, None).cast(pl.Float32)
    weights = weights.set(~weights.is_finite(), None)
    return weights.fill_null(0.0) if schema.is_label_optional else weights


def read_csv(
    data: bytes, types: dict, text: TextFormat, names: Sequence[str], *, has_quotes: bool = False
) -> pl.DataFrame:
    """Return the cells of some columns of lines, all with as many as there are types, null for missing ones.

    types: of all columns by name.  names: of those to read, in any order.
    """
    columns = None if len(names) == len(types) else [number for number, name in enumerate(types) if name in names]
    frame = pl.read_csv(
        data, separator=text.separator, has_header=False, schema=types, quote_char='"' if has_quotes else None,
        null_values=list(text.missing) or None, columns=columns,
    )  # fmt: skip
    if not has_pair(data, b"\r\r"):
        return frame
    # polars takes off one carriage return; a cell of carriage returns alone is empty.
    stripped = frame.with_columns(pl.col(pl.String).str.strip_chars_end("\r"))
    return stripped.with_columns(pl.when(~pl.col(pl.String).is_in(["", *text.missing])).then(pl.col(pl.String)))


def has_pair(data: bytes, pair: bytes) -> bool:
    """Return `pair in data`, where one of its bytes is rare: a byte is found many times faster than several."""
    return all(byte in data for byte in pair) and pair in data
