# SPDX-License-Identifier: Apache-2.0
"""The types of the columns of raw rows.

Integers are Int32 or Int64, floats Float64 without negative zeros, categories codes (UInt32) or text (String); the
values of a multi-valued category are one text, with the separator between them.  A code is the number that 8 lower-case
hexadecimal digits write, as Criteo's categories are.  No column has nulls: a missing value is the MISSING of its type.
A column may have one type in some chunks of rows and the other in others.
"""

import math
from collections.abc import Iterator

import numpy as np
import polars as pl

CODE_DIGITS = 8
HEX_PAIRS = np.array([b"%02x" % byte for byte in range(256)], dtype="S2")
MISSING_INTEGER = -(2**63)
MISSING = {pl.Int32: -(2**31), pl.Int64: MISSING_INTEGER, pl.Float64: math.nan, pl.UInt32: 2**32 - 1, pl.String: ""}
MISSING_WORD = int.from_bytes(b"ffffffff", "big")


def to_codes(columns: pl.DataFrame) -> list[pl.Series]:
    """Return text columns, nulls for missing values, each as codes if all its values are codes, else as text."""
    found = zip(columns.get_columns(), _read_words(columns))
    return [_to_codes_or_text(column, *_read_digits(words)) for column, words in found]


def _to_codes_or_text(column, codes, are_codes):
    others = len(column) - column.null_count() - np.count_nonzero(are_codes)
    has_only_codes = not others or others == (column == "").sum()
    return pl.Series(column.name, codes) if has_only_codes else column.fill_null("")


def read_codes(column: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes, uint32 [n], of a text column, and which of its values are codes, bool [n].

    A value of other than 8 bytes, and so a missing one, is given as the MISSING code.
    """
    return _read_digits(*_read_words(column.to_frame()))


def _read_words(columns: pl.DataFrame) -> Iterator[np.ndarray]:
    """Yield for each text column its values of 8 bytes as uint64 [n], MISSING_WORD for all others.

    One expression for all columns takes a quarter of the time of one for each.
    """
    words = pl.all().cast(pl.Binary).bin.reinterpret(dtype=pl.UInt64, endianness="big")  # null for other than 8 bytes
    for column in columns.select(words.fill_null(MISSING_WORD)):
        yield column.to_numpy()


def _read_digits(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers, uint32 [n], that 8 lower-case hexadecimal digits write, and which are codes, bool [n].

    words: uint64 [n], each the 8 bytes of a text, the first one highest.  All bytes of a word are handled at once.
    """
    is_letter = (words >> 6) & _in_each_byte(1)
    digits = words - (_in_each_byte(ord("0")) + is_letter * np.uint64(ord("a") - 10 - ord("0")))
    is_above_9 = ((digits + _in_each_byte(6)) >> 4) & _in_each_byte(1)
    is_other = (digits & _in_each_byte(0xF0)) | (is_above_9 ^ is_letter)
    pairs = (digits | (digits >> 4)).view(np.uint16).astype(np.uint8)  # the lower half of each two bytes
    codes = pairs.view(np.uint32)
    return codes, (is_other == 0) & (codes != MISSING[pl.UInt32])


def _in_each_byte(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


def to_integers(column: pl.Series) -> pl.Series:
    """Return an Int64 Series, nulls for missing values, as Int32 if it fits; -(2^63) must not occur."""
    low, high = column.min(), column.max()
    fits = low is None or (low > MISSING[pl.Int32] and high < 2**31)
    dtype = pl.Int32 if fits else pl.Int64
    return column.cast(dtype).fill_null(MISSING[dtype])


def without_negative_zeros(numbers: pl.Series) -> pl.Series:
    """Return floats with 0 for each negative zero, which polars has for 0 + -0.0, too."""
    return numbers.set(numbers == 0, 0.0)


def to_texts(codes: pl.Series) -> pl.Series:
    """Return a Series of codes as text."""
    code_bytes = codes.to_numpy().astype(">u4").view(np.uint8).reshape(-1, 4)
    texts = pl.Series(codes.name, HEX_PAIRS[code_bytes].view(f"S{CODE_DIGITS}").ravel()).cast(pl.String)
    return texts.set(codes == MISSING[pl.UInt32], "")


def concat(chunks: list[pl.Series]) -> pl.Series:
    """Return the chunks of a column, concatenated, in the wider of their types."""
    dtypes = {chunk.dtype for chunk in chunks}
    if len(dtypes) > 1:
        chunks = [to_texts(chunk) if chunk.dtype == pl.UInt32 else widen(chunk) for chunk in chunks]
    return pl.concat(chunks)


def widen(column: pl.Series) -> pl.Series:
    """Return a column of integers as Int64, any other as it is."""
    if column.dtype != pl.Int32:
        return column
    return column.cast(pl.Int64).set(column == MISSING[pl.Int32], MISSING[pl.Int64])
