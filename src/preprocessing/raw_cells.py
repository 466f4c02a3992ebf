# SPDX-License-Identifier: Apache-2.0
"""Read the text of a raw cell as a label or an integer, also in the forms that pandas, Spark and SQL write.

The value is exact: no text goes through a float.
"""

import re

import polars as pl

from src.preprocessing.raw_columns import MISSING_INTEGER

# By the label of a row without a click: the texts of both labels; a match of the group "negative" is that label.
LABEL_FORMS = {
    0: re.compile(rb"(?P<negative>0(\.0{1,20})?|false)|1(\.0{1,20})?|true", re.IGNORECASE),
    -1: re.compile(rb"(?P<negative>-1(\.0{1,20})?)|\+?1(\.0{1,20})?"),
}
LONGEST_LABEL_BYTES = 23
NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,18}))?")
LONGEST_INTEGER_DIGITS = 19  # those of 2^63 - 1


def read_label(cell: bytes, negative_label: int) -> int | None:
    """Return the label, 1 for a click and 0 for none, that a cell writes; None if it writes none.

    negative_label: the label of a row without a click, 0 or -1.
    """
    match = LABEL_FORMS[negative_label].fullmatch(cell)
    return None if match is None else int(match["negative"] is None)


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
