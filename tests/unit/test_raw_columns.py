# SPDX-License-Identifier: Apache-2.0
import re

import polars as pl
import pytest

from src.preprocessing.raw_columns import to_codes, to_texts

CODE = "0a9f5c71"


def is_code(text):
    return re.fullmatch("[0-9a-f]{8}", text) is not None and text != "ffffffff"


@pytest.mark.parametrize("position", range(len(CODE)))
def test_a_column_is_codes_if_each_sign_is_a_lower_case_hexadecimal_digit(position):
    for sign in map(chr, range(128)):
        text = CODE[:position] + sign + CODE[position + 1 :]
        column = to_codes(pl.DataFrame({"C1": [CODE, text, None]}))[0]
        if is_code(text):
            assert column.to_list() == [int(CODE, 16), int(text, 16), 2**32 - 1]
        else:
            assert column.to_list() == [CODE, text, ""]


@pytest.mark.parametrize("text", ["a", "0a9f5c7", "0a9f5c710", "ffffffff", "fffffffff", "0a9f5cé", "é" * 8, "+a9f5c71"])
def test_one_other_value_makes_the_column_text(text):
    columns = to_codes(pl.DataFrame({"C1": [CODE, text, None], "C2": [text, None, CODE], "C3": [None, CODE, None]}))
    assert [column.to_list() for column in columns] == [
        [CODE, text, ""],
        [text, "", CODE],
        [2**32 - 1, int(CODE, 16), 2**32 - 1],
    ]


def test_an_empty_text_is_a_missing_value_as_null_is():
    codes, texts = to_codes(pl.DataFrame({"C1": [CODE, "", None], "C2": ["a", "", None]}))
    assert codes.to_list() == [int(CODE, 16), 2**32 - 1, 2**32 - 1]
    assert texts.to_list() == ["a", "", ""]


def test_codes_become_the_texts_that_they_were():
    texts = ["00000000", "fffffffe", CODE, "", "deadbeef"]
    (codes,) = to_codes(pl.DataFrame({"C1": [text or None for text in texts]}))
    assert codes.dtype == pl.UInt32 and codes.name == "C1"
    assert to_texts(codes).to_list() == texts


def test_a_column_of_nothing_is_codes():
    for cells in ([None, None], []):
        (column,) = to_codes(pl.DataFrame({"C1": cells}, schema={"C1": pl.String}))
        assert column.dtype == pl.UInt32
        assert column.to_list() == [2**32 - 1] * len(cells)
    assert to_codes(pl.DataFrame()) == []
