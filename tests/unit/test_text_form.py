# SPDX-License-Identifier: Apache-2.0
import pytest

from src.common.errors import UserError
from src.preprocessing.schema import TextFormat
from src.preprocessing.schema_inference.text_form import find_separator, header_of


@pytest.mark.parametrize(
    ("lines", "separator"),
    [
        ([b"1\ta,b,c", b"0\td,e,f"], "\t"),
        ([b'1,"a,b",2014-10-21 00:00', b"0,c,2014-10-21 01:00"], ","),
        ([b"1;2,5;a b", b"0;3,5;c d"], ";"),
        ([b"1|a;b|x", b"0|c|y"], "|"),
        ([b"1 a x", b"0 b y"], " "),
        ([b"1\x01a b", b"0\x01c d"], "\x01"),
        ([b"1,a"] * 9 + [b"1"], ","),  # one line in ten is malformed
        ([b"1,a"] * 8 + [b"1"] * 2, None),
        ([b"a", b"b"], None),
    ],
)
def test_the_separator_gives_most_lines_the_same_number_of_cells(lines, separator):
    assert find_separator(lines) == separator


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([b"\xef\xbb\xbfage,site\r", b"5,x\r"], ["age", "site"]),
        ([b'"my, age",site', b"NULL,x", b"7,y"], ["my, age", "site"]),
        ([b",age", b"0,5"], ["", "age"]),  # the index that pandas writes
        ([b"user,click", b"u1,yes", b"u2,no"], ["user", "click"]),  # the name of a label
        ([b"user,click", b"u1,view", b"u2,click"], None),  # which is a value here
        ([b"label,0,1", b"1,5,6"], ["label", "0", "1"]),
        ([b"user,day", b"u1,2014-10-21"], ["user", "day"]),
        ([b"1,x", b"0,y"], None),
        ([b"NULL,x", b"0,y"], None),
        ([b"a,b", b"c,d"], None),
        ([b"a,label"], ["a", "label"]),
    ],
)
def test_a_header_has_no_numbers_and_is_above_numbers_or_names_a_label(lines, names):
    assert header_of(lines, TextFormat(","), "log.csv") == names


def test_a_header_with_a_name_twice_is_refused():
    with pytest.raises(UserError, match=r"log\.csv: the header has the column 'age' twice"):
        header_of([b"label,age,age", b"1,2,3"], TextFormat(","), "log.csv")
