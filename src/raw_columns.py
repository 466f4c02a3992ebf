# SPDX-License-Identifier: Apache-2.0
"""How the columns of raw rows are held: integers as Int32 or Int64, categories as codes (UInt32) or text (String).

A code is the number that 8 lower-case hexadecimal digits write, as Criteo's categories are.  No column has nulls: a
missing value is the MISSING of its type.  The same column may be held in one way in some rows, in another in others.
"""

import numpy as np
import polars as pl

CODE_DIGITS = 8
HEX_PAIRS = np.array([b"%02x" % octet for octet in range(256)], dtype="S2")
MISSING = {pl.Int32: -(2**31), pl.Int64: -(2**63), pl.UInt32: 2**32 - 1, pl.String: ""}


def is_code(texts):
    """Return an expression that tells which texts are codes."""
    return texts.str.contains(f"^[0-9a-f]{{{CODE_DIGITS}}}$") & (texts != to_text(MISSING[pl.UInt32]))


def as_code(texts):
    """Return an expression for the codes, UInt32, of texts for which is_code holds, and null for the others."""
    return texts.str.to_integer(base=16, dtype=pl.UInt32, strict=False)


def to_text(code):
    """Return the text of one code."""
    return f"{code:0{CODE_DIGITS}x}"


def is_odd_hexadecimal(octets):
    """Return which signs, uint8 [n], parse as hexadecimal but do not occur in codes."""
    return (octets - np.uint8(ord("A")) < len("ABCDEF")) | (octets == ord("+"))


def to_codes(frame):
    """Return a frame of text columns, nulls for missing values, with codes where all of a column are such.

    The values must come from a block without a sign of is_odd_hexadecimal.
    """
    missing = MISSING[pl.UInt32]
    codes = frame.select(as_code(pl.all()).fill_null(missing))
    whole = frame.select((pl.all().str.len_bytes() == CODE_DIGITS).all()).row(0)
    gaps = codes.select((pl.all() == missing).sum()).row(0)  # missing, not a code, or the code that means missing
    return pl.DataFrame(
        codes[name] if is_whole and gap == frame[name].null_count() else frame[name].fill_null("")
        for name, is_whole, gap in zip(frame.columns, whole, gaps)
    )


def to_integers(column):
    """Return an Int64 Series, nulls for missing values, as Int32 if it fits; -(2^63) must not occur."""
    low, high = column.min(), column.max()
    fits = low is None or (low > MISSING[pl.Int32] and high < 2**31)
    kind = pl.Int32 if fits else pl.Int64
    return column.cast(kind).fill_null(MISSING[kind])


def to_texts(codes):
    """Return a Series of codes as text."""
    octets = codes.to_numpy().astype(">u4").view(np.uint8).reshape(-1, 4)
    texts = pl.Series(codes.name, HEX_PAIRS[octets].view(f"S{CODE_DIGITS}").ravel()).cast(pl.String)
    return texts.set(codes == MISSING[pl.UInt32], "")


def concat(columns):
    """Put the pieces of a column, Series, together, in the wider of their types."""
    kinds = {column.dtype for column in columns}
    if len(kinds) > 1:
        columns = [to_texts(column) if column.dtype == pl.UInt32 else _widen(column) for column in columns]
    return pl.concat(columns)


def _widen(column):
    if column.dtype != pl.Int32:
        return column
    return column.cast(pl.Int64).set(column == MISSING[pl.Int32], MISSING[pl.Int64])
