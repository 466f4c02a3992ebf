# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from src.preprocessing.bad_lines import BadLines
from src.preprocessing.raw_rows import parse_chunk
from src.preprocessing.schema import LABEL, FieldSchema

COLUMNS = "a row has 5: 1 label, --dense_dim=2 integers and --slot_dim=2 categories, separated by tabs"
GOOD = ("0\t3\t\ta\tb", "1\t\t-7\ta\tc")


def describe(lines, negative_label=0, categories_are_ids=False, chunk_lines=1000):
    """Return the description of a file of these lines, text or bytes, read in chunks of so many lines."""
    schema = FieldSchema.criteo(2, 2, categories_are_ids, negative_label)
    lines = [line if isinstance(line, bytes) else line.encode() for line in lines]
    bad_lines, labels = BadLines(), set()
    for start in range(0, len(lines), chunk_lines):
        data = b"".join(line + b"\n" for line in lines[start : start + chunk_lines])
        parsed = parse_chunk(data, start, schema)
        labels.update(parsed.frame[LABEL].to_list())
        bad_lines.merge(BadLines.from_dict(json.loads(json.dumps(parsed.bad_lines.to_dict()))))
    return bad_lines.describe(len(lines), sorted(labels), negative_label)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "1\t3.5\t\ta\tb",
            'line 3: I1 is "3.5"; an integer lies between -2^63 and 2^63, as 3 or 3.0, or is empty',
        ),
        ("1\t\t1e400\ta\tb", 'line 3: I2 is "1e400"; an integer'),
        ("1\t\t9223372036854775808\ta\tb", 'line 3: I2 is "9223372036854775808"; an integer'),
        ("1\tNULL\t\ta\tb", "missing values are written as NULL: leave their cells empty"),
        ("1\t\\N\t\ta\tb", "missing values are written as \\N: leave their cells empty"),
        ("2\t3\t\ta\tb", 'line 3: the label is "2"; a label is 0 or 1 (or 0.0, 1.0, false, true)'),
        ("\t3\t\ta\tb", 'line 3: the label is ""; a label is 0 or 1'),
        ("1\t3\t\ta", f'line 3 has 4 columns, "1\\t3\\t\\ta"; {COLUMNS}'),
        ("1\t3\t\ta\tb\tc", "line 3 has 6 columns, "),
        ("", f"line 3 is empty; {COLUMNS}"),
        (b"1\t3\t\ta\tcaf\xe9", 'line 3: C2 is "caf\\xe9"; it is not UTF-8'),
        ("1\tx\x1b[31m\u2028y\t\ta\tb", 'I1 is "x\\x1b[31m\\u2028y"; an integer'),
        ("1\t" + "x" * 1_000_000 + "\t\ta\tb", 'line 3: I1 is "' + "x" * 60 + '..."; an integer'),
    ],
)
def test_the_first_malformed_line_is_shown_with_its_cell_and_the_rule(line, expected):
    for chunk_lines in (1, 2, 100):
        text = describe([*GOOD, line, *GOOD, line], chunk_lines=chunk_lines)
        assert expected in text
        assert text.isprintable()
        assert len(text) < 400
        assert "; of 6 lines 2 malformed (2 " in text
        assert not any(wrong in text for wrong in ("header", "separated by ;", "no label column"))


def test_an_id_that_is_missing_or_too_large_is_named():
    rule = "with --skip_id_convert=1 a category is an id from 0 to 2147483647 and cannot be missing"
    good = "1\t\t\t5\t6"
    assert f'line 2: C2 is ""; {rule}' in describe([good, "1\t\t\t5\t"], categories_are_ids=True)
    assert f'line 2: C1 is "2147483648"; {rule}' in describe([good, "1\t\t\t2147483648\t5"], categories_are_ids=True)
    assert f'line 2: C1 is "a"; {rule}' in describe([good, "1\t\t\ta\t5"], categories_are_ids=True)


def test_a_line_that_is_only_scored_is_diagnosed_without_the_flags_of_preprocessing():
    ids = FieldSchema.criteo(2, 2, categories_are_ids=True, largest_id=9, is_label_optional=True)
    texts = FieldSchema.criteo(2, 2, has_label=False, is_label_optional=True)
    columns = "a row has 2 integers and 2 categories, separated by tabs, with or without a label before them"
    for schema, line, expected in (
        (ids, b"1\t\t\t5\t10", 'line 1: C2 is "10"; a category is an id from 0 to 9 and cannot be missing'),
        (ids, b"1\t\t5\t6", f'line 1 has 4 columns, "1\\t\\t5\\t6"; {columns}'),
        (texts, b"1\t3\t4\ta\tb", f'line 1 has 5 columns, "1\\t3\\t4\\ta\\tb"; {columns}'),
    ):
        (found,) = parse_chunk(line + b"\n", 0, schema).bad_lines.diagnoses
        assert found.fault == expected and found.column_hints == []


HEADER = "line 1 looks like a header: remove it"


@pytest.mark.parametrize(
    ("lines", "hints"),
    [
        (["label\tI1\tI2\tC1\tC2", *GOOD], [HEADER]),
        (["\ufefflabel\tI1\tI2\tC1\tC2", *GOOD], [HEADER, "the file begins with a byte order mark"]),
        (["\ufeff0\t1\t2\ta\tb", *GOOD], ["the file begins with a byte order mark"]),
        (['"label"\t"I1"\t"I2"\t"C1"\t"C2"', *GOOD], [HEADER]),
        (["点击\t整数1\t整数2\t类别1\t类别2", *GOOD], [HEADER]),
        (
            ["label,I1,I2,C1,C2", "0,1,2,a,b", "1,1,,a,b"],
            [HEADER, "the file is comma-separated instead of tab-separated"],
        ),
        (["0,1,2,a,b", "1,1,,a,b"], ["the file is comma-separated instead of tab-separated"]),
        (["0;1;2;a;b", "1;1;;a;b"], ["the file is separated by ; instead"]),
        (["0|1|2|a|b"] * 2, ["the file is separated by | instead"]),
        (["0\x011\x012\x01a\x01b"] * 2, [r"the file is separated by \x01 instead"]),
        (["0 1 2 a b"] * 2, ["the file is separated by blanks instead"]),
        (["3\t\ta\tb", "4\t5\ta\tb"], ["the file seems to have no label column"]),
        (["3,,a,b"] * 3, ["the file is comma-separated", "the file seems to have no label column"]),
        ([b"\x1f\x8b\x08\x00abc", b"\x00\xff"], ["the file is compressed by gzip: name it train.txt.gz"]),
        ([b"PAR1\x15\x04", b"\x15"], ["the file is a Parquet file"]),
        (["0\t1\t2\ta\tb".encode("utf-16")], ["the file is UTF-16"]),
        (['{"label": 0, "I1": 3}'] * 3, ["the file is JSON"]),
        (["0\t1\t2\ta\tb\r1\t1\t2\ta\tb\r0\t1\t2\ta\tb"], ["lines end with carriage returns alone"]),
        (
            ["-1\t1\t2\ta\tb", *GOOD[1:]],
            ["labels are -1 and 1: --negative_label=-1 takes -1 for the label of a row without"],
        ),
        (
            ["label\tI1\tI2\tC1\tC2", "-1.0\t1\t2\ta\tb", *GOOD[1:]],
            [HEADER, "line 2: the label", "labels are -1.0 and 1: --neg"],
        ),
        (["label\tI1\tI2\tC1\tC2", "1\t3.5\t\ta\tb"], [HEADER, 'line 2: I1 is "3.5"']),
        (['"0"\t1\t2\ta\tb', '"1"\t1\t2\ta\tb'], ["cells are in quotes: write them without", 'labels are "0" and "1"']),
        (["0\t'1'\t2\ta\tb"], ["line 1: I1 is \"'1'\"; an integer", "cells are in quotes: write them without"]),
        (["yes\t1\t2\ta\tb", "no\t1\t2\ta\tb"], ["labels are yes and no"]),
        ([f"0.{row}\t1\t2\ta\tb" for row in range(1, 9)], ["labels are 0.1, 0.2, 0.3, 0.4 and others"]),
        (["\t1\t2\ta\tb"] * 3, ["labels are empty"]),
    ],
)
def test_hints_about_the_file_are_given(lines, hints):
    text = describe(lines)
    for hint in hints:
        assert hint in text
    assert ("header" in text) == (HEADER in hints)
    assert ("-separated instead" in text or "separated by" in text.replace("separated by tabs", "")) == any(
        "instead" in hint or "comma" in hint for hint in hints
    )
    assert "\n" not in text


def test_labels_0_and_1_are_refused_where_minus_1_is_the_negative_label():
    text = describe(["0\t1\t2\ta\tb", "1\t1\t2\ta\tb"], negative_label=-1)
    assert 'line 1: the label is "0"; a label is -1 or 1; labels are 0 and 1: --negative_label=0 takes 0' in text


def test_of_many_lines_a_few_are_kept_and_all_are_counted():
    bad_lines = BadLines()
    for start in (1, 101):
        lines = [b"%d\tx" % number for number in range(100)]
        numbers, reasons = np.arange(start, start + 100), np.full(100, 2, np.uint8)
        bad_lines.merge(BadLines.from_lines(numbers, reasons, lines.__getitem__, FieldSchema.criteo(1, 0)))
    assert bad_lines.counts == {"label": 200}
    assert bad_lines.first == [(number, "label", "") for number in range(1, 21)]
    assert len(bad_lines.diagnoses) == 2
    assert bad_lines.labels == ["0", "1", "2", "3", "4"]
