# SPDX-License-Identifier: Apache-2.0
import dataclasses
import math
import random
import re
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.preprocessing.raw_columns import MISSING
from src.preprocessing.raw_rows import parse_chunk
from src.preprocessing.schema import LABEL, LINE_NUMBER, FieldSchema, TextFormat
from tests import oracles
from tests.conftest import make_rows
from tests.raw_data import parse_file

SCHEMA = FieldSchema.criteo(2, 2)


def parse(content, schema=SCHEMA, chunk_bytes=1 << 20, tmp_path=None):
    """Parse bytes as a file; return rows as the oracle gives them, the malformed lines, and the number of all lines."""
    path = tmp_path / "train.txt"
    path.write_bytes(content)
    frames, bad_lines, line_count = parse_file(path, schema, chunk_bytes)
    rows = [row for frame in frames for row in zip(frame[LINE_NUMBER].to_list(), as_oracle(frame, schema))]
    return rows, bad_lines, line_count


def as_oracle(frame, schema):
    integers = [values_of(frame[name], missing=None) for name in schema.integer_names]
    categories = [values_of(frame[name], missing="") for name in schema.category_names]
    return [
        {"label": row[0], "integers": list(row[1 : 1 + len(integers)]), "categories": list(row[1 + len(integers) :])}
        for row in zip(frame[LABEL].to_list(), *integers, *categories)
    ]


def values_of(column, missing):
    assert column.null_count() == 0
    text = "{:08x}" if column.dtype == pl.UInt32 else None
    values = [missing if value == MISSING[column.dtype] else value for value in column.to_list()]
    return [text.format(value) if text and value != missing else value for value in values]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1\t5\t\ta\tb", None),
        (b"0\t-5\t+7\t\t", None),
        (b'1\t5\t\ta\t"b', None),
        ("0\t1\t2\tä\t中".encode(), None),
        (b"0\t1\t2\ta\x00b\t ", None),
        (b"0\t1\r\t2\ta\rb\r\tc\r\r", None),
        (b"1\t-2147483648\t2147483648\ta\tb", None),
        (b"1\t-9223372036854775807\t9223372036854775807\ta\tb", None),
        (b"1\t-9223372036854775808\t\ta\tb", "integer"),
        (b"1\t5\t\tffffffff\t00000000", None),
        (b"1\t5\ta\tb", "columns"),
        (b"1\t5\t\ta\tb\t", "columns"),
        (b"", "columns"),
        (b"2\t5\t\ta\tb", "label"),
        (b"\t5\t\ta\tb", "label"),
        (b"10\t5\t\ta\tb", "label"),
        (b"1.0\t5\t\ta\tb", None),
        (b"0.000\t5\t\ta\tb", None),
        (b"True\t5\t\ta\tb", None),
        (b"FALSE\t5\t\ta\tb", None),
        (b"1.\t5\t\ta\tb", "label"),
        (b"0.5\t5\t\ta\tb", "label"),
        (b"truex\t5\t\ta\tb", "label"),
        (b"-1\t5\t\ta\tb", "label"),
        (b"1\r\t5\t\ta\tb", "label"),
        (b"1\x00\t5\t\ta\tb", "label"),
        (b"1." + b"0" * 40 + b"\t5\t\ta\tb", "label"),
        (b"\xff\t5\t\ta\t\xff", "label"),
        (b"1\t3.0\t-5.00\ta\tb", None),
        (b"1\t1700000000000.0\t1e+16\ta\tb", None),
        (b"1\t9007199254740993.0\t-9223372036854775807.0\ta\tb", None),
        (b"1\t-9223372036854775808.0\t\ta\tb", "integer"),
        (b"1\t10000000000000000000\t\ta\tb", "integer"),
        (b"1\t3.5\t\ta\tb", "integer"),
        (b"1\tnan\t\ta\tb", "integer"),
        (b"1\t1e400\t\ta\tb", "integer"),
        (b"1\t.\t\ta\tb", "integer"),
        (b"1\t3.0\r\t\ta\tb", None),
        (b"1\tx\t\ta\tb", "integer"),
        (b"1\t1.5\t\ta\tb", "integer"),
        (b"1\t99999999999999999999\t\ta\tb", "integer"),
        (b"1\t \t\ta\tb", "integer"),
        (b"1\t1\t\t\xff\tb", "encoding"),
        (b"\xef\xbb\xbf1\t1\t\ta\tb", "label"),
    ],
)
def test_each_kind_of_line_alone_and_between_good_ones(tmp_path, line, reason):
    good = b"0\t1\t2\tx\ty"
    for content in (line + b"\n", b"\n".join([good, line, good]) + b"\n"):
        expected_rows, expected_bad = oracles.parse_file(content, 2, 2)
        rows, bad_lines, _ = parse(content, tmp_path=tmp_path)
        assert rows == expected_rows
        assert [item[:2] for item in bad_lines.first] == expected_bad
        assert [kind for _, kind in expected_bad] == ([reason] if reason else [])


CELLS = st.sampled_from(
    [
        b"1.0",
        b"-1",
        b"+1",
        b"1e3",
        b"True",
        b"",
        b"0",
        b"1",
        b"2",
        b"-3",
        b"17",
        b"1.5",
        b"abc",
        "é".encode(),
        b"\xff",
        b"\r",
        b'"',
        b"\x00",
        b"68fd1e64",
        b" ",
        b"9" * 25,
        b",",
        b"#",
        b"'",
    ]
)
LABELS = st.sampled_from([b"0", b"1", b"0.0", b"1.00", b"true", b"FALSE", b"-1", b"-1.0", b"+1", b"01", b"+0", b"0.1"])
GOOD_LINES = st.tuples(
    LABELS,
    *[st.sampled_from([b"", b"0", b"-1", b"250", b"-2147483648", b"3000000000", b"3.0", b"-2147483648.0", b"1e10"])]
    * 2,
    *[st.sampled_from([b"", b"a", b"05db9164", "ü".encode(), b'"x', b"a\rb", b"a\r\r", b"#"])] * 2,
)
CODE_LINES = st.tuples(
    st.sampled_from([b"0", b"1"]),
    *[st.sampled_from([b"", b"7", b"+7", b" 7"])] * 2,
    *[st.sampled_from([b"", b"05db9164", b"ffffffff", b"00000000", b"+0000001", b"ABCDEF01", b"-0000001"])] * 2,
)
LINES = st.one_of(GOOD_LINES, CODE_LINES, st.lists(CELLS, min_size=0, max_size=7)).map(b"\t".join)


@settings(max_examples=300, deadline=None)
@given(
    lines=st.lists(LINES, max_size=30),
    ending=st.sampled_from([b"\n", b"\r\n"]),
    last=st.booleans(),
    chunk_bytes=st.integers(1, 200),
    dense_dim=st.sampled_from([2, 4, 0]),
    categories_are_ids=st.booleans(),
    negative_label=st.sampled_from([0, -1]),
)
def test_any_text_agrees_with_the_row_by_row_reference(
    tmp_path_factory, lines, ending, last, chunk_bytes, dense_dim, categories_are_ids, negative_label
):
    content = ending.join(lines) + (ending if last else b"")
    columns = dense_dim, 4 - dense_dim, categories_are_ids, negative_label  # the good lines have 5 columns
    schema = FieldSchema.criteo(*columns)
    expected_rows, expected_bad = oracles.parse_file(content, *columns)
    rows, bad_lines, line_count = parse(content, schema, chunk_bytes, tmp_path_factory.getbasetemp())
    assert rows == expected_rows
    assert bad_lines.count == len(expected_bad)
    assert [item[:2] for item in bad_lines.first] == expected_bad[:20]
    assert line_count == len(expected_rows) + len(expected_bad)
    if expected_bad:
        assert bad_lines.describe(line_count, [0, 1], schema.negative_label).isprintable()


@settings(max_examples=150, deadline=None)
@given(
    lines=st.lists(LINES.map(lambda line: line.partition(b"\t")[2] or line), min_size=1, max_size=12),
    dense_dim=st.sampled_from([2, 4, 0]),
    categories_are_ids=st.booleans(),
)
def test_rows_without_a_label_are_those_of_the_same_file_with_labels(lines, dense_dim, categories_are_ids):
    schema = FieldSchema.criteo(dense_dim, 4 - dense_dim, categories_are_ids)
    expected = parse_chunk(b"".join(b"0\t" + line + b"\n" for line in lines), 7, schema)
    unlabelled = dataclasses.replace(schema, has_label=False)
    found = parse_chunk(b"".join(line + b"\n" for line in lines), 7, unlabelled)
    assert LABEL not in found.frame.columns
    assert found.frame[LINE_NUMBER].to_list() == expected.frame[LINE_NUMBER].to_list()
    assert cells_of(found.frame, schema) == cells_of(expected.frame, schema)
    assert (found.bad_lines.counts, found.bad_lines.first) == (expected.bad_lines.counts, expected.bad_lines.first)
    assert found.line_count == expected.line_count


def cells_of(frame, schema):
    return [values_of(frame[name], missing=None) for name in (*schema.integer_names, *schema.category_names)]


@settings(max_examples=100, deadline=None)
@given(lines=st.lists(CODE_LINES, min_size=1, max_size=6).map(lambda lines: [b"\t".join(line) for line in lines]))
def test_codes_are_read_as_they_are_written(tmp_path_factory, lines):
    content = b"\n".join(lines) + b"\n"
    expected_rows, expected_bad = oracles.parse_file(content, 2, 2)
    rows, bad_lines, _ = parse(content, tmp_path=tmp_path_factory.getbasetemp())
    assert rows == expected_rows
    assert [item[:2] for item in bad_lines.first] == expected_bad


def test_categories_that_are_ids(tmp_path):
    schema = FieldSchema.criteo(1, 2, categories_are_ids=True)
    content = b"1\t3\t0\t2147483647\n0\t\t1\t\n0\t\t1\t-1\n0\t\tx\t1\n0\t\t1\t2147483648\n0\t\t12.0\t7\n"
    rows, bad_lines, _ = parse(content, schema, tmp_path=tmp_path)
    expected_rows, expected_bad = oracles.parse_file(content, 1, 2, categories_are_ids=True)
    assert rows == expected_rows
    assert [row["categories"] for _, row in rows] == [[0, 2147483647], [12, 7]]
    assert [item[:2] for item in bad_lines.first] == expected_bad


def test_only_the_first_bad_lines_are_listed_but_all_are_counted(tmp_path):
    _, bad_lines, _ = parse(b"x\n" * 30 + b"2\t\t\t\t\n", chunk_bytes=7, tmp_path=tmp_path)
    assert bad_lines.counts == {"columns": 30, "label": 1}
    assert [line.number for line in bad_lines.first] == list(range(1, 21))


def mutate(line, dice):
    """Return a line with one thing changed at random; it may still be well-formed."""
    cells = line.split(b"\t")
    index = dice.randrange(len(cells))
    junk = dice.randbytes(dice.randrange(1, 20)).replace(b"\n", b"")
    change = dice.randrange(12)
    if change == 0:
        del cells[index]
    elif change == 1:
        cells.insert(index, b"")
    elif change == 2:
        cells[0] = dice.choice([b"2", b"", b"-1", b"01", b"1 ", b"x", b"1.0", b"True", b"0.00", b"0.01", b"tru"])
    elif change == 3:
        return b""
    elif change == 4:
        return junk
    elif change == 5:
        cells[1] = dice.choice(
            [b"9" * 30, b"-" + b"9" * 19, b"1e5", b"0x1f", b" 7", b"+7", b"--7", "\u0667".encode(), b"3.0", b"3.5",
             b".0", b"5.", b"1e+16", b"12e-1", b"120e-1", b"9" * 18 + b".00", b"1_0", b"inf"]
        )  # fmt: skip
    else:
        insert = [b"\x00", b"\r", b'"', b"\xff\xfe", b" ", junk, b"\r\r", b","][change - 6 if change < 12 else 0]
        position = dice.randrange(len(cells[index]) + 1)
        cells[index] = cells[index][:position] + insert + cells[index][position:]
    return b"\t".join(cells)


@pytest.mark.parametrize("chunk_bytes", [3000, 1 << 24])
def test_of_tens_of_thousands_of_mutated_lines_only_the_bad_are_lost(tmp_path, chunk_bytes):
    dice = random.Random(9)
    lines = make_rows(40_000, 2, 2, seed=4).encode().split(b"\n")
    lines = [mutate(line, dice) if dice.random() < 0.7 else line for line in lines]
    lines.insert(20_000, b"1\t1\t1\ta\t" + b"x" * 10_000_000)  # well-formed, of 10 MB
    lines.insert(30_000, b"\t" * 10_000_000)
    content = b"\n".join(lines)
    expected_rows, expected_bad = oracles.parse_file(content, 2, 2)
    assert len(expected_bad) > 10_000
    rows, bad_lines, _ = parse(content, chunk_bytes=chunk_bytes, tmp_path=tmp_path)
    assert rows == expected_rows
    assert bad_lines.counts == Counter(reason for _, reason in expected_bad)
    assert set(bad_lines.counts) == {"columns", "label", "encoding", "integer"}
    assert [item[:2] for item in bad_lines.first] == expected_bad[:20]


COMMAS = FieldSchema(("I1",), (), float_names=("price",), text=TextFormat(","))


@pytest.mark.parametrize("first", [b"1,2,0.5\n", b"1,x,0.5\n"])  # alone it is read at once, with the other by line
@pytest.mark.parametrize("cells", [b'1," 2",0.5', b"1,\t2,0.5", b'1,2," 0.5"', b'1,2,"\t0.5"', b"1,2, 0.5"])
def test_a_blank_before_a_number_is_malformed_in_quotes_too(first, cells):
    parsed = parse_chunk(first + cells + b"\n", 0, COMMAS)
    assert parsed.frame[LINE_NUMBER].to_list() == ([0] if b"x" not in first else [])
    assert parsed.bad_lines.count == (1 if b"x" not in first else 2)


@pytest.mark.parametrize("line", [b" 2,1,0.5", b'" 2",1,0.5', b"\t2,1,0.5", b'"\t2",1,0.5'])
def test_a_blank_at_the_begin_of_a_line_is_malformed_if_a_number_is_there(line):
    schema = dataclasses.replace(COMMAS, file_columns=("I1", "label", "price"))
    for content in (line + b"\n", b"2,1,0.5\n" + line + b"\n"):
        parsed = parse_chunk(content, 0, schema)
        assert parsed.bad_lines.count == 1


def test_an_empty_label_in_quotes_is_none():
    schema = dataclasses.replace(COMMAS, clicks=("yes",))
    parsed = parse_chunk(b'"",1,0.5\nyes,1,0.5\n"yes",1,0.5\n', 0, schema)
    assert parsed.frame[LABEL].to_list() == [1, 1] and parsed.bad_lines.count == 1


FLOAT_CELLS = (
    *(
        "",
        "0",
        "-0",
        "-0.0",
        "0.1",
        ".5",
        "5.",
        "+1.5",
        "1e5",
        "1E-3",
        "1e300",
        "1e400",
        "-1e400",
        "1e-400",
        "4.9e-324",
    ),
    *("nan", "NaN", "inf", "-inf", "infinity", "1_0", "0x10", "1,5", "1f", "1d5", "e5", "1e", "-", ".", "\u0661", "x"),
    *("123456789012345678901234567890", "0.1000000000000000055511151231257827", "9007199254740993", "1" * 400),
)


def test_each_form_of_a_float_is_read_alike_by_chunk_and_by_line():
    schema = FieldSchema((), (), float_names=("price",))
    good = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
    for cell in FLOAT_CELLS:
        expected = float(cell) + 0.0 if good.fullmatch(cell) and math.isfinite(float(cell)) else None
        for other in (b"", b"x\t1\n"):  # a line with another label than 0 and 1 lets each be judged on its own
            parsed = parse_chunk(other + f"1\t{cell}\n".encode(), 0, schema)
            found = parsed.frame["price"].to_list()
            if cell == "":
                assert len(found) == 1 and math.isnan(found[0])
            else:
                assert found == ([] if expected is None else [expected]), cell
                assert all(math.copysign(1, number) == math.copysign(1, expected) for number in found), cell
