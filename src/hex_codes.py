# SPDX-License-Identifier: Apache-2.0
"""Categories of 8 lower-case hexadecimal digits, as Criteo's are, held as the numbers that they write."""

import numpy as np
import polars as pl

DIGITS = 8
HEX_PAIRS = np.array([b"%02x" % octet for octet in range(256)], dtype="S2")


def is_code(texts):
    """Return an expression that tells which texts are such codes."""
    return texts.str.contains(f"^[0-9a-f]{{{DIGITS}}}$")


def as_code(texts):
    """Return an expression for the codes, uint32, of texts for which is_code holds, and null for the others."""
    return texts.str.to_integer(base=16, dtype=pl.UInt32, strict=False)


def may_be_codes(data):
    """Tell whether a block, bytes, has none of the signs that parse as hexadecimal but are not so written."""
    return not any(sign in data for sign in b"+ABCDEF")


def to_codes(frame):
    """Return a frame of text columns, each as uint32 codes if all its values are such texts; nulls stay as they are.

    The values must come from a block that passed may_be_codes.
    """
    codes = frame.select(as_code(pl.all()))
    fits = frame.select((pl.all().str.len_bytes() == DIGITS).all()).row(0)
    return pl.DataFrame(
        codes[name] if fit and codes[name].null_count() == frame[name].null_count() else frame[name]
        for name, fit in zip(frame.columns, fits)
    )


def to_texts(codes):
    """Return a Series of uint32 codes as text, nulls as they are."""
    octets = codes.fill_null(0).to_numpy().astype(">u4").view(np.uint8).reshape(-1, 4)
    texts = pl.Series(codes.name, HEX_PAIRS[octets].view(f"S{DIGITS}").ravel()).cast(pl.String)
    return texts.set(codes.is_null(), None) if codes.null_count() else texts
