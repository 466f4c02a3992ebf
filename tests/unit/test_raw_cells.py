# SPDX-License-Identifier: Apache-2.0
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from src.preprocessing.raw_cells import read_float, read_floats, read_integer, read_integers, read_label
from tests import oracles

NUMBERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 2**64).map(str) | st.sampled_from(["", "0", "007", "9223372036854775807", "9223372036854775808"]),
    st.sampled_from(["", ".", ".0", ".00", ".5", ".50", ".10"]),
    st.sampled_from(["", "", "", "e0", "e+16", "E3", "e-1", "e-2", "e400", "e-400", "e", "e+"]),
)
TEXTS = st.one_of(NUMBERS, st.text("0123456789+-.eE _x\u0661\x00", max_size=8))


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(TEXTS.filter(bool), max_size=12))
@example(texts=["3.0", "-5.00", "1700000000000.0", "1e+16", "9007199254740993.0", "-9223372036854775808.0", "."])
@example(texts=["3.5", "nan", "1e400", "inf", "1_0", " 3", "3 ", "0x1f", "-", "-.0", "1..0", "1e5.0"])
def test_integers_are_exact_or_none(texts):
    expected = [None if oracles.parse_integer(text) == "bad" else oracles.parse_integer(text) for text in texts]
    assert [read_integer(text) for text in texts] == expected
    column = read_integers(pl.Series([None, *texts], dtype=pl.String))
    assert (column.dtype, column.to_list()) == (pl.Int64, [None, *expected])


@pytest.mark.parametrize(
    ("text", "integer"),
    [
        ("9007199254740993.0", 9007199254740993),  # 2^53 + 1, which float64 cannot hold
        ("9223372036854775807.00", 2**63 - 1),
        ("1e+16", 10**16),
        ("1.5e3", 1500),
        ("-0.0", 0),
        ("15e-1", None),
        ("1e-999999999999999999", None),
    ],
)
def test_integers_by_hand(text, integer):
    assert read_integer(text) == integer
    assert read_integers(pl.Series([text])).to_list() == [integer]


@given(texts=st.lists(st.one_of(st.text("0123456789+-.eE infa_x", max_size=6), st.floats().map(repr)), max_size=20))
@example(texts=["1.5", "+.5", "5.", "-0", "1e999", "nan", "inf", "1_0", " 1", "4.9e-324", "1e-400", "\u0667", "1d", ""])
def test_a_float_alone_is_read_as_in_a_column(texts):
    found = read_floats(pl.Series(texts, dtype=pl.String)).to_list()
    assert list(map(repr, found)) == [repr(read_float(text)) for text in texts]


@pytest.mark.parametrize(
    ("negative_label", "clicks", "others", "neither"),
    [
        (
            0,
            ["1", "1.0", "1.000000", "true", "True", "TRUE"],
            ["0", "0.0", "0.00", "false", "False", "FALSE"],
            [
                "-1",
                "+1",
                "2",
                "01",
                "1.",
                "0.1",
                "1e0",
                "yes",
                "",
                " 1",
                "1 ",
                "1\r",
                "1\x00",
                "1.0x",
                "t",
                "-0",
                "null",
            ],
        ),
        (
            -1,
            ["1", "+1", "1.0", "+1.0"],
            ["-1", "-1.0", "-1.000000"],
            ["0", "0.0", "true", "false", "--1", "-01", "- 1", "", "-1.5", "2", "-"],
        ),
    ],
)
def test_labels_by_hand(negative_label, clicks, others, neither):
    for cells, label in ((clicks, 1), (others, 0), (neither, None)):
        for cell in cells:
            assert read_label(cell.encode(), negative_label) == label, cell
            assert oracles.parse_label(cell, negative_label) == label, cell
